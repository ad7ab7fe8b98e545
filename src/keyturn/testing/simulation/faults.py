"""What can go wrong, by the names that `--faults` takes, and how each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.testing.simulation.plan import Shape

LATE = ("stage", "stage", "keep", "disable", "disable")
"""What does the most harm when it arrives late."""
ANY = ""
"""Any method."""
STORE = "store"
MAIL = "mail"
CONTROL_PLANE = "control plane"
"""Where the authority lists its verifiers and keys, and makes keys."""
LOSSY = "lossy"
"""A partition of a source after which it never learns what it did not hear."""
JOINING = "gate-9"
"""The verifier that an authority may be given while it runs."""

IN_TABLE = "a key table read"
"""The moment between reading a shared key table and writing it."""
BETWEEN_VERIFIERS = "one verifier changed"
"""The moment within one change between two verifiers."""

WRITES = ("mint", "keep", "stage", "install", "promote", "enable", "disable", "revoke", "remove", "mark")
"""Outside calls that change something."""
LOOKS = ("view", "read", "fetch", "probe", "entries", "poll", "room")
VOUCHED = ("dismiss", "acknowledge", "acknowledge all")
"""Words that an operator gives for clients."""
ASKED = (
    "rollback",
    "rollback",
    "rollback",
    "pause",
    "resume",
    "force",
    "force",
    "force",
    "force",
    "force",
    "force",
    "force",
    "force final",
    "abandon",
    "accept",
    "accept",
    "reassert",
    "accept losses",
    "accept losses",
    *VOUCHED,
    *VOUCHED,
)
"""What operators ask for, at any moment."""
AT_REGIONS = ("overwrites", "makes a key", "makes a key", "deletes", "reverts", "robs", "obstructs")
AT_VERIFIERS = ("loses", "disables", "enables", "enables")
"""What people do by hand, where readers get a secret and in a key table."""
JOURNAL = (
    "commit",
    "record",
    "bind",
    "add_usage",
    "begin",
    "delivered",
    "claim",
    "release",
    "save_detector",
    "set_check",
)
"""Writes to the store between which a crash makes a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """One thing that goes wrong, at `at` seconds, or at the first fitting call after it."""

    at: float
    fault: str
    who: str = ""
    """The replica, client, source or credential that it befalls."""
    where: str = ""
    """The other side: a region, verifier, source, the store; whom an operator vouches for."""
    method: str = ANY
    """The call that it waits for."""
    skip: int = 0
    """So many fitting calls, or newer keys, are let pass first."""
    times: int = 1
    lasting: float = 0.0
    """Seconds."""
    choice: str = ""
    """Which way it goes wrong."""

    def __str__(self) -> str:
        parts = [self.fault, self.choice, self.who, self.where and f"at {self.where}"]
        if self.method:
            parts.append(f"on {self.method}")
        if self.skip:
            parts.append(f"after {self.skip} others")
        if self.times > 1:
            parts.append(f"{self.times} times")
        if self.lasting:
            parts.append(f"for {self.lasting:.0f} s")
        return " ".join(part for part in parts if part)


def draw(rng: random.Random, fault: str, at: float, shape: Shape) -> Disturbance:
    """One disturbance of a kind."""
    return FAULTS[fault](rng, at, shape)


def _replica(rng: random.Random, shape: Shape) -> str:
    return rng.choice(shape.replicas).name


