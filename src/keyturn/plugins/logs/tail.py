"""Several logs of one source, one a node: what is new in them, and up to when they are complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from keyturn.plugins.logs.follower import LogFollower, LogPosition

_BUDGET = 64 << 20
"""Bytes read in one poll over all files, so that a first look at months of logs comes in batches."""
_SAMPLE = 1 << 16
_RECENT = 1 << 22
_MILLISECOND = timedelta(milliseconds=1)
_AHEAD = timedelta(days=1) // _MILLISECOND
"""A time further in the future than this is none. Nearer, it is told as it is, and refused until it has come: a clock that
is ahead, or another zone's, hides no use for good."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCursor:
    """How one log stands."""

    position: LogPosition = field(default_factory=LogPosition)
    complete_to: int | None = None
    """Milliseconds since the epoch."""
    nonsense: bool = False
    """The last lines read made no sense: then nothing is known of what goes on."""
    malformed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailed:
    """What one look at all logs came to."""

    files: Mapping[str, FileCursor]
    complete_to: int | None
    """Up to when every log is complete, in milliseconds since the epoch."""
    complete_from: int | None
    """Where the data goes on after a loss that was accepted."""
    there: bool
    """At least one log could be opened."""


class Line(Protocol):
    """A line that makes sense."""

    @property
    def at(self) -> int:
        """Its time, in milliseconds since the epoch."""


L = TypeVar("L", bound=Line)


class LogTail(Generic[L]):
    """Reads what is new in each log; `read_line` answers None for a line without meaning."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        read_line: Callable[[bytes], L | None],
        lag: timedelta,
        accept_gaps_before: datetime | None,
    ) -> None:
        self.paths = tuple(paths)
        self._read_line = read_line
        self._lag = lag // _MILLISECOND
        self._gaps_until = None if accept_gaps_before is None else milliseconds(accept_gaps_before)
        self._followers = [LogFollower(path, time_of=self._time_of, followed=paths) for path in paths]

    def read(self, former: Mapping[str, FileCursor], *, take: Callable[[L, str], None], now: int) -> Tailed:
        """Give each new line that makes sense to `take`, with its log's path."""
        files: dict[str, FileCursor] = {}
        there, forgiven = False, []
        for follower in self._followers:
            path = str(follower.path)
            lines = _Lines(path, read_line=self._read_line, take=take, latest=now + _AHEAD)
            before = former.get(path, FileCursor())
            reading = follower.read(
                before.position,
                take=lines.take,
                budget=max(_BUDGET // len(self._followers), 1 << 20),
                now=now,
                gaps_until=self._gaps_until,
            )
            nonsense = lines.last is None and (before.nonsense or lines.malformed > 0)
            reached: int | None = None
            if not nonsense and not reading.position.lost:
                if reading.at_end:
                    reached = now - self._lag
                elif reading.exhausted and lines.last is not None:
                    reached = min(lines.last, now) - self._lag
            files[path] = FileCursor(
                position=reading.position,
                complete_to=max((mark for mark in (before.complete_to, reached) if mark is not None), default=None),
                nonsense=nonsense,
                malformed=before.malformed + lines.malformed,
            )
            there = there or reading.there
            forgiven += [] if reading.forgiven is None else [reading.forgiven]
        marks = [one.complete_to for one in files.values() if one.complete_to is not None]
        return Tailed(
            files=files,
            complete_to=min(marks) if len(marks) == len(files) else None,
            complete_from=max(forgiven, default=None),
            there=there,
        )

    def _time_of(self, line: bytes) -> int | None:
        found = self._read_line(line)
        return None if found is None else found.at

    def problems(self) -> list[str]:
        """Logs that cannot be read, or in whose last lines nothing can be."""
        lines = []
        for path in self.paths:
            try:
                last = _last_lines(path, _SAMPLE)
            except OSError as error:
                lines.append(f"{path}: {error.strerror}; the watermark stands still until keyturn can read it")
                continue
            if last and not any(self._time_of(line) is not None for line in last):
                lines.append(f"{path}: no line can be read; set fields to what is logged there")
        return lines

    def recent(self) -> list[L]:
        """Lines that make sense among the last of each log that can be read."""
        found: list[L] = []
        for path in self.paths:
            with suppress(OSError):
                read = (self._read_line(line) for line in _last_lines(path, _RECENT))
                found += [line for line in read if line is not None]
        return found


class _Lines(Generic[L]):
    """Takes the lines of one log."""

    def __init__(
        self, path: str, *, read_line: Callable[[bytes], L | None], take: Callable[[L, str], None], latest: int
    ) -> None:
        self._path = path
        self._read_line = read_line
        self._take = take
        self._latest = latest
        self.last: int | None = None
        self.malformed = 0

    def take(self, line: bytes) -> None:
        found = self._read_line(line)
        if found is None or found.at > self._latest:
            self.malformed += 1
        else:
            self._take(found, self._path)
            self.last = found.at


def write_files(files: Mapping[str, FileCursor]) -> dict[str, Any]:
    """As JSON holds it."""
    return {
        path: {
            "offsets": dict(one.position.offsets),
            "unfinished": sorted(one.position.unfinished),
            "lost": dict(one.position.lost),
            "anchor": one.position.anchor,
            "blank": one.position.blank,
            "newest": one.position.newest,
            "complete_to": one.complete_to,
            "nonsense": one.nonsense,
            "malformed": one.malformed,
        }
        for path, one in files.items()
    }


def read_files(written: Mapping[str, Any]) -> dict[str, FileCursor]:
    """What `write_files` made. Raises what a wrong document raises: KeyError, TypeError, ValueError, AttributeError."""
    return {
        path: FileCursor(
            position=LogPosition(
                offsets=one["offsets"],
                unfinished=frozenset(one["unfinished"]),
                lost=one["lost"],
                # Cursors of former releases have none.
                anchor=one.get("anchor", ""),
                blank=one.get("blank", ""),
                newest=one.get("newest", 0),
            ),
            complete_to=one["complete_to"],
            nonsense=one["nonsense"],
            malformed=one["malformed"],
        )
        for path, one in written.items()
    }


def milliseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - _EPOCH) // _MILLISECOND


def moment(at: int) -> datetime:
    """From milliseconds since the epoch."""
    return _EPOCH + at * _MILLISECOND


def _last_lines(path: Path, sample: int) -> list[bytes]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - sample))
        lines = file.read().split(b"\n")
    # The first may be cut, unless the sample starts with the file; the last is not written to its end.
    return lines[0 if size <= sample else 1 : -1]
