"""The fake clock and executor do what tests rely on."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.testing.fakes import FakeClock, InlineExecutor


def test_both_clocks_go_on_together() -> None:
    """Time passes on both clocks, by seconds or by a timedelta."""
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC), monotonic=5.0)
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    assert clock.now() == datetime(2030, 1, 1, 0, 1, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() == 66.5


def test_wall_clock_steps_alone() -> None:
    """A step of the wall clock, backwards too, leaves the monotonic clock; time itself does not go back."""
    clock = FakeClock()
    clock.set_utc(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic() == 1000.0
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_executor_runs_every_call_and_raises_afterwards() -> None:
    """Results come in order; a call that raises is raised after all have run."""
    executor, ran = InlineExecutor(), []

    def defect() -> int:
        raise LookupError("a defect")

    assert executor.run([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(LookupError):
        executor.run([defect, lambda: ran.append(1) or 3])  # type: ignore[func-returns-value]
    assert ran == [1]
    executor.close()
    with pytest.raises(RuntimeError):
        executor.run([])
