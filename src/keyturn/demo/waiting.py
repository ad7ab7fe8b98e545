"""Waiting for a part with a deadline, and ending a run on a signal."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol, TypeVar

T = TypeVar("T")

POLL = 0.02


class Watched(Protocol):
    """What a wait needs to know of the part that it waits for."""

    @property
    def name(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...
    def log_tail(self) -> str: ...


class PartFailed(RuntimeError):  # named for what happened
    """A part did not start, died early, or did not become ready in time."""


def wait_until(
    probe: Callable[[], T],
    *,
    within: float,
    what: str,
    part: Watched | None = None,
    every: float = POLL,
) -> T:
    """Poll until `probe` returns something true, and return that.

    Fails with `part`'s last log lines when the time is up, and at once when `part` has ended.
    """
    deadline = time.monotonic() + within
    while True:
        ended = part is not None and not part.alive
        if found := probe():
            return found
        late = time.monotonic() >= deadline
        if ended or late:
            why = f"not within {within:g} s"
            tail = ""
            if part is not None:
                why = f"{part.name} ended with code {part.exit_code}" if ended else why
                tail = f"; the last lines of its log:\n{part.log_tail()}"
            raise PartFailed(f"{what}: {why}{tail}")
        time.sleep(every)


@contextlib.contextmanager
def signals_end_the_run() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like an exception, so that `with` blocks run their exits; SIGINT as it does by default,
    also in a job that a shell put into the background with SIGINT ignored."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    former = {s: signal.signal(s, leave) for s in (signal.SIGTERM, signal.SIGHUP)}
    former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
