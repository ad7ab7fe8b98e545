"""A policy says what is unsafe in it, each with the mend."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, OnDeadline, Policy


def test_default_policy_is_safe() -> None:
    """What nobody configured has no problems."""
    assert Policy().problems() == []


def test_overlap_shorter_than_the_slowest_client_is_refused() -> None:
    """The minimum overlap is computed from propagation, refresh and pool lifetime."""
    policy = Policy(minimum_overlap=timedelta(minutes=5))
    assert policy.computed_overlap == timedelta(minutes=91)
    assert "raise it to at least that" in policy.problems()[0]


def test_empty_wave_is_refused() -> None:
    """A wave promotes at least one target."""
    assert "at least one target" in Policy(wave_size=0).problems()[0]


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_share_that_is_no_chance_is_refused(share: float) -> None:
    """A chance is from 0 to 1."""
    assert "it is a chance, from 0 to 1" in Policy(unseen_share=share).problems()[0]


def test_grace_beyond_its_cap_is_refused() -> None:
    """A grace that the cap ends first is not what anybody means."""
    assert "raise the cap" in Policy(grace=timedelta(hours=1)).problems()[0]


def test_deadlines_that_cannot_be_meant_are_refused() -> None:
    """Force belongs to silence and to an owner; a deadline is longer than zero."""
    forced = Deadline(after=timedelta(hours=1), policy=OnDeadline.FORCE)
    never = Deadline(after=timedelta(0))
    found = Policy(deadlines={Phase.INTRODUCE: forced, Phase.DESTROY: never}).problems()
    assert [problem.split(":")[0] for problem in found] == [
        "deadlines.introduce",
        "deadlines.introduce",
        "deadlines.destroy",
    ]
    owned = Deadline(after=timedelta(hours=1), policy=OnDeadline.FORCE, owner="grace")
    assert Policy(deadlines={Phase.MONITOR: owned}).problems() == []


def test_phase_without_a_deadline_of_its_own_has_the_default() -> None:
    """Every phase has a deadline, named or not (promise P10)."""
    assert Policy(deadlines={}).deadline(Phase.RETIRE).after == timedelta(days=60)


def test_predicted_length_counts_waves() -> None:
    """Three targets in waves of two bake twice."""
    policy = Policy(wave_size=2)
    rest = policy.minimum_overlap + policy.silence_floor + policy.soak
    assert policy.predicted_length(3) == policy.bake * 2 + rest
