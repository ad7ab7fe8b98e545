"""Seeded streams of authentications: what happens without a fault, and with one.

A stream is counts by bucket and client: 24 h of baseline on the old version, then a rotation in which
clients move from old to new one after the other within its first half (or are all moved).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

CLIENTS = 50
RATE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Baseline and rotation; `onset` is the bucket of the fault, None without one, `failing` its client."""

    length: int
    past: tuple[Counts, Counts]
    new: tuple[Counts, Counts]
    old: tuple[Counts, Counts]
    onset: int | None = None
    failing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How to make a stream. `noise` names what varies, `event` what happens; `bar_requests` is the most
    requests of the failing client that may pass before it is found, in the median."""

    name: str
    noise: dict[str, Any] = field(default_factory=dict)
    event: str = ""
    amount: float = 0.0
    length: int = 60
    hours: float = 24
    per_minute: float = 10.0
    drift: float = 1.0
    bar_requests: float | None = None
    bar_seconds: float | None = None

    @property
    def faulty(self) -> bool:
        """Whether a new version fails in it, so that a rollback is right."""
        return self.event in {"one", "all", "late"}


def traffic(
    rng: np.random.Generator,
    buckets: int,
    scenario: Scenario,
    *,
    drift: float = 1.0,
    rates: npt.NDArray[np.float64] | None = None,
) -> tuple[Counts, Counts]:
    """Trials and failures, a row a bucket and a column a client."""
    noise, length = scenario.noise, scenario.length
    per_block = 300 // length
    blocks = -(-buckets // per_block)
    factor = np.full((blocks, CLIENTS), drift)
    if gamma := noise.get("gamma"):
        factor *= rng.gamma(1 / gamma, gamma, factor.shape)
    if spread := noise.get("lognormal"):
        factor *= np.exp(spread * rng.normal(size=(blocks, 1)) - spread**2 / 2)
    if wander := noise.get("ar1"):
        steps, walk = rng.normal(size=blocks), np.zeros(blocks)
        walk[0] = steps[0]
        for block in range(1, blocks):
            walk[block] = 0.9 * walk[block - 1] + np.sqrt(0.19) * steps[block]
        factor *= np.exp(wander * walk - wander**2 / 2)[:, None]
    own = np.full(CLIENTS, RATE) if rates is None else rates
    chance = np.minimum(own * np.repeat(factor, per_block, axis=0)[:buckets], 0.9)
    day = 1 + noise.get("diurnal", 0.0) * np.sin(np.arange(buckets) * length / 86400 * 2 * np.pi)
    trials = rng.poisson(np.broadcast_to(day[:, None] * length * scenario.per_minute / 60, chance.shape))
    burst = int(noise.get("burst", 1))
    events = rng.binomial(trials, chance / burst)
    return trials + events * (burst - 1), events * burst


def make(scenario: Scenario, seed: int) -> Stream:
    """The stream of a scenario and seed; the same for every method."""
    rng = np.random.default_rng([seed, sum(map(ord, scenario.name))])
    rates = RATE * rng.gamma(1.0, 1.0, CLIENTS) + 1e-5 if scenario.noise.get("mixed") else None
    past = traffic(rng, 86400 // scenario.length, scenario, rates=rates)
    buckets = round(scenario.hours * 3600 / scenario.length)
    trials, failures = traffic(rng, buckets, scenario, drift=scenario.drift, rates=rates)
    moves = np.zeros(CLIENTS) if scenario.faulty else rng.uniform(0, buckets / 2, CLIENTS)
    stay = round(scenario.amount * CLIENTS) if scenario.event == "outage" else 0
    moves[:stay] = buckets
    onset: int | None = None
    if scenario.event in {"one", "all", "late"}:
        onset = buckets // 2 if scenario.event == "late" else 0
        who = slice(None) if scenario.event == "all" else slice(7, 8)
        failures[onset:, who] = rng.binomial(trials[onset:, who], scenario.amount)
    on_new = np.arange(buckets)[:, None] >= moves
    if scenario.event == "outage":
        # Each outage of ten minutes at its own strength; the last when nobody more is to move.
        for start in rng.integers(0, buckets - 10, 3):
            span = slice(start, start + max(1, 600 // scenario.length))
            failures[span] = rng.binomial(trials[span], rng.uniform(0.05, 1.0))
    if scenario.event == "storm":
        start = buckets // 8
        stormer = int(moves.argmax())
        trials[start : start + 10, stormer] += 500
        failures[start : start + 10, stormer] += 500
    new = trials * on_new, failures * on_new
    old = trials * ~on_new, failures * ~on_new
    if scenario.event == "laggards":
        # Refused on the disabled version; they are left out of the old arm (EVIDENCE §1).
        old = np.zeros_like(old[0]), np.zeros_like(old[1])
    return Stream(length=scenario.length, past=past, new=new, old=old, onset=onset, failing=7)


_NOISES: dict[str, dict[str, Any]] = {
    "independent": {},
    "mixed rates": {"mixed": True},
    "gamma": {"gamma": 0.8},
    "log-normal": {"lognormal": 0.7},
    "AR(1)": {"ar1": 0.4},
    "bursts of 10": {"burst": 10},
    "diurnal": {"diurnal": 0.7, "gamma": 0.3},
}

HEALTHY = (
    *(Scenario(name=name, noise=noise) for name, noise in _NOISES.items()),
    Scenario(name="drift 1.5", drift=1.5),
    Scenario(name="outage, 30 % on old", event="outage", amount=0.3),
    Scenario(name="storm on the old key", event="storm"),
    Scenario(name="laggards left out", event="laggards"),
)

FAULTY = tuple(
    Scenario(
        name=f"{event} failing {amount:.0%}{', 20/s' if per_minute > 10 else ''}",
        event=event,
        amount=amount,
        length=10,
        hours=hours,
        per_minute=per_minute,
        bar_requests=requests,
        bar_seconds=seconds,
    )
    for event, amount, per_minute, hours, requests, seconds in (
        ("one", 0.01, 10.0, 12.0, 1500, None),
        ("one", 0.05, 10.0, 3.0, 145, None),
        ("one", 0.5, 10.0, 0.5, 8, None),
        ("one", 1.0, 10.0, 0.5, 6, 40),
        ("one", 0.01, 1200.0, 0.5, None, 100),
        ("one", 0.05, 1200.0, 0.2, None, 20),
        ("one", 0.5, 1200.0, 0.1, None, 10),
        ("all", 0.5, 10.0, 0.2, None, None),
        ("late", 1.0, 10.0, 2.0, None, None),
    )
)
