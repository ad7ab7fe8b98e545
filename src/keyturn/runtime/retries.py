"""When a call that failed is tried again: one rule for what is repeated at once, for the journal and for the outbox.

Only transient failures are repeated at once, and only what takes no intent: a look at the world, or a record of it. An
effect is tried once a tick, because its right to be sent is looked at anew each time; the journal counts its attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from keyturn.domain.errors import Failure, Throttled, Transient
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor

T = TypeVar("T")
Wait = Callable[[RetryCallState], float]

HEEDED = timedelta(hours=1)
"""What a vendor asks for is heeded up to so long: a rotation must not stand for a slip in somebody's header."""
AT_ONCE = 3
"""How often a call is made within one tick, all in all."""
FIRST = timedelta(milliseconds=100)
BUDGET = timedelta(seconds=2)
"""No call is repeated within a tick when that would begin later than this after the first; one that has timed out is
left to the next tick."""


def backoff(name: str, *, first: timedelta, longest: timedelta) -> Wait:
    """Doubling from `first` to `longest`, less up to half of it by chance, and at least what the vendor asks for.

    Chance is drawn from the name of what is tried and the number of the attempt: callers are spread, and the same run
    waits the same again.
    """
    doubling = wait_exponential(multiplier=first.total_seconds(), max=longest.total_seconds())

    def wait(state: RetryCallState) -> float:
        chance = Random(f"{name}/{state.attempt_number}").random()  # noqa: S311 - spreads, and hides nothing
        spread = doubling(state) * (1 - chance / 2)
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, Throttled) else None
        return spread if asked is None else max(spread, min(asked, HEEDED).total_seconds())

    return wait


def delay(error: Failure, attempt: int, wait: Wait) -> timedelta:
    """How long to wait after this attempt, counted from 1, has failed, where the waiting is the journal's."""
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # nobody retries in this process
    state.attempt_number = attempt
    state.set_exception((type(error), error, None))
    return timedelta(seconds=wait(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """Repeats a call within the tick, a few times and for a moment."""

    clock: Clock
    executor: Executor

    def run(self, name: str, call: Callable[[], T]) -> T:
        """The call's result. Raises what the last attempt raised."""
        began = self.clock.monotonic()
        try:
            return call()
        except Transient as error:
            # Only from here on: nearly every call succeeds, and tenacity takes its time to be set up.
            failed = [error]

        def late(state: RetryCallState) -> bool:
            return self.clock.monotonic() - began + state.upcoming_sleep > BUDGET.total_seconds()

        def again() -> T:
            if failed:
                raise failed.pop()
            return call()

        retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=backoff(name, first=FIRST, longest=BUDGET),
            stop=lambda state: stop_after_attempt(AT_ONCE)(state) or late(state),
            sleep=self.executor.pause,
            reraise=True,
        )
        return retrying(again)
