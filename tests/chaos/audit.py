"""OpenBao's audit log: every request that can change what it stores."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.ground import MOUNT

LOOKS = ("read", "list")
REFUSED = "permission denied"
"""Such a request has done nothing, and is sent again with another token."""


@dataclass(slots=True)
class Sent:
    """Requests for one thing."""

    requests: int = 0
    changes: int = 0
    """Those that were answered and changed something: who deletes what is gone changes nothing."""
    unanswered: set[str] = field(default_factory=set)
    """Requests that it was killed over, or failed in the middle of: each may have changed something."""

    def may_be(self, count: int) -> bool:
        """Whether there may have been so many changes."""
        return 0 <= count - self.changes <= len(self.unanswered)


@dataclass(slots=True)
class Written(Sent):
    """Writes of versions to one path. Of the unanswered, OpenBao's own list tells what they did."""

    versions: list[int] = field(default_factory=list)
    """Numbers of those that were made, as it answered."""

    def is_of(self, wanted: Sequence[int]) -> bool:
        """Whether these versions were made, each by one request."""
        return self.may_be(len(wanted)) and not Counter(self.versions) - Counter(wanted)


@dataclass(slots=True)
class Audit:
    """What changed below the mount, by path."""

    written: defaultdict[str, Written] = field(default_factory=lambda: defaultdict(Written))
    erased: defaultdict[str, Sent] = field(default_factory=lambda: defaultdict(Sent))
    """Secrets deleted with all their versions."""
    destroyed: defaultdict[tuple[str, int], Sent] = field(default_factory=lambda: defaultdict(Sent))
    """By path and number of the version."""
    annotated: defaultdict[tuple[str, str], Sent] = field(default_factory=lambda: defaultdict(Sent))
    """By path and key of the secret's custom metadata."""
    others: list[str] = field(default_factory=list)
    """What keyturn never does."""
    _standing: set[tuple[str, str | int]] = field(default_factory=set)
    """What may be there to be erased or destroyed."""

    @classmethod
    def read(cls, file: Path) -> Audit:
        audit = cls()
        with file.open() as log:
            for line in log:
                if f'"{MOUNT}/' in line:
                    audit._take(json.loads(line))
        return audit

    def _take(self, entry: Mapping[str, Any]) -> None:
        request = entry["request"]
        operation, path = request["operation"], request["path"].removeprefix(f"{MOUNT}/")
        if operation in LOOKS:
            return
        kind, _, path = path.partition("/")
        data = request.get("data") or {}
        match kind, operation:
            case "data", "create" | "update":
                self._standing.add((path, ""))
                written = self.written[path]
                version = ((entry.get("response") or {}).get("data") or {}).get("version")
                if self._answered(entry, written) and isinstance(version, int):
                    written.versions.append(version)
                    written.changes += 1
                    self._standing.add((path, version))
            case "metadata", "delete":
                self._taken_away(entry, self.erased[path], (path, ""))
            case "destroy", "create" | "update":
                for number in map(int, data["versions"]):
                    self._taken_away(entry, self.destroyed[path, number], (path, number))
            case "metadata", "create" | "update" | "patch":
                for key in data.get("custom_metadata") or ("",):
                    sent = self.annotated[path, key]
                    sent.changes += self._answered(entry, sent)
            case "config", _:
                pass  # the mount's own settings, before keyturn came
            case _ if entry["type"] == "request":
                self.others.append(f"{operation} {kind}/{path}")

    def _taken_away(self, entry: Mapping[str, Any], sent: Sent, what: tuple[str, str | int]) -> None:
        if self._answered(entry, sent):
            sent.changes += what in self._standing
            self._standing.discard(what)

    def _answered(self, entry: Mapping[str, Any], sent: Sent) -> bool:
        """Whether this is the answer to a request that did what it asked for."""
        number, error = entry["request"]["id"], str(entry.get("error") or "")
        if entry["type"] == "request":
            sent.unanswered.add(number)
            sent.requests += 1
            return False
        if REFUSED in error:
            sent.unanswered.discard(number)
            sent.requests -= 1
        if not error:
            sent.unanswered.discard(number)
        return not error
