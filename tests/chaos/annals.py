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
    written: float
    """When its file was written, just before that took the place of the last."""


File = tuple[int, int]
"""Inode and time: a table is replaced whole, so that another state of it is another file."""


class Annals:
    """Watches key tables until it is left."""

    def __init__(self, nodes: Iterable[GatewayNode]) -> None:
        self._nodes = tuple(nodes)
        self._seen: dict[str, dict[File, dict[str, int]]] = {}
        """By node, each table that it had, oldest first, and how many states each key had had by then."""
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
            file, seen = _file(node), self._seen.setdefault(node.name, {})
            if seen and next(reversed(seen)) == file:
                continue
            if file in seen:
                self._given_back(node, file)
                continue
            table = table_of(node)
            if _file(node) != file:
                continue  # replaced while it was read: the next look sees it whole
            for key in table:
                changes = self._states.setdefault((node.name, key.kid), [])
                if not changes or changes[-1].state != key.state:
                    changes.append(Change(state=key.state, at=time.time(), written=file[1] / 1e9))
            seen[file] = {kid: len(changes) for (name, kid), changes in self._states.items() if name == node.name}

    def _given_back(self, node: GatewayNode, file: File) -> None:
        """The very file is back that was there before: nginx was not asked to take what stood in its place meanwhile, for
        the test of its configuration failed, or came to no end."""
        seen = self._seen[node.name]
        while next(reversed(seen)) != file:
            seen.popitem()
        for (name, kid), changes in self._states.items():
            if name == node.name:
                del changes[seen[file].get(kid, 0) :]


def _file(node: GatewayNode) -> File:
    found = node.key_table.stat()
    return found.st_ino, found.st_mtime_ns
