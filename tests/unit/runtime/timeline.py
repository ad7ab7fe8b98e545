"""Several processes at once, in virtual time: who calls what takes long is overtaken by the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count

from keyturn.testing.fakes import FakeClock

STUCK = 30.0
"""Seconds of real time after which a thread that neither sleeps nor ends fails the test."""


class Timeline:
    """One thread runs at a time, until it sleeps; then time goes on to where the first of all wakes."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._asleep: list[tuple[float, int, threading.Event]] = []
        self._order = count()
        self._back = threading.Event()
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._broken: list[BaseException] = []

    def sleep(self, seconds: float) -> None:
        """Let so much time pass for the thread that calls this."""
        wake = threading.Event()
        heappush(self._asleep, (self._clock.monotonic() + seconds, next(self._order), wake))
        self._back.set()
        wake.wait()
        if self._ended:
            raise SystemExit

    def spawn(self, call: Callable[[], None]) -> None:
        """Have a thread of its own make the call, from now on."""

        def run() -> None:
            try:
                self.sleep(0)
                call()
            except BaseException as error:  # noqa: BLE001 - raised again where the test waits
                self._broken.append(error)
            finally:
                self._back.set()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        self._hand_over(thread.start)

    def until(self, done: Callable[[], bool], *, seconds: float) -> float:
        """Let time pass until it is so. Returns how many seconds that took; fails the test when it is never so."""
        began = self._clock.monotonic()
        while not done():
            assert self._asleep[0][0] - began <= seconds, f"never so within {seconds} s"
            at, _, wake = heappop(self._asleep)
            self._clock.advance(max(at - self._clock.monotonic(), 0))
            self._hand_over(wake.set)
        return self._clock.monotonic() - began

    def close(self) -> None:
        """End every thread where it sleeps."""
        self._ended = True
        for _, _, wake in self._asleep:
            wake.set()
        for thread in self._threads:
            thread.join(STUCK)

    def _hand_over(self, go: Callable[[], None]) -> None:
        self._back.clear()
        go()
        assert self._back.wait(STUCK), "a thread neither sleeps nor ends"
        if self._broken:
            raise self._broken[0]


@contextmanager
def timeline(clock: FakeClock) -> Iterator[Timeline]:
    """A timeline whose threads end with the test."""
    made = Timeline(clock)
    try:
        yield made
    finally:
        made.close()
