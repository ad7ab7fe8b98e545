"""Time and execution in a test's own hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """Both clocks, which stand still until told to go on."""

    def __init__(self, now: datetime = START, *, monotonic: float = 1000.0) -> None:
        self._now = now.astimezone(UTC)
        self._monotonic = monotonic

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, step: timedelta | float) -> None:
        """Let time pass, on both clocks; a number is seconds."""
        step = step if isinstance(step, timedelta) else timedelta(seconds=step)
        if step < timedelta(0):
            raise ValueError("time does not go back; `set_utc` steps the wall clock alone")
        self._now += step
        self._monotonic += step.total_seconds()

    def set_utc(self, now: datetime) -> None:
        """Step the wall clock, backwards too, as an operator or NTP may; the monotonic clock does not notice."""
        self._now = now.astimezone(UTC)


class InlineExecutor:
    """Runs calls one after another in the caller's thread, in the order given."""

    def __init__(self) -> None:
        self._closed = False
        self.paused: list[float] = []
        """Seconds that calls would have waited before they were repeated."""

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        if self._closed:
            raise RuntimeError("the executor is closed")
        results: list[T] = []
        defects: list[Exception] = []
        for call in calls:
            try:
                results.append(call())
            except Exception as defect:  # noqa: BLE001 - a defect in one call must not keep the others from running
                defects.append(defect)
        if defects:
            raise defects[0]
        return results

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def close(self) -> None:
        self._closed = True
