"""What usage sources will never tell of: the world's own word on it, which no hole in the store is asked for."""

from __future__ import annotations

from keyturn.testing.fakes import FakeUsageSource


class Losses:
    """The stretches of time of which a source lost what it had not told yet."""

    def __init__(self) -> None:
        self._lost: list[tuple[FakeUsageSource, float, float]] = []

    def add(self, source: FakeUsageSource, start: float, end: float) -> None:
        """It has lost what happened between these two, or some of it."""
        self._lost.append((source, start, end))

    def within(self, start: float, end: float) -> float:
        """How many seconds between these two one source or another will never tell all of."""
        seconds = 0.0
        for lost_from, lost_until in sorted((first, last) for _, first, last in self._lost):
            lost_from, lost_until = max(lost_from, start), min(lost_until, end)
            if lost_from < lost_until:
                seconds, start = seconds + lost_until - lost_from, lost_until
        return seconds

    def hold(self, source: FakeUsageSource, moment: float) -> bool:
        """Whether a source may never tell of what happened then."""
        return any(one is source and start <= moment <= end for one, start, end in self._lost)
