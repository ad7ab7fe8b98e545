"""Virtual time: events in the order in which they are due, and what is told of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta

from keyturn.testing.fakes.clock import START


class Timeline:
    """Seconds since the run began, and what happens when. Time passes only in `run_until`, which may be called from
    within an event: whoever is paused then sleeps while the others go on."""

    def __init__(self, *, told: bool) -> None:
        self.now = 0.0
        self.steps = 0
        self.lines: list[str] = []
        self.ended = False
        self._told = told
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Let something happen then; what is due at the same moment happens in the order in which it was asked for."""
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), event))

    def run_until(self, when: float) -> None:
        """Let time pass."""
        while not self.ended and self._events and self._events[0][0] <= when:
            self.now, _, event = heapq.heappop(self._events)
            self.steps += 1
            event()
        if not self.ended:
            self.now = max(self.now, when)

    def tell(self, line: str) -> None:
        """One line of the trace."""
        if self._told:
            self.lines.append(f"t+{self.now:.1f} {line}")

    @property
    def telling(self) -> bool:
        """Whether lines are kept; who would have to compute one asks first."""
        return self._told


def moment(seconds: float) -> datetime:
    """That second of a run on the wall's clock."""
    return START + timedelta(seconds=seconds)


class WorldClock:
    """One machine's clock, some seconds off the true time, or none."""

    def __init__(self, timeline: Timeline, skew: float = 0.0) -> None:
        self.timeline = timeline
        self.skew = skew
        self._read = 0.0, START

    def now(self) -> datetime:
        # Read far more often than time passes.
        seconds = self.timeline.now + self.skew
        if self._read[0] != seconds:
            self._read = seconds, moment(seconds)
        return self._read[1]

    def monotonic(self) -> float:
        return self.timeline.now
