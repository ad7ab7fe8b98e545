"""Real time and real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

T = TypeVar("T")

THREADS = 16
"""Calls in flight at once: they wait on the network, so more than there are cores."""
APART = 4
"""So many calls run apart at once; one more waits for one of them."""
JITTER = 0.1


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        # Time for which the machine was suspended counts: leases ran on meanwhile.
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Beat:
    """Calls at its start and then once an interval, in a thread of its own, one call after another.

    It waits on the monotonic clock: however the wall clock steps, the next call comes in its time, and none is made up
    for."""

    def __init__(self, call: Callable[[], None], interval: timedelta, random: Random) -> None:
        self._call = call
        self._interval = interval
        self._random = random
        self._asked = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="keyturn-beat", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Call now; when a call is under way, once more after it."""
        self._asked.set()

    def stop(self) -> None:
        """Let the call that runs end, and make no other."""
        self._ended = True
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            # Whatever is asked for from here on is asked for after what this call will see.
            self._asked.clear()
            if self._ended:
                return
            due = time.monotonic() + jittered(self._interval, self._random).total_seconds()
            self._call()
            self._asked.wait(max(due - time.monotonic(), 0))


def jittered(interval: timedelta, random: Random) -> timedelta:
    """Give or take a tenth of it: replicas that were started together do not stay in step."""
    return interval * random.uniform(1 - JITTER, 1 + JITTER)


class ThreadExecutor:
    """Runs calls at once, in a bounded number of threads."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="keyturn")
        self._here = threading.local()
        self._spare = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="keyturn-spare")
        self._apart = ThreadPoolExecutor(
            max_workers=APART,
            thread_name_prefix="keyturn-apart",
            initializer=lambda: setattr(self._here, "pool", self._spare),
        )

    def apart(self, call: Callable[[], None]) -> None:
        """Start a call beside all that `run` runs: neither it nor the calls that it runs wait for a thread of theirs. It
        reports its own failure."""
        self._apart.submit(call)

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        # A call that itself runs calls would wait for threads that wait for it; one alone needs no thread.
        if len(calls) < 2 or getattr(self._here, "inside", False):
            return _results([_settle(call) for call in calls])
        pool: ThreadPoolExecutor = getattr(self._here, "pool", self._pool)
        return _results([future.result() for future in [pool.submit(self._inside, call) for call in calls]])

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        # What runs apart runs calls of its own.
        for pool in (self._apart, self._spare, self._pool):
            pool.shutdown(wait=True, cancel_futures=False)

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
