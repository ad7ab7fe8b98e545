"""Seeded streams of authentications: a day of baseline on the old version, then a rotation in which clients move from
old to new one after the other within its first half (or are all moved)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import compress
from zlib import crc32

import numpy as np
import numpy.typing as npt

from benchmarks.evidence.scenarios import CLIENTS, NOISES, RATE, Scenario
from keyturn.domain.evidence import Bucket
from keyturn.domain.evidence.baseline import Baseline, learn
from keyturn.domain.evidence.buckets import BLOCK_SECONDS, Arm

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAMES = [f"client-{number:02}" for number in range(CLIENTS)]
OVERLAP = timedelta(days=1)
FAILING = 7
"""The client that fails where one does."""
_OUTAGES, _OUTAGE_SECONDS = 3, 600
_STORM = 500
"""Requests of a storm in a minute, beside the ordinary ones."""
_LEAST_OUTAGE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The authority's own trouble: which buckets, the chance that a request fails, and whether by a refusal."""

    buckets: slice
    strength: float
    refuses: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What was learnt, and the rotation's trials and failures: a row a bucket, a column a client.

    `onset` is the bucket of the fault, None without one; `disabled` says that keyturn itself refuses the old version.
    """

    length: int
    baseline: Baseline
    new: tuple[Counts, Counts]
    old: tuple[Counts, Counts]
    onset: int | None = None
    disabled: bool = False
    outages: tuple[Outage, ...] = ()


def rng_for(seed: int, *names: object) -> np.random.Generator:
    """A generator of its own for each purpose of a run."""
    return np.random.default_rng([seed, crc32("/".join(map(str, names)).encode())])


@cache
def rates(noise: str, rate: float, seed: int) -> Floats:
    """Each client's true failure rate."""
    if not NOISES[noise].get("mixed"):
        return np.full(CLIENTS, rate)
    return rate * rng_for(seed, "rates").gamma(1.0, 1.0, CLIENTS) + 0.01 * RATE


