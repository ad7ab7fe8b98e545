"""Where a source that reads nothing but logs stands: the text that is kept beside its reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.domain.errors import Transient
from keyturn.plugins.logs.tail import FileCursor, Tailed, read_files, write_files

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCursor:
    """How all logs of a source stand, and what it has declared complete."""

    files: Mapping[str, FileCursor] = field(default_factory=dict)
    watermark: int | None = None
    """Milliseconds since the epoch."""

    def after(self, tailed: Tailed) -> TailCursor:
        """Once the logs were looked at; the watermark never goes back."""
        marks = [mark for mark in (self.watermark, tailed.complete_to) if mark is not None]
        return TailCursor(files=tailed.files, watermark=max(marks, default=None))

    def to_text(self) -> str:
        whole = {"version": _VERSION, "files": write_files(self.files), "watermark": self.watermark}
        return json.dumps(whole, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> TailCursor:
        """Raises `Transient` for a cursor of another release, or one that is damaged."""
        if text is None:
            return cls()
        try:
            whole = json.loads(text)
            if whole["version"] != _VERSION:
                raise Transient(f"the cursor of a log has version {whole['version']}, not {_VERSION}")
            return cls(files=read_files(whole["files"]), watermark=whole["watermark"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the cursor of a log cannot be read back") from None
