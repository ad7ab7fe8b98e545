"""Seeded simulations: how often the detector is wrong, and how soon it is right."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.unit.evidence.seeds import seeded

from keyturn.domain.evidence import Bucket, FailureDetector, Finding

Counts = npt.NDArray[np.int64]

CLIENTS = 50
DAY = timedelta(days=1)
NAMES = [f"client-{number:02}" for number in range(CLIENTS)]


def traffic(
    rng: np.random.Generator,
    hours: float,
    length: int,
    *,
    rate: float = 0.001,
    noise: float = 0.0,
    shared: float = 0.0,
    wander: float = 0.0,
    burst: int = 1,
    diurnal: float = 0.0,
) -> tuple[Counts, Counts]:
    """Trials and failures, a row a bucket and a column a client, at 10 requests a minute.

    `noise` and `shared` are the squared variations of gamma noise, one a client or one for all,
    `wander` the deviation of a shared autoregressive one; `burst` failures come at a time.
    """
    buckets, per_block = round(hours * 3600 / length), 300 // length
    blocks = -(-buckets // per_block)
    factor = np.ones((blocks, CLIENTS))
    if noise:
        factor *= rng.gamma(1 / noise, noise, factor.shape)
    if shared:
        factor *= rng.gamma(1 / shared, shared, (blocks, 1))
    if wander:
        walk, steps = np.zeros(blocks), rng.normal(size=blocks)
        walk[0] = steps[0]
        for block in range(1, blocks):
            walk[block] = 0.9 * walk[block - 1] + np.sqrt(0.19) * steps[block]
        factor *= np.exp(wander * walk - wander**2 / 2)[:, None]
    rates = np.minimum(rate * np.repeat(factor, per_block, axis=0)[:buckets], 0.9)
    day = 1 + diurnal * np.sin(np.arange(buckets) * length / 86400 * 2 * np.pi)
    trials = rng.poisson(np.broadcast_to(day[:, None] * length / 6, rates.shape))
    events = rng.binomial(trials, rates / burst)
    return trials + events * (burst - 1), events * burst


def arms(trials: Counts, failures: Counts) -> Iterator[dict[str, tuple[int, int]]]:
    for row, failed in zip((trials - failures).tolist(), failures.tolist(), strict=True):
        counts = zip(row, failed, strict=True)
        yield {name: pair for name, pair in zip(NAMES, counts, strict=True) if any(pair)}


def baseline(counts: tuple[Counts, Counts], length: int) -> Iterator[Bucket]:
    start = -len(counts[0]) * length
    for number, arm in enumerate(arms(*counts)):
        yield Bucket(start + number * length, length, arm, {})


@cache
def learnt(length: int) -> dict[str, Any]:
    rng = seeded(1)
    past = baseline(traffic(rng, 24, length), length)
    return FailureDetector.from_baseline(past, planned_overlap=DAY).state()


def watch(
    detector: FailureDetector,
    length: int,
    new: tuple[Counts, Counts],
    old: tuple[Counts, Counts] | None = None,
) -> list[Finding | None]:
    olds: Iterator[dict[str, tuple[int, int]]] = iter([{}] * len(new[0]))
    if old is not None:
        olds = arms(*old)
    return [
        detector.update(Bucket(number * length, length, before, after))
        for number, (before, after) in enumerate(zip(olds, arms(*new), strict=True))
    ]


NORMAL: dict[str, dict[str, Any]] = {
    "plain": {},
    "noisy clients": {"noise": 0.8},
    "noise in common": {"shared": 0.5},
    "wandering": {"wander": 0.4},
    "bursts": {"burst": 10},
    "day and night": {"diurnal": 0.7, "noise": 0.3},
}


@pytest.mark.parametrize("name", NORMAL)
def test_a_healthy_rotation_is_not_rolled_back(name: str) -> None:
    """However failures vary by themselves, 24 h of overlap without a fault give no finding."""
    rng = seeded(0)
    past = baseline(traffic(rng, 24, 60, **NORMAL[name]), 60)
    detector = FailureDetector.from_baseline(past, planned_overlap=DAY)
    assert detector.shortfall is None
    assert not any(watch(detector, 60, traffic(rng, 24, 60, **NORMAL[name])))


def test_a_burst_of_the_first_few_that_move_is_not_the_new_version() -> None:
    """Where failures have always come ten at a time, the first ten of three clients give no finding."""
    rng = seeded()
    for _ in range(3):
        past = baseline(traffic(rng, 24, 60, burst=10), 60)
        detector = FailureDetector.from_baseline(past, planned_overlap=DAY)
        for number in range(40):
            burst = 10 if number in {12, 30} else 0
            new = {name: (10, burst if name == NAMES[0] else 0) for name in NAMES[:3]}
            assert detector.update(Bucket(number * 60.0, 60.0, {}, new)) is None


def test_a_drift_by_half_is_tolerated() -> None:
    """A failure rate 1.5 times the learnt one is no reason to roll back."""
    detector = FailureDetector.from_state(learnt(60))
    assert not any(watch(detector, 60, traffic(seeded(0), 24, 60, rate=0.0015)))


@pytest.mark.parametrize("noise", [{"shared": 0.2}, {"burst": 5}])
def test_without_a_baseline_ordinary_failures_are_tolerated(noise: dict[str, Any]) -> None:
    """With the prior alone, true failure rates up to 0.5 % give no finding in 24 h."""
    detector = FailureDetector.from_baseline([], planned_overlap=DAY)
    assert not any(watch(detector, 60, traffic(seeded(0), 24, 60, rate=0.005, **noise)))


def requests_until_found(detector: FailureDetector, rate: float, seed: int, after: float) -> int:
    """How many requests of one client that fails at `rate`, `after` good hours, it takes."""
    rng = seeded(seed)
    trials, failures = traffic(rng, after + 1, 10)
    first = round(after * 360)
    failures[first:, 7] = rng.binomial(trials[first:, 7], rate)
    for number, new in enumerate(arms(trials, failures)):
        finding = detector.update(Bucket(number * 10.0, 10.0, {}, new))
        if finding is not None:
            assert number >= first
            assert finding.verdict == "roll_back"
            assert finding.culprits[0].client == NAMES[7]
            return int(trials[first : number + 1, 7].sum())
    raise AssertionError("the failing client was not found")


@pytest.mark.parametrize(("rate", "median"), [(1.0, 6), (0.5, 8), (0.05, 145)])
def test_one_failing_client_of_fifty_is_found(rate: float, median: int) -> None:
    """One client that fails from its first use on is found, and named, within a few requests."""
    needed = []
    for seed in range(21):
        detector = FailureDetector.from_state(learnt(10))
        needed.append(requests_until_found(detector, rate, seed, 0.0))
    assert np.median(needed) <= median


@pytest.mark.parametrize(("after", "most"), [(0.0, 12), (0.5, 25)])
def test_one_failing_client_is_found_without_a_baseline(after: float, most: int) -> None:
    """A client that fails fully is found within 12 requests, or 25 after half an hour of use."""
    needed = []
    for seed in range(9):
        detector = FailureDetector.from_baseline([], planned_overlap=DAY)
        needed.append(requests_until_found(detector, 1.0, seed, after))
    assert max(needed) <= most


def test_a_common_outage_holds_and_does_not_roll_back() -> None:
    """With 30 % of clients on the old version an outage of both is authority_ill, then nothing."""
    for seed in range(3):
        rng = seeded(seed)
        trials, failures = traffic(rng, 8, 60)
        failures[120:140] = rng.binomial(trials[120:140], 0.4)
        moved = np.arange(CLIENTS) < 35
        new, old = (trials * moved, failures * moved), (trials * ~moved, failures * ~moved)
        findings = watch(FailureDetector.from_state(learnt(60)), 60, new, old)
        assert {finding.verdict for finding in findings if finding} == {"authority_ill"}
        assert all(findings[121:140])
        assert not any(findings[150:])


@pytest.mark.parametrize("laggards", [1, 15])
def test_laggards_on_the_disabled_version_neither_fire_nor_hide(laggards: int) -> None:
    """With their refusals left out there is no finding, until one client fails on the new one."""
    rng = seeded(4)
    trials, failures = traffic(rng, 2, 10)
    failures[600:, 20] = trials[600:, 20]
    refused = np.zeros_like(trials)
    refused[:, :laggards] = trials[:, :laggards]
    trials[:, :laggards] = failures[:, :laggards] = 0
    detector = FailureDetector.from_state(learnt(10))
    both = zip(arms(trials, failures), arms(refused, refused), strict=True)
    found: list[int] = []
    for number, (new, old) in enumerate(both):
        if detector.update(Bucket(number * 10.0, 10.0, old, new).without_old()):
            found.append(number)
    assert 600 <= found[0] <= 615


def test_few_clients_in_compressed_time_are_watched_too() -> None:
    """Eight clients, seconds of overlap, no baseline: half of all requests refused is found."""
    for seed in range(20):
        rng = seeded(seed)
        detector = FailureDetector.from_baseline([], planned_overlap=timedelta(seconds=6))
        for second in range(3):
            old = dict.fromkeys(NAMES[:8], (10, 0))
            assert detector.update(Bucket(second, 1, old, {})) is None
        found = []
        for second in range(3, 6):
            refused = rng.binomial(10, 0.5, 8).tolist()
            new = {name: (10 - bad, bad) for name, bad in zip(NAMES[:4], refused, strict=False)}
            old = dict.fromkeys(NAMES[4:8], (10, 0))
            found.append(detector.update(Bucket(second, 1, old, new)))
        finding = found[1]
        assert finding is not None
        assert finding.verdict == "roll_back"
        assert {culprit.client for culprit in finding.culprits} == set(NAMES[:4])
