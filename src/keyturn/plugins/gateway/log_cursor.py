"""Where an access-log source stands: the text that is kept beside the reports, and read back after any crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.domain.errors import Transient
from keyturn.plugins.gateway.probe_mark import ProbeMark
from keyturn.plugins.logs import FileCursor, read_files, write_files

_VERSION = 1
_REMEMBERED_MARKS = 100_000
"""Only marks that were made with the secret are remembered: so many while one log is far behind another."""
MARK_WINDOW = 60_000
"""Milliseconds by which a mark's time and that of its line may differ, clocks and slow answers included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCursor:
    """How all logs of a source stand."""

    files: Mapping[str, FileCursor] = field(default_factory=dict)
    watermark: int | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    """Marks seen, with the time when they were issued: a mark excuses one presentation."""
    spent_before: Mapping[str, int] = field(default_factory=dict)
    """By log: marks issued until then excuse nothing in it any more, since which of them were seen is forgotten."""

    def to_text(self) -> str:
        whole = {
            "version": _VERSION,
            "files": write_files(self.files),
            "watermark": self.watermark,
            "spent": dict(self.spent),
            "spent_before": dict(self.spent_before),
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
            files, spent_before = read_files(whole["files"]), whole["spent_before"]
            return cls(
                files=files,
                watermark=whole["watermark"],
                spent=whole["spent"],
                # A former release had one time for all.
                spent_before=dict.fromkeys(files, spent_before) if isinstance(spent_before, int) else spent_before,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the cursor of an access log cannot be read back") from None


class SpentMarks:
    """Remembers which marks have excused a presentation, for as long as another line could bear them."""

    def __init__(self, cursor: LogCursor) -> None:
        self._spent = dict(cursor.spent)
        self.before = dict(cursor.spent_before)

    def excuses(self, mark: ProbeMark, *, at: int, path: str) -> bool:
        """Whether this mark excuses a presentation at this time; it then excuses no other."""
        key = mark.random[:16]
        forgotten = mark.issued <= self.before.get(path, -1)
        if forgotten or abs(at - mark.issued) > MARK_WINDOW or key in self._spent:
            return False
        self._spent[key] = mark.issued
        return True

    def left(self, files: Mapping[str, FileCursor]) -> Mapping[str, int]:
        """What is still worth remembering, for the log that is furthest behind; moves `before` past what is forgotten."""
        newest = sorted(self._spent.values(), reverse=True)
        limit = newest[_REMEMBERED_MARKS] if len(newest) > _REMEMBERED_MARKS else -1
        self.before = {
            path: max(
                limit, self.before.get(path, -1), -1 if one.complete_to is None else one.complete_to - MARK_WINDOW - 1
            )
            for path, one in files.items()
        }
        furthest_behind = min(self.before.values())
        return {key: issued for key, issued in self._spent.items() if issued > furthest_behind}