def traffic(
    rng: np.random.Generator,
    buckets: int,
    *,
    noise: str,
    length: int,
    per_minute: float,
    own: Floats,
) -> tuple[Counts, Counts]:
    """Trials and failures of clients that fail at their `own` rates."""
    law = NOISES[noise]
    per_block = BLOCK_SECONDS // length
    blocks = -(-buckets // per_block)
    factor = np.ones((blocks, CLIENTS))
    if gamma := law.get("gamma"):
        factor *= rng.gamma(1 / gamma, gamma, factor.shape)
    if spread := law.get("lognormal"):
        factor *= np.exp(spread * rng.normal(size=(blocks, 1)) - spread**2 / 2)
    if wander := law.get("ar1"):
        steps, walk = rng.normal(size=blocks), np.zeros(blocks)
        walk[0] = steps[0]
        for block in range(1, blocks):
            walk[block] = 0.9 * walk[block - 1] + np.sqrt(0.19) * steps[block]
        factor *= np.exp(wander * walk - wander**2 / 2)[:, None]
    chance = np.minimum(own * np.repeat(factor, per_block, axis=0)[:buckets], 0.9)
    day = 1 + law.get("diurnal", 0.0) * np.sin(np.arange(buckets) * length / 86400 * 2 * np.pi)
    expected = day[:, None] * length * per_minute / 60
    # A Poisson number of requests of which each fails with a chance of its own is two Poisson numbers: several times
    # faster to draw than binomial ones.
    burst = int(law.get("burst", 1))
    events = rng.poisson(expected * chance / burst)
    return rng.poisson(expected * (1 - chance / burst)) + events * burst, events * burst


@cache
def learnt(noise: str, rate: float, length: int, per_minute: float, seed: int) -> Baseline:
    """What a day before the rotation teaches. Scenarios that differ after it alone share it."""
    own = rates(noise, rate, seed)
    buckets = 86400 // length
    rng = rng_for(seed, "past", noise, rate, length, per_minute)
    past = traffic(rng, buckets, noise=noise, length=length, per_minute=per_minute, own=own)
    numbered = enumerate(arms(*past))
    return learn(
        (Bucket(float((number - buckets) * length), float(length), arm, {}) for number, arm in numbered),
        planned_overlap=OVERLAP,
    )


def arms(trials: Counts, failures: Counts) -> Iterator[Arm]:
    """Each bucket's counts by client, idle ones left out."""
    rows = zip((trials - failures).tolist(), failures.tolist(), (trials > 0).tolist(), strict=True)
    for successes, failed, active in rows:
        yield dict(compress(zip(NAMES, zip(successes, failed, strict=True), strict=True), active))


def make(scenario: Scenario, seed: int) -> Stream:
    """The stream of a scenario and seed; the same for every method."""
    rng = rng_for(seed, scenario.name, scenario.length)
    length = scenario.length
    buckets = round(scenario.hours * 3600 / length)
    own = rates(scenario.noise, scenario.rate, seed)
    laws = {"noise": scenario.noise, "length": length, "per_minute": scenario.per_minute}
    trials, failures = traffic(rng, buckets, **laws, own=own * scenario.drift)  # type: ignore[arg-type]
    known = (scenario.noise, scenario.rate, length, scenario.per_minute, seed)
    baseline = learnt(*known) if scenario.baseline else learn([], planned_overlap=OVERLAP)
    moves = rng.uniform(0, buckets / 2, CLIENTS)
    if scenario.faulty or scenario.unguarded or scenario.event == "laggards" or not scenario.baseline:
        moves[:] = 0
    onset: int | None = None
    disabled = False
    outages: tuple[Outage, ...] = ()
    match scenario.event:
        case "outage":
            moves[: round(scenario.amount * CLIENTS)] = buckets
            starts = rng.integers(0, buckets - _OUTAGE_SECONDS // length, _OUTAGES)
            outages = tuple(_outage(rng, length, start) for start in starts.tolist())
            for outage in outages:
                failures[outage.buckets] = rng.binomial(trials[outage.buckets], outage.strength)
        case "outage after a wave":
            # Most clients move at once, within a block of which the outage takes the rest.
            moves[:] = buckets // 2 + 120 // length
            moves[: round(scenario.amount * CLIENTS)] = buckets
            start = buckets // 2 + 180 // length
            outages = (_outage(rng, length, start),)
            failures[outages[0].buckets] = rng.binomial(trials[outages[0].buckets], outages[0].strength)
        case "storm on old":
            _storm(trials, failures, buckets // 8, int(moves.argmax()), length)
        case "one storms":
            onset = buckets // 2
            _storm(trials, failures, onset, FAILING, length)
        case "one fails" | "one fails late" | "one fails beside laggards" | "all fail":
            onset = 4 * 3600 // length if scenario.event == "one fails late" else 0
            who = slice(None) if scenario.event == "all fail" else slice(FAILING, FAILING + 1)
            failures[onset:, who] = rng.binomial(trials[onset:, who], scenario.amount)
        case "none" | "laggards":
            pass
    if scenario.event in {"laggards", "one fails beside laggards"}:
        disabled = True
        laggards = 20 + np.arange(rng.integers(1, 16))
        moves[laggards] = buckets
        failures[:, laggards] = trials[:, laggards]
    on_new = np.arange(buckets)[:, None] >= moves
    return Stream(
        length=length,
        baseline=baseline,
        new=(trials * on_new, failures * on_new),
        old=(trials * ~on_new, failures * ~on_new),
        onset=onset,
        disabled=disabled,
        outages=outages,
    )


def _outage(rng: np.random.Generator, length: int, start: int) -> Outage:
    strength = float(rng.uniform(_LEAST_OUTAGE, 1.0))
    span = slice(start, start + _OUTAGE_SECONDS // length)
    return Outage(buckets=span, strength=strength, refuses=bool(rng.integers(2)))


def _storm(trials: Counts, failures: Counts, start: int, client: int, length: int) -> None:
    span = slice(start, start + _OUTAGE_SECONDS // length)
    trials[span, client] += _STORM * length // 60
    failures[span, client] += _STORM * length // 60
