"""Whose failures the evidence is, when nobody is left on the old version."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.unit.evidence.seeds import seeded

from keyturn.domain.evidence import Bucket, FailureDetector, Finding, confined
from keyturn.domain.evidence.blame import blame
from keyturn.domain.evidence.buckets import Arm
from keyturn.domain.evidence.series import FIRST_CLIENT, POOLED, RAW

CLIENTS = 30
NAMES = [f"client-{number:02}" for number in range(CLIENTS)]
RATE = 0.002


def arm(rng: np.random.Generator, rates: float | dict[int, float]) -> Arm:
    """Ten requests of each client in a minute."""
    chances = np.full(CLIENTS, RATE if isinstance(rates, dict) else rates)
    if isinstance(rates, dict):
        chances[list(rates)] = list(rates.values())
    failed = rng.binomial(10, chances).tolist()
    return {name: (10 - bad, bad) for name, bad in zip(NAMES, failed, strict=True)}


@cache
def learnt() -> dict[str, Any]:
    rng = seeded()
    past = (Bucket(minute * 60.0, 60.0, arm(rng, RATE), {}) for minute in range(-1440, 0))
    return FailureDetector.from_baseline(past, planned_overlap=timedelta(days=1)).state()


class Rotation:
    """A rotation whose clients have all moved."""

    def __init__(self) -> None:
        self.rng = seeded()
        self.detector = FailureDetector.from_state(learnt())
        self.minute = 0

    def minutes(self, count: int, rates: float | dict[int, float] = RATE) -> list[Finding | None]:
        return [self.see(arm(self.rng, rates)) for _ in range(count)]

    def see(self, new: Arm) -> Finding | None:
        self.minute += 1
        return self.detector.update(Bucket(self.minute * 60.0, 60.0, {}, new))


def found(findings: list[Finding | None]) -> Iterator[Finding]:
    return (finding for finding in findings if finding is not None)


def own(finding: Finding) -> bool:
    return confined([culprit.share for culprit in finding.culprits], CLIENTS)


def test_one_failing_client_is_named_alone_among_ordinary_failures() -> None:
    """After hours in which every client has failed now and then, the one that fails is the only culprit."""
    rotation = Rotation()
    assert not any(rotation.minutes(120))
    finding = next(found(rotation.minutes(30, {4: 0.6})))
    assert [culprit.client for culprit in finding.culprits] == [NAMES[4]]
    assert not finding.control
    assert own(finding)


@pytest.mark.parametrize(("strength", "minutes"), [(0.03, 40), (0.05, 20), (0.3, 20), (1.0, 20)])
def test_failures_of_all_alike_are_nobodys_own(strength: float, minutes: int) -> None:
    """In every minute of an outage, from light to total, the failures are not a few clients' own."""
    rotation = Rotation()
    rotation.minutes(60)
    during = list(found(rotation.minutes(minutes, strength)))
    assert len(during) >= minutes - 5
    assert not any(map(own, during))


@pytest.mark.parametrize(("strength", "minutes"), [(0.05, 3), (0.3, 0), (1.0, 0)])
def test_an_outage_leaves_nothing_behind(strength: float, minutes: int) -> None:
    """With nobody on the old version, too, the finding ends minutes after the outage and does not come back."""
    rotation = Rotation()
    rotation.minutes(60)
    assert any(rotation.minutes(10, strength))
    after = rotation.minutes(240)
    assert not any(after[minutes:])
    assert any(rotation.minutes(5, {9: 1.0})[:2])


def test_a_client_that_failed_and_fell_silent_stays_found() -> None:
    """The good requests of all others say nothing of the one that fails: its finding lasts."""
    rotation = Rotation()
    rotation.minutes(60)
    assert any(rotation.minutes(2, {4: 1.0}))
    for _ in range(30):
        others = arm(rotation.rng, RATE)
        finding = rotation.see({name: counts for name, counts in others.items() if name != NAMES[4]})
        assert finding is not None
        assert own(finding)


def evidence(pooled: float, *clients: float) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...]:
    both = np.zeros((2, FIRST_CLIENT + len(clients)))
    both[RAW, POOLED] = pooled
    both[:, FIRST_CLIENT:] = clients
    return both, np.zeros_like(both)


def test_clients_are_named_by_their_own_evidence_the_more_the_less_each_needs() -> None:
    """Of K clients the r-th largest is named at 20·K/r (e-BH at a share of 5 % of false names)."""
    assert set(blame(*evidence(1, 81, 3, 2, 0))) == {0}
    assert blame(*evidence(1, 79, 3, 2, 0)) == {}
    assert set(blame(*evidence(1, 41, 40, 2, 0))) == {0, 1}


def test_shares_compare_with_a_trouble_of_all_alike() -> None:
    """They add up to 1, or to less where all clients together explain more than the named ones do."""
    assert sum(blame(*evidence(1e3, 1e9, 1e6, 0, 0)).values()) == pytest.approx(1)
    assert sum(blame(*evidence(1e30, 1e9, 1e6, 0, 0)).values()) == pytest.approx(0.5)
    values, cut = evidence(1e9, 1e9, 0, 0, 0)
    cut[RAW, POOLED] = 100.0
    assert sum(blame(values, cut).values()) < 0.2


@pytest.mark.parametrize(
    ("shares", "clients", "few"),
    [([1.0], 1, True), ([1.0], 50, True), ([0.2] * 5, 50, True), ([0.1] * 6, 50, False), ([0.5], 50, False)],
)
def test_failures_are_few_clients_own(shares: list[float], clients: int, *, few: bool) -> None:
    """At most one in ten, and always one, whose shares are more than half of the evidence."""
    assert confined(shares, clients) is few
    assert not confined([], clients)
