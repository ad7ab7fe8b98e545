"""A trouble of old and new version together: held for while it lasts, and forgotten when it has passed."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.unit.evidence.seeds import seeded

from keyturn.domain.evidence import Bucket, FailureDetector, Finding
from keyturn.domain.evidence.buckets import Arm

DAY = timedelta(days=1)
OLD = [f"old-{number}" for number in range(4)]
NEW = [f"new-{number}" for number in range(4)]


def arm(rng: np.random.Generator, clients: list[str], rate: float, requests: int = 10) -> Arm:
    failed = rng.binomial(requests, rate, len(clients)).tolist()
    return {client: (requests - bad, bad) for client, bad in zip(clients, failed, strict=True)}


@cache
def baseline() -> dict[str, Any]:
    rng = seeded()
    past = (Bucket(n * 60.0, 60.0, arm(rng, OLD + NEW, 0.001, 600), {}) for n in range(-1440, 0))
    state = FailureDetector.from_baseline(past, planned_overlap=DAY).state()
    # The laws are per trial, so what was learnt on minutes holds for seconds too.
    state["baseline"]["length"] = state["length"] = 1.0
    return state


def learnt(rng: np.random.Generator) -> FailureDetector:
    return FailureDetector.from_state(baseline())


def fresh(rng: np.random.Generator) -> FailureDetector:
    return FailureDetector.from_baseline([], planned_overlap=timedelta(seconds=6))


def run(
    detector: FailureDetector, rng: np.random.Generator, seconds: range, rate: float, *, old: bool = True
) -> list[Finding | None]:
    """One bucket a second in which every client fails at `rate`, on the old version too if `old`."""
    return [
        detector.update(Bucket(second, 1.0, arm(rng, OLD if old else [], rate), arm(rng, NEW, rate)))
        for second in seconds
    ]


def verdicts(findings: list[Finding | None]) -> set[str]:
    return {finding.verdict for finding in findings if finding}


@pytest.mark.parametrize(("make", "begins"), [(fresh, 3), *((learnt, second) for second in (3, 150, 290, 298))])
@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_a_trouble_of_seconds_is_over_within_seconds(
    make: Callable[[np.random.Generator], FailureDetector], rate: float, begins: int
) -> None:
    """Wherever in a block an outage of five seconds falls, the hold ends within ten good seconds."""
    rng = seeded()
    detector = make(rng)
    run(detector, rng, range(begins), 0.001)
    assert verdicts(run(detector, rng, range(begins, begins + 5), rate)) == {"authority_ill"}
    assert run(detector, rng, range(begins + 5, begins + 400), 0.001)[10:] == [None] * 385


@pytest.mark.parametrize("begins", [2, 150, 285, 298])
def test_what_failed_in_a_trouble_never_turns_against_the_new_version(begins: int) -> None:
    """Once it has passed, the old version may fall silent at any moment without a rollback."""
    rng = seeded()
    for silent in range(begins + 10, begins + 50, 13):
        detector = fresh(rng)
        findings = run(detector, rng, range(begins), 0.002)
        findings += run(detector, rng, range(begins, begins + 10), 0.6)
        findings += run(detector, rng, range(begins + 10, silent), 0.002)
        findings += run(detector, rng, range(silent, silent + 320), 0.002, old=False)
        assert "roll_back" not in verdicts(findings)


@pytest.mark.parametrize("make", [fresh, learnt])
def test_a_trouble_just_after_clients_have_moved_is_not_the_new_versions(
    make: Callable[[np.random.Generator], FailureDetector],
) -> None:
    """What the old version did before they moved, within the same block, does not count against the new one."""
    rng = seeded()
    detector = make(rng)
    for second in range(20):
        assert detector.update(Bucket(second, 1.0, arm(rng, OLD + NEW, 0.001), {})) is None
    run(detector, rng, range(20, 28), 0.001)
    during = run(detector, rng, range(28, 36), 0.9)
    assert all(during[1:])
    assert verdicts(during) == {"authority_ill"}
    assert verdicts(run(detector, rng, range(36, 80), 0.001)) <= {"authority_ill"}


def test_a_hold_lasts_as_long_as_the_trouble() -> None:
    """Over block ends and for twenty minutes, an outage of one request in five stays one hold."""
    rng = seeded()
    detector = learnt(rng)
    run(detector, rng, range(100), 0.001)
    during = run(detector, rng, range(100, 1300), 0.2)
    assert verdicts(during) == {"authority_ill"}
    assert all(during[10:])


def test_a_light_trouble_takes_longer_to_be_known_over() -> None:
    """Good requests end a hold by what they exclude: more of them after fewer failures."""

    def held(rate: float, seconds: int) -> float:
        lengths = []
        for _ in range(5):
            rng = seeded()
            detector = learnt(rng)
            run(detector, rng, range(10), 0.001)
            during = run(detector, rng, range(10, 10 + seconds), rate)
            assert any(during)
            lengths.append(sum(map(bool, run(detector, rng, range(10 + seconds, 290), 0.001))))
        return float(np.median(lengths))

    assert held(1.0, 20) < held(0.02, 150) <= 30


def test_failures_of_the_new_alone_after_a_trouble_roll_back() -> None:
    """A client that still fails when the authority is well again is found, and soon."""
    rng = seeded()
    detector = learnt(rng)
    run(detector, rng, range(10), 0.001)
    run(detector, rng, range(10, 40), 0.8)
    findings = []
    for second in range(40, 70):
        failing = {**arm(rng, NEW, 0.001), NEW[0]: (0, 10)}
        findings.append(detector.update(Bucket(second, 1.0, arm(rng, OLD, 0.001), failing)))
    assert "roll_back" in verdicts(findings)


def test_a_trouble_of_an_earlier_block_hides_nothing() -> None:
    """What the control said in one block is spent there: in a later one a failing client is found at once."""
    rng = seeded()
    detector = learnt(rng)
    run(detector, rng, range(10), 0.001)
    run(detector, rng, range(10, 40), 0.8)
    assert not any(run(detector, rng, range(40, 610), 0.001)[30:])
    findings = [
        detector.update(Bucket(second, 1.0, arm(rng, OLD, 0.001), {**arm(rng, NEW, 0.001), NEW[0]: (0, 10)}))
        for second in range(610, 615)
    ]
    assert "roll_back" in verdicts(findings)


def test_silence_does_not_end_a_hold_before_a_block_without_trouble() -> None:
    """When nobody comes nothing tells that the authority is well: the hold lasts a whole block."""
    rng = seeded()
    detector = learnt(rng)
    run(detector, rng, range(10), 0.001)
    run(detector, rng, range(10, 20), 1.0)
    idle = [detector.update(Bucket(second, 1.0, {}, {})) for second in range(20, 700)]
    assert all(idle[:580])
    assert idle[580:] == [None] * 100


def test_the_state_goes_through_json_in_the_midst_of_a_trouble() -> None:
    """Written and read back in every bucket of an outage, the detector says and ends the same."""
    rng = seeded()
    straight = broken = fresh(rng)
    buckets = [Bucket(s, 1.0, arm(rng, OLD, 0.7 * (5 < s < 12)), arm(rng, NEW, 0.7 * (5 < s < 12))) for s in range(30)]
    expected = [straight.update(bucket) for bucket in buckets]
    broken, got = fresh(rng), []
    for bucket in buckets:
        broken = FailureDetector.from_state(json.loads(json.dumps(broken.state(), allow_nan=False)))
        got.append(broken.update(bucket))
    assert got == expected
    assert verdicts(got) == {"authority_ill"}
    assert broken.state() == straight.state()
