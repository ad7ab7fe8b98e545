"""Where an access-log source stands: the text that is kept beside the reports, and read back after any crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.domain.errors import Transient
from keyturn.plugins.gateway.probe_mark import ProbeMark
from keyturn.plugins.logs import FileCursor, read_files, write_files

_VERSION = 1
_REMEMBERED_MARKS = 1024
MARK_WINDOW = 60_000
"""Milliseconds by which a mark's time and that of its line may differ, clocks and slow answers included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCursor:
    """How all logs of a source stand."""

    files: Mapping[str, FileCursor] = field(default_factory=dict)
    watermark: int | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    """Marks seen, with the time when they were issued: a mark excuses one presentation."""
    spent_before: int = -1
    """Marks issued until then excuse nothing any more: which of them were seen is forgotten."""

    def to_text(self) -> str:
        whole = {
            "version": _VERSION,
            "files": write_files(self.files),
            "watermark": self.watermark,
            "spent": dict(self.spent),
            "spent_before": self.spent_before,
        }
        return json.dumps(whole, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> LogCursor:
        if text is None:
            return cls()
        try:
            whole = json.loads(text)
            if whole["version"] != _VERSION:
                raise Transient(f"the cursor of an access log has version {whole['version']}, not {_VERSION}")
            return cls(
                files=read_files(whole["files"]),
                watermark=whole["watermark"],
                spent=whole["spent"],
                spent_before=whole["spent_before"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the cursor of an access log cannot be read back") from None


class SpentMarks:
    """Remembers which marks have excused a presentation, for as long as another line could bear them."""

    def __init__(self, cursor: LogCursor) -> None:
        self._spent = dict(cursor.spent)
        self.before = cursor.spent_before

    def excuses(self, mark: ProbeMark, *, at: int) -> bool:
        """Whether this mark excuses a presentation at this time; it then excuses no other."""
        key = mark.random[:16]
        if mark.issued <= self.before or abs(at - mark.issued) > MARK_WINDOW or key in self._spent:
            return False
        self._spent[key] = mark.issued
        return True

    def left(self, *, complete_to: int | None) -> Mapping[str, int]:
        """What is still worth remembering; moves `before` past what is forgotten."""
        limit = self.before if complete_to is None else max(self.before, complete_to - MARK_WINDOW - 1)
        newest = sorted(self._spent.values(), reverse=True)
        if len(newest) > _REMEMBERED_MARKS:
            limit = max(limit, newest[_REMEMBERED_MARKS])
        self.before = limit
        return {key: issued for key, issued in self._spent.items() if issued > limit}
