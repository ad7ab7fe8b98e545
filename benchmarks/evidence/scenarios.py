"""What is simulated: without a fault, where nothing may be rolled back, and with one, which must be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

CLIENTS = 50
RATE = 0.001

Event = Literal[
    "none",
    "outage",
    "outage after a wave",
    "storm on old",
    "laggards",
    "one fails",
    "all fail",
    "one fails late",
    "one storms",
    "one fails beside laggards",
]
FAULTS: frozenset[Event] = frozenset(
    {"one fails", "all fail", "one fails late", "one storms", "one fails beside laggards"}
)

#: What varies without a fault. `gamma` is the squared variation of each client's rate in a block, `lognormal` the
#: deviation of one factor for all, `ar1` that of a wandering one; `burst` failures come at a time; `mixed` clients
#: have rates of their own; `diurnal` is the swing of traffic over the day.
NOISES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "independent": {},
        "mixed rates": {"mixed": 1},
        "gamma": {"gamma": 0.8},
        "log-normal": {"lognormal": 0.7},
        "AR(1)": {"ar1": 0.4},
        "bursts of 10": {"burst": 10},
        "bursts of 5": {"burst": 5},
        "diurnal": {"diurnal": 0.7, "gamma": 0.3},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How to make a stream, and the bars of EVIDENCE.md §2 for it.

    `length` is the buckets' in seconds, `per_minute` each client's requests, `rate` the true failure rate, and `drift`
    its factor in the rotation. `amount` belongs to the event: a failure rate, or the share of clients that stay on the
    old version. The bars are medians.
    """

    name: str
    noise: str = "independent"
    event: Event = "none"
    amount: float = 0.0
    length: int = 60
    hours: float = 24
    per_minute: float = 10.0
    rate: float = RATE
    drift: float = 1.0
    baseline: bool = True
    bar_requests: float | None = None
    bar_seconds: float | None = None

    @property
    def title(self) -> str:
        """Its name; a healthy one is run in buckets of two lengths."""
        return self.name if self.faulty else f"{self.name}, {self.length} s"

    @property
    def faulty(self) -> bool:
        """Whether the new version fails in it, so that a rollback is right."""
        return self.event in FAULTS

    @property
    def unguarded(self) -> bool:
        """Whether nobody is left on the old version, so that only the probes tell an outage from a failing version."""
        return self.event == "outage" and self.amount == 0


HEALTHY = (
    *(
        Scenario(name=noise, noise=noise)
        for noise in ("independent", "mixed rates", "gamma", "log-normal", "AR(1)", "bursts of 10", "diurnal")
    ),
    Scenario(name="drift 1.5", drift=1.5),
    Scenario(name="outage, 30 % on old", event="outage", amount=0.3),
    Scenario(name="outage after a wave", event="outage after a wave", amount=0.3, hours=6),
    Scenario(name="storm on the old key", event="storm on old"),
    Scenario(name="1 to 15 laggards refused", event="laggards", hours=6),
    Scenario(name="outage, nobody on old", event="outage", hours=6),
    Scenario(name="no baseline, 0.5 %", rate=0.005, baseline=False),
    Scenario(name="no baseline, bursts of 5", noise="bursts of 5", rate=0.005, baseline=False),
)


def _failing(amount: float, per_minute: float, hours: float, requests: float | None, seconds: float | None) -> Scenario:
    traffic = {10.0: "10/min", 1200.0: "20/s", 600_000.0: "10,000/s"}[per_minute]
    return Scenario(
        name=f"one fails {amount:.0%}, {traffic}",
        event="one fails",
        amount=amount,
        length=10,
        hours=hours,
        per_minute=per_minute,
        bar_requests=requests,
        bar_seconds=seconds,
    )


FAULTY = (
    _failing(0.01, 10, 14, 1500, None),
    _failing(0.02, 10, 6, None, None),
    _failing(0.05, 10, 3, 145, None),
    _failing(0.2, 10, 1, None, None),
    _failing(0.5, 10, 0.5, 8, None),
    _failing(1.0, 10, 0.5, 6, 40),
    _failing(0.01, 1200, 0.2, None, 100),
    _failing(0.05, 1200, 0.05, None, 20),
    _failing(0.5, 1200, 0.05, None, 10),
    *(_failing(amount, 600_000, 0.02, None, 10) for amount in (0.01, 0.05, 0.5, 1.0)),
    Scenario(name="all fail 5%", event="all fail", amount=0.05, length=10, hours=0.5),
    Scenario(name="all fail 50%", event="all fail", amount=0.5, length=10, hours=0.2),
    Scenario(name="one fails 100% after 4 h", event="one fails late", amount=1.0, length=10, hours=4.5),
    Scenario(name="one storms on the new key", event="one storms", amount=1.0, length=10, hours=1),
    Scenario(
        name="one fails 100% beside 1 to 15 laggards",
        event="one fails beside laggards",
        amount=1.0,
        length=10,
        hours=0.5,
        bar_requests=6,
    ),
    Scenario(
        name="one fails 100%, no baseline",
        event="one fails",
        amount=1.0,
        length=10,
        hours=0.5,
        baseline=False,
        bar_requests=12,
    ),
)