def _crash(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    within = (IN_TABLE, BETWEEN_VERIFIERS)
    method = rng.choice((ANY, rng.choice(WRITES), rng.choice(JOURNAL), rng.choice(JOURNAL), rng.choice(within)))
    return Disturbance(
        at=at,
        fault="crash",
        who=_replica(rng, shape),
        method=method,
        skip=rng.choice((0, 0, 1, 5)) if method not in within else 0,
        lasting=round(rng.uniform(1, 40)),
        choice=rng.choice(("before", "after")) if method not in within else "",
    )


def _pause(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    return Disturbance(
        at=at,
        fault="replica-pause",
        who=_replica(rng, shape),
        method=rng.choice((*WRITES, "commit", "commit", "record", "poll", IN_TABLE, IN_TABLE, IN_TABLE, ANY)),
        skip=rng.choice((0, 0, 0, 2)),
        lasting=round(rng.uniform(5, 120)),
        choice=rng.choice(("before", "after")),
    )


def _call(fault: str, *methods: str, lasting: bool = False) -> Callable[[random.Random, float, Shape], Disturbance]:
    def drawn(rng: random.Random, at: float, shape: Shape) -> Disturbance:
        return Disturbance(
            at=at,
            fault=fault,
            who=_replica(rng, shape),
            method=rng.choice(methods),
            skip=rng.choice((0, 0, 1)),
            times=rng.choice((1, 1, 2, 4)),
            lasting=round(rng.choice((rng.uniform(2, 60), rng.uniform(60, 400)))) if lasting else 0.0,
        )

    return drawn


def _partition(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    regions = [name for name, _ in shape.regions]
    sources = [name for name, _ in shape.sources]
    verifier = rng.choice(shape.verifiers)
    # Who reads at its start alone comes back with what it had, and may find it disabled.
    sleepers = [client for client in shape.clients if client.refresh == float("inf")] or shape.clients
    pairs = [
        (_replica(rng, shape), STORE),
        (_replica(rng, shape), rng.choice(regions)),
        (_replica(rng, shape), rng.choice(shape.verifiers)),
        (_replica(rng, shape), CONTROL_PLANE),
        (_replica(rng, shape), rng.choice(sources)),
        (_replica(rng, shape), MAIL),
        (rng.choice(shape.clients).name, rng.choice(regions)),
        (rng.choice(shape.clients).name, rng.choice(shape.verifiers)),
        (rng.choice(sleepers).name, "all"),
        (rng.choice(sleepers).name, "all"),
        (rng.choice(sleepers).name, "all"),
        (rng.choice(sleepers).name, "all"),
        (rng.choice(sources), "verifiers"),
        (rng.choice(sources), "verifiers"),
        (source_of(shape, verifier), verifier),
        (rng.choice(sources), "late"),
    ]
    who, where = rng.choice(pairs)
    least = 60 if where == "all" else 10
    return Disturbance(
        at=at,
        fault="partition",
        who=who,
        where=where,
        lasting=round(rng.uniform(least, least + 140)),
        choice=rng.choice(("", LOSSY)) if who in sources and where != "late" else "",
    )


def cut_off_newcomer(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    """The verifier that has just joined and somebody cannot reach each other."""
    who = rng.choice((_replica(rng, shape), rng.choice(shape.clients).name, source_of(shape, JOINING)))
    return Disturbance(at=at, fault="partition", who=who, where=JOINING, lasting=round(rng.uniform(10, 150)))


def source_of(shape: Shape, verifier: str) -> str:
    """The source that hears of what is presented at a verifier."""
    sources = [name for name, _ in shape.sources]
    return sources[(*shape.verifiers, JOINING).index(verifier) % len(sources)]


def _clock_skew(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    return Disturbance(
        at=at, fault="clock-skew", who=_replica(rng, shape), choice=rng.choice(("fast", "slow", "right")), times=1
    )


def _full_disk(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    del shape
    return Disturbance(at=at, fault="full-disk", where=STORE, lasting=round(rng.uniform(5, 40)))


def _authority(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    return Disturbance(
        at=at,
        fault="authority-outage",
        where=rng.choice((*shape.verifiers, "all")),
        choice=rng.choice(("away", "away", "ill", "stale", "hangs", "leaves", "joins")),
        lasting=round(rng.uniform(10, 90)),
    )


def _bad_new_key(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    return Disturbance(
        at=at,
        fault="bad-new-key",
        who=rng.choice(shape.credentials).name,
        where=rng.choice((ANY, ANY, rng.choice(shape.verifiers))),
        choice=rng.choice(("for all", "for all", "for one")),
        lasting=round(rng.uniform(60, 300)),
    )


def _hand_edit(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    credential = rng.choice(shape.credentials)
    choice = rng.choice((*AT_REGIONS, *AT_VERIFIERS))
    if choice not in AT_VERIFIERS:
        return Disturbance(
            at=at, fault="hand-edit", who=credential.name, where=rng.choice(credential.targets), choice=choice
        )
    # The newest is enabled as it is, mostly.
    skip = rng.choice((1, 1, 2, 3)) if choice == "enables" else rng.choice((0, 0, 1, 2))
    where = rng.choice(shape.verifiers)
    return Disturbance(at=at, fault="hand-edit", who=credential.name, where=where, skip=skip, choice=choice)


def _operator(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    credential, choice = rng.choice(shape.credentials).name, rng.choice(ASKED)
    client = rng.choice([one.name for one in shape.clients if one.credential == credential])
    where = client if choice in ("dismiss", "acknowledge") else ""
    return Disturbance(at=at, fault="operator", who=credential, where=where, choice=choice)


def _compromise(rng: random.Random, at: float, shape: Shape) -> Disturbance:
    return Disturbance(
        at=at,
        fault="compromise",
        who=rng.choice(shape.credentials).name,
        where=rng.choice(("old", "old", "new", "both", "both")),
        choice=rng.choice(("with grace", "with grace", "without grace", "cut now")),
    )


FAULTS: Mapping[str, Callable[[random.Random, float, Shape], Disturbance]] = {
    "crash": _crash,
    "lost-response": _call("lost-response", *WRITES, ANY),
    "lost-request": _call("lost-request", *WRITES, *LOOKS, ANY),
    "duplicate-delivery": _call("duplicate-delivery", *WRITES, *LATE, lasting=True),
    "throttling": _call("throttling", *WRITES, *LOOKS, ANY),
    "denial": _call("denial", *WRITES, *WRITES, *LOOKS),
    "stale-read": _call("stale-read", "view", "read", "fetch"),
    "partition": _partition,
    "replica-pause": _pause,
    "clock-skew": _clock_skew,
    "full-disk": _full_disk,
    "authority-outage": _authority,
    "bad-new-key": _bad_new_key,
    "hand-edit": _hand_edit,
    "lost-ack": _call("lost-ack", "deliver"),
    "operator": _operator,
    "compromise": _compromise,
}
"""Each kind of fault, and how one is drawn."""
