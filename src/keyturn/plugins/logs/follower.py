"""Follows one log through its rotation, by renaming or by copying and truncating, without losing or repeating a line.

A file is known by its first line, which a rename keeps and a copy shares; its name and inode say nothing that lasts. For
every generation of a log that is still there, the offset read so far is kept, also for those rotated out: nginx's workers
reopen one after another, so a late line may still go to the old file while the first is in the new one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.plugins.logs.siblings import Siblings, is_compressed

_CHUNK = 1 << 20
_LONGEST_FIRST_LINE = 1 << 16
_LONGEST_LINE = 16 << 20
"""What goes on longer without an end is no line: it is taken in pieces, so that a file of zeros fills no memory."""
_REMEMBERED = 100
_UNKNOWN = 1 << 63
"""A time after all others: what was renamed under our hands may be as new as any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """How far one log was read."""

    offsets: Mapping[str, int] = field(default_factory=dict)
    """By generation, those known longest first."""
    unfinished: frozenset[str] = frozenset()
    """Generations that may hold more than was read: the one being written, and what was not read to its end."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Unfinished generations that are not there any more, with the time at which that was noticed (ms)."""
    anchor: str = ""
    """The newest generation, while the log has no line yet, or is not there: once it is gone, others after it may be."""
    blank: str = ""
    """Which empty file was the log last: as long as it is there and empty, nothing came after the anchor."""
    newest: int = 0
    """When the newest of the rotated files was written to last (ns): a rename keeps that, and so does who compresses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look at a log came to."""

    position: LogPosition
    at_end: bool
    """Everything that was there is read, the log is where it should be, and no line is half written."""
    exhausted: bool
    """There is more to read, left for the next time."""
    there: bool
    """The file that is written to could be opened; by another name too, in the moment between its renaming and the next."""
    forgiven: int | None
    """When the last loss that is accepted was noticed (ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    """One open file of the log."""

    descriptor: int
    head: str
    first: bytes
    size: int
    written: int
    """When, last (ns)."""
    inode: str
    current: bool

    @property
    def blank(self) -> str:
        return "" if self.size else f"{self.inode}-{self.written}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What there is of a log at one moment."""

    generations: list[_Generation]
    """Those with a first line, oldest first."""
    there: bool
    """The file that is written to is among them, or empty."""
    half: bool
    """It has begun with half a line."""
    blanks: frozenset[str]
    """Empty files, each by what it keeps until something is written to it."""
    blank: str
    """The one that is written to, if it is empty."""
    begun: str
    """The inode of the one that is written to, if it is not."""
    readable: frozenset[int]
    """When each rotated file was written to last (ns)."""
    unreadable: frozenset[int]
    """The same of those that are compressed since, or cannot be opened."""

    @property
    def newest(self) -> int:
        return max(self.readable | self.unreadable, default=0)

    def awaited(self, position: LogPosition) -> frozenset[str]:
        """The generations that must be there."""
        if position.anchor == "" or position.blank in self.blanks or self._holds_all_since(position):
            return position.unfinished
        return position.unfinished | {position.anchor}

    def _holds_all_since(self, position: LogPosition) -> bool:
        """Whether what became of the empty file is there to be read: its own first lines, or what it was rotated to, which
        may be an empty copy. Nothing of that was removed as long as the newest from before is there: the oldest go first.

        A file that is merely empty anew proves nothing: its lines may have been cut away."""
        begun = self.begun != "" and self.begun == position.blank.partition("-")[0]
        rotated = max(self.readable, default=0) > position.newest
        return (
            (begun or rotated)
            and position.newest in self.readable | self.unreadable
            and max(self.unreadable, default=0) <= position.newest
        )


