"""The product under simulated faults, and the simulator itself."""

from __future__ import annotations

import random

import pytest

from keyturn.testing.simulation.faults import FAULTS
from keyturn.testing.simulation.plan import plan
from keyturn.testing.simulation.quiet import quiet
from keyturn.testing.simulation.run import simulate
from keyturn.testing.simulation.sabotages import SABOTAGES
from keyturn.testing.simulation.shrink import shrunk

RUNS = 25


@pytest.mark.slow
def test_promises_hold_under_every_fault() -> None:
    """Fresh runs under all faults break no promise."""
    seed = random.SystemRandom().randrange(2**32)
    with quiet():
        for run in range(RUNS):
            outcome = simulate(plan(seed, run, list(FAULTS)))
            assert outcome.violation is None, f"seed {seed}, run {run}: {outcome.violation}"
            assert outcome.rotations >= 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_meets_something(fault: str) -> None:
    """Asked for alone, every kind of fault befalls some of the first runs, and the others none."""
    with quiet():
        for run in range(10):
            outcome = simulate(plan(7, run, [fault]))
            assert outcome.violation is None, f"seed 7, run {run}: {outcome.violation}"
            assert set(outcome.faults) <= {fault}
            if outcome.faults[fault]:
                return
    pytest.fail(f"{fault} met nothing in 10 runs")


@pytest.mark.slow
def test_broken_run_is_shortened_to_what_matters() -> None:
    """A breach that needs no disturbance at all is shown without any."""
    with quiet(), SABOTAGES["never-revoke"]():
        broken = next(
            outcome for run in range(50) if (outcome := simulate(plan(3, run, list(FAULTS)))).violation is not None
        )
        assert shrunk(broken, simulate).disturbances == ()
