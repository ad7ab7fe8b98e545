"""The promises and MACHINE.md's further invariants hold after every step, whatever happens in whatever order."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.domain.emergencies import Emergencies, one_report_each
from tests.domain.interludes import stories, two_causes_each
from tests.domain.rotations import one_event_each
from tests.domain.unknowns import unknown_each

BUDGET = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=False,
    print_blob=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""Some twenty seconds of one core; CI goes through every state by `make explore`, and thousands of examples have been run
by hand."""


def test_promises_hold_under_one_event_anywhere() -> None:
    """One adverse event in any phase breaks no promise, and leaves the ways on and back open."""
    one_event_each()


def test_promises_hold_under_one_report_anywhere() -> None:
    """A version reported compromised, the old, the new or both, in any phase: cut in its time, and nothing else breaks."""
    one_report_each()


def test_two_causes_at_once_are_heard_in_their_order() -> None:
    """What undoes comes before what waits, and what pages before what stands in silence, in any phase."""
    two_causes_each()


def test_promises_hold_in_every_story() -> None:
    """What comes again and again, is denied for a while, is to be mended while it stands, or comes after an end."""
    stories()


def test_the_unknown_is_nothing_known() -> None:
    """Whatever cannot be read, asked or heard, in any phase and under any word, is waited for."""
    unknown_each()


@pytest.mark.slow
def test_promises_hold_whatever_happens() -> None:
    """No order of faults, hands, reports and commands, over rotations that take over from one another, makes the machine
    break a promise or stand still in silence."""
    chosen = random.SystemRandom().randrange(2**32)
    print(f"seed {chosen}")  # noqa: T201 - shown when the test fails, to run it again

    @seed(chosen)
    class Seeded(Emergencies):
        """The rules, with this seed."""

    run_state_machine_as_test(Seeded, settings=BUDGET)