class LogFollower:
    """Reads what is new in one log and its rotated siblings, which are none of the others that are followed."""

    def __init__(self, path: Path, *, time_of: Callable[[bytes], int | None], followed: Sequence[Path] = ()) -> None:
        self.path = path
        self._siblings = Siblings(path, followed=followed)
        self._time_of = time_of

    def read(
        self, position: LogPosition, *, take: Callable[[bytes], None], budget: int, now: int, gaps_until: int | None
    ) -> Reading:
        """Give each new line to `take`, oldest generation first, until about `budget` bytes are read. Losses noticed
        until `gaps_until` are forgiven."""
        for attempt in range(3):
            with self._look() as look:
                found = {generation.head for generation in look.generations}
                # A rotation under our hands can hide a file for a moment.
                if attempt < 2 and not (look.awaited(position) - position.lost.keys()) <= found:
                    continue
                return self._read(look, position, take, budget, now, gaps_until)
        raise AssertionError("the last attempt returns")

    def _read(
        self,
        look: _Look,
        position: LogPosition,
        take: Callable[[bytes], None],
        budget: int,
        now: int,
        gaps_until: int | None,
    ) -> Reading:
        offsets = dict(position.offsets)
        unfinished: set[str] = set()
        whole = look.there and not look.half
        found = set()
        anchor = position.anchor
        for generation in look.generations:
            start = offsets.get(generation.head, 0)
            if generation.size < start:
                continue  # a copy that is cut short, or not finished yet
            found.add(generation.head)
            anchor = "" if generation.current else generation.head
            end, ended = start, False
            if budget > 0:
                end, ended = _read_lines(generation, start, take, budget)
            offsets[generation.head] = end
            budget -= end - start
            whole = whole and ended
            if generation.current or not ended:
                unfinished.add(generation.head)
        missing = {head: position.lost.get(head, now) for head in look.awaited(position) if head not in found}
        lost = {head: at for head, at in missing.items() if gaps_until is None or at > gaps_until}
        anchor = "" if anchor in missing else anchor
        after = LogPosition(
            offsets=_remembered(offsets, keep=found | lost.keys()),
            unfinished=frozenset(unfinished | lost.keys()),
            lost=lost,
            anchor=anchor,
            blank=look.blank or (position.blank if anchor else ""),
            newest=look.newest,
        )
        return Reading(
            position=after,
            at_end=whole and not lost,
            exhausted=budget <= 0,
            there=look.there or not position.unfinished.isdisjoint(found),
            forgiven=max((at for head, at in missing.items() if head not in lost), default=None),
        )

    @contextmanager
    def _look(self) -> Iterator[_Look]:
        """The files of this log, opened."""
        with ExitStack() as stack:
            # The current file first: one that is renamed meanwhile is then met twice, not missed.
            current = self._open(self.path, stack)
            rotated = {
                path: None if is_compressed(path) else self._open(path, stack) for path in self._siblings.paths()
            }
            opened = [generation for generation in (current, *rotated.values()) if generation is not None]
            known: dict[str, _Generation] = {}
            for generation in opened:
                former = known.get(generation.head)
                if generation.head and (former is None or (not former.current and generation.size > former.size)):
                    known[generation.head] = generation
            ordered = sorted(known.values(), key=lambda one: (one.current, self._age(one)))
            yield _Look(
                generations=ordered,
                there=current is not None,
                # A first line half written is no line yet, and no end either.
                half=current is not None and current.size > 0 and not current.head,
                blanks=frozenset(one.blank for one in opened if one.blank),
                blank="" if current is None else current.blank,
                begun="" if current is None or current.size == 0 else current.inode,
                readable=frozenset(one.written for one in opened if not one.current),
                unreadable=frozenset(_written(path) for path, generation in rotated.items() if generation is None),
            )

    def _open(self, path: Path, stack: ExitStack) -> _Generation | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        stack.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        first = _first_line(descriptor)
        head = hashlib.sha256(first).hexdigest()[:24] if first else ""
        return _Generation(
            descriptor=descriptor,
            head=head,
            first=first,
            size=found.st_size,
            written=found.st_mtime_ns,
            inode=str(found.st_ino),
            current=path == self.path,
        )

    def _age(self, generation: _Generation) -> int:
        at = self._time_of(generation.first)
        return generation.written // 1_000_000 if at is None else at


def _written(path: Path) -> int:
    """When, last (ns)."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return _UNKNOWN


def _first_line(descriptor: int) -> bytes:
    """The first line with its newline; nothing while it is not complete."""
    start = os.pread(descriptor, _LONGEST_FIRST_LINE, 0)
    line, newline, _ = start.partition(b"\n")
    return line + newline if newline else start if len(start) == _LONGEST_FIRST_LINE else b""


def _read_lines(generation: _Generation, start: int, take: Callable[[bytes], None], budget: int) -> tuple[int, bool]:
    """Take complete lines from `start` on; where the next one starts, and whether the file ends just there."""
    offset = start
    rest = b""
    while True:
        chunk = os.pread(generation.descriptor, _CHUNK, offset + len(rest))
        # Truncated and written anew under our hands: what was just read belongs to another generation.
        if hashlib.sha256(_first_line(generation.descriptor)).hexdigest()[:24] != generation.head:
            return offset, False
        if not chunk:
            return offset, not rest and os.fstat(generation.descriptor).st_size == offset
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            take(line)
            offset += len(line) + 1
        if len(rest) >= _LONGEST_LINE:
            take(rest)
            offset, rest = offset + len(rest), b""
        if offset - start >= budget:
            return offset, False


def _remembered(offsets: Mapping[str, int], *, keep: set[str]) -> dict[str, int]:
    """All that are there, and the last of those that are not: an old file put back is not read again."""
    spare = max(0, len(offsets) - _REMEMBERED)
    forgotten = set([head for head in offsets if head not in keep][:spare])
    return {head: offset for head, offset in offsets.items() if head not in forgotten}
