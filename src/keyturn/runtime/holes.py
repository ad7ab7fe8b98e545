"""What of its clients' use nobody can tell any more: the holes of each source that no other source covers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from keyturn.domain.observations import Hole
from keyturn.ports.records import SourceState
from keyturn.runtime.registry import WiredSource
from keyturn.runtime.words import STRENGTH

Stretch = tuple[datetime, datetime]
"""From when to when."""


class Holes:
    """The holes of a credential's sources. Another source covers one where it sees all, the failures too if the first does,
    as directly at least, and has not lost that time itself; and not for a client that it has never told of while others
    have: it does not see that one (promise P4)."""

    def __init__(
        self,
        sources: Collection[WiredSource],
        states: Mapping[str, SourceState],
        holes: Mapping[str, Collection[Hole]],
    ) -> None:
        self._lost = {name: [(hole.start, hole.end) for hole in its] for name, its in holes.items()}
        # Mostly nothing is lost, and nothing is to be covered.
        sources = sources if any(self._lost.values()) else ()
        # One that covers itself makes no difference: it has not told what it has lost.
        self._covered_by = {
            source.name: [other.name for other in sources if _covers(other, source)] for source in sources
        }
        self._told = {source.name: self._told_of(states.get(source.name), source.name) for source in sources}
        self._found: dict[frozenset[str], tuple[Hole, ...]] = {}

    def of(self, told_by: frozenset[str]) -> tuple[Hole, ...]:
        """What is lost of a client that these sources have told of, one after another; none have: of one that nobody has
        seen."""
        if told_by not in self._found:
            left: list[Stretch] = []
            for source, others in self._covered_by.items():
                lost = self._lost.get(source, [])
                for other in others:
                    if other in told_by or not told_by:
                        lost = _without(lost, self._told[other])
                left += lost
            self._found[told_by] = joined(left)
        return self._found[told_by]

    def _told_of(self, state: SourceState | None, source: str) -> list[Stretch]:
        """The stretches of time that a source has told all of."""
        if state is None or state.since is None or state.watermark is None:
            return []
        return _without([(state.since, state.watermark)], self._lost.get(source, []))


def joined(stretches: Iterable[Stretch]) -> tuple[Hole, ...]:
    """What is lost in any of these: those that overlap or touch made one."""
    merged: list[Hole] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1].end:
            merged[-1] = Hole(start=merged[-1].start, end=max(merged[-1].end, end))
        else:
            merged.append(Hole(start=start, end=end))
    return tuple(merged)


def _covers(other: WiredSource, source: WiredSource) -> bool:
    as_direct = STRENGTH[other.kind] >= STRENGTH[source.kind]
    return other.sees_all and as_direct and (other.sees_failures or not source.sees_failures)


def _without(stretches: Iterable[Stretch], taken: Iterable[Stretch]) -> list[Stretch]:
    left = list(stretches)
    for first, last in taken:
        parts = [part for start, end in left for part in ((start, min(end, first)), (max(start, last), end))]
        left = [(start, end) for start, end in parts if start < end]
    return left
