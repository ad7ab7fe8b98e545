"""Real time and real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from apscheduler.triggers.base import BaseTrigger

T = TypeVar("T")

THREADS = 16
"""Calls in flight at once: they wait on the network, so more than there are cores."""
JITTER = 0.1


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        # Time for which the machine was suspended counts: leases ran on meanwhile.
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Jittered(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires once an interval, give or take a tenth of it: replicas that were started together do not stay in step."""

    def __init__(self, interval: timedelta, random: Random) -> None:
        self._interval = interval
        self._random = random

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return (previous_fire_time or now) + self._interval * self._random.uniform(1 - JITTER, 1 + JITTER)


class ThreadExecutor:
    """Runs calls at once, in a bounded number of threads."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="keyturn")
        self._here = threading.local()

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        # A call that itself runs calls would wait for threads that wait for it; one alone needs no thread.
        if len(calls) < 2 or getattr(self._here, "inside", False):
            return _results([_settle(call) for call in calls])
        return _results([future.result() for future in [self._pool.submit(self._inside, call) for call in calls]])

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=False)

    def _inside(self, call: Callable[[], T]) -> tuple[T, None] | tuple[None, BaseException]:
        self._here.inside = True
        return _settle(call)


def _settle(call: Callable[[], T]) -> tuple[T, None] | tuple[None, BaseException]:
    """The call's end, whichever it is: a defect in one must not keep the others from being waited for."""
    try:
        return call(), None
    except BaseException as defect:  # noqa: BLE001 - raised again once all have ended
        return None, defect


def _results(ends: Sequence[tuple[T, None] | tuple[None, BaseException]]) -> list[T]:
    results = []
    for result, defect in ends:
        if defect is not None:
            raise defect
        results.append(result)
    return results  # type: ignore[return-value]  # without a defect there is a result
