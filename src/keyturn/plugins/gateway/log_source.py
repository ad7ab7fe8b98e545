"""The usage source `access-log`: who presented which key, from the gateways' own logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keyturn.domain.errors import ConfigError, Transient
from keyturn.domain.observations import SourceKind
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.log_cursor import FileCursor, LogCursor, SpentMarks
from keyturn.plugins.gateway.log_files import LogFollower
from keyturn.plugins.gateway.log_lines import LineReader, Presentation
from keyturn.plugins.gateway.log_options import AccessLogOptions
from keyturn.plugins.gateway.probe_mark import read_mark, usable_secret
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageBatch, UsageReport

_BUDGET = 64 << 20
"""Bytes read in one poll over all files, so that a first look at months of logs comes in batches."""
_UNPROVEN_KEY_IDS = 64
"""Different key ids in a bucket that nobody proved to hold: anyone can make up more, and each would be a row."""
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE = 1 << 16


class AccessLog:
    """Reads JSON access logs, one file a node."""

    kind = SourceKind.AUTHENTICATION
    sees_failures = True

    def __init__(self, name: str, options: AccessLogOptions, surroundings: Surroundings) -> None:
        self.name = name
        self.resolution = options.resolution
        self.lag = options.lag
        self._options = options
        self._surroundings = surroundings
        self._reader = LineReader(options)
        self._followers = [LogFollower(path, time_of=self._time_of) for path in options.files]

    def __repr__(self) -> str:
        return f"AccessLog({self.name!r})"

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        former = LogCursor.from_text(cursor)
        present = _milliseconds(now)
        tally = _Tally(resolution=self.resolution, secret=self._secret(), spent=SpentMarks(former))
        files: dict[str, FileCursor] = {}
        there = False
        for follower in self._followers:
            path = str(follower.path)
            files[path], opened = self._follow(follower, former.files.get(path, FileCursor()), tally, present)
            there = there or opened
        if not there and not tally.reports():
            raise Transient(f"{self.name}: none of its logs can be opened: {', '.join(files)}")
        marks = [one.complete_to for one in files.values() if one.complete_to is not None]
        complete_to = min(marks) if len(marks) == len(files) else None
        watermark = max((mark for mark in (complete_to, former.watermark) if mark is not None), default=None)
        after = LogCursor(
            files=files,
            watermark=watermark,
            spent=tally.spent.left(complete_to=complete_to),
            spent_before=tally.spent.before,
        )
        return UsageBatch(
            reports=tally.reports(),
            watermark=None if watermark is None else _moment(watermark),
            cursor=after.to_text(),
        )

    def check(self) -> Sequence[str]:
        """Whether each log is there, readable, and says what its fields should say."""
        lines = []
        if self._options.probe_secret is None:
            lines.append(f"{self.name}: set probe_secret, the authority's own, else its probes count as uses")
        else:
            try:
                self._secret()
            except Transient as failure:
                lines.append(failure.message)
        for path in self._options.files:
            try:
                last = _last_lines(path)
            except OSError as error:
                lines.append(f"{path}: {error.strerror}; the watermark stands still until keyturn can read it")
                continue
            if last and not any(self._reader.read(line) for line in last):
                lines.append(f"{path}: no line can be read; set fields to what the gateway logs")
        return lines

    def close(self) -> None:
        """Nothing is held between polls."""

    def _follow(self, follower: LogFollower, former: FileCursor, tally: _Tally, now: int) -> tuple[FileCursor, bool]:
        counted = _Lines(self._reader, tally)
        gaps = self._options.accept_gaps_before
        reading = follower.read(
            former.position,
            take=counted.take,
            budget=max(_BUDGET // len(self._followers), 1 << 20),
            now=now,
            gaps_until=None if gaps is None else _milliseconds(gaps),
        )
        nonsense = counted.last is None and (former.nonsense or counted.malformed > 0)
        lag = self.lag // _MILLISECOND
        reached: int | None = None
        if not nonsense and not reading.position.lost:
            if reading.at_end:
                reached = now - lag
            elif reading.exhausted and counted.last is not None:
                reached = min(counted.last, now) - lag
        marks = [mark for mark in (former.complete_to, reached) if mark is not None]
        after = FileCursor(
            position=reading.position,
            complete_to=max(marks, default=None),
            nonsense=nonsense,
            malformed=former.malformed + counted.malformed,
        )
        return after, reading.there

    def _time_of(self, line: bytes) -> int | None:
        read = self._reader.read(line)
        return None if read is None else read.at

    def _secret(self) -> SecretValue | None:
        reference = self._options.probe_secret
        if reference is None:
            return None
        try:
            return usable_secret(self._surroundings.resolve(reference), where=f"{self.name}.probe_secret")
        except ConfigError as error:
            raise Transient(str(error)) from None


class _Lines:
    """Takes the lines of one log."""

    def __init__(self, reader: LineReader, tally: _Tally) -> None:
        self._reader = reader
        self._tally = tally
        self.last: int | None = None
        self.malformed = 0

    def take(self, line: bytes) -> None:
        read = self._reader.read(line)
        if read is None:
            self.malformed += 1
            return
        self.last = read.at
        if read.presentation is not None:
            self._tally.add(read.at, read.presentation)


class _Tally:
    """Counts presentations by key, client and bucket; keyturn's own are left out."""

    def __init__(self, *, resolution: timedelta, secret: SecretValue | None, spent: SpentMarks) -> None:
        self._bucket = resolution // _MILLISECOND
        self._secret = secret
        self._counts: dict[tuple[int, str | None, str, bool, bool], list[int]] = {}
        self._unproven: dict[int, set[str]] = {}
        self.spent = spent

    def add(self, at: int, seen: Presentation) -> None:
        if self._is_ours(at, seen):
            return
        start = at // self._bucket * self._bucket
        key_id = seen.key_id
        if key_id is not None and not (seen.matched or seen.identified):
            unproven = self._unproven.setdefault(start, set())
            if key_id not in unproven and len(unproven) >= _UNPROVEN_KEY_IDS:
                key_id = None
            else:
                unproven.add(key_id)
        counts = self._counts.setdefault((start, key_id, seen.client, seen.matched, seen.identified), [0, 0])
        counts[0 if seen.success else 1] += 1

    def reports(self) -> list[UsageReport]:
        return [
            UsageReport(
                key_id=key_id,
                client=client,
                start=_moment(start),
                successes=successes,
                failures=failures,
                matched=matched,
                identified=identified,
            )
            for (start, key_id, client, matched, identified), (successes, failures) in self._counts.items()
        ]

    def _is_ours(self, at: int, seen: Presentation) -> bool:
        if self._secret is None or not seen.probe or seen.key_id is None:
            return False
        mark = read_mark(self._secret, seen.key_id, seen.probe)
        return mark is not None and self.spent.excuses(mark, at=at)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND


def _last_lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SAMPLE))
        lines = file.read().split(b"\n")
    # The first may be cut, unless the sample starts with the file; the last is not written to its end.
    return lines[0 if size <= _SAMPLE else 1 : -1]
