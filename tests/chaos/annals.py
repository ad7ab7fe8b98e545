"""The authority's history: every change of every gateway's key table, seen from beside."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from keyturn.demo.authority import table_of
from keyturn.demo.gateway import GatewayNode

EVERY = 0.005
"""Seconds between two looks: shorter than the test of the configuration that each change waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One state of one key at one node."""

    state: str
    at: float
    """When it was first seen, by the epoch."""


class Annals:
    """Watches key tables until it is left."""

    def __init__(self, nodes: Iterable[GatewayNode]) -> None:
        self._nodes = tuple(nodes)
        self._seen: dict[str, tuple[int, int]] = {}
        self._states: dict[tuple[str, str], list[Change]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def changes(self) -> Mapping[tuple[str, str], list[Change]]:
        """By node and key id: each state that the table gave it, in order."""
        return {key: list(changes) for key, changes in self._states.items()}

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self._look()

    def _look(self) -> None:
        for node in self._nodes:
            # A table is replaced whole, so that another state of it is another file.
            found = node.key_table.stat()
            if self._seen.get(node.name) == (found.st_ino, found.st_mtime_ns):
                continue
            self._seen[node.name] = (found.st_ino, found.st_mtime_ns)
            for key in table_of(node):
                changes = self._states.setdefault((node.name, key.kid), [])
                if not changes or changes[-1].state != key.state:
                    changes.append(Change(state=key.state, at=time.time()))
