"""What one run is made of: a world, and what disturbs it. Drawn from the seed alone, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, OnDeadline, Policy
from keyturn.testing.simulation.faults import Disturbance, cut_off_newcomer, draw

WARM_UP = 60.0
"""Seconds of ordinary use before the first rotation: the sources have a history to tell of."""
CHAOS = 600.0
"""For so long after the warm-up things go wrong; then all is healed and every rotation has to end."""
TICK = 15.0
"""Seconds between two ticks of one replica or another."""
MOST_KINDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientShape:
    """Whoever presents a credential, and how it gets it. All times in seconds."""

    name: str
    credential: str
    target: str
    every: float
    """Between two presentations."""
    refresh: float
    """Between two fetches; infinite for one that reads at its start alone."""
    pool: float
    """How long it uses a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialShape:
    """One credential, and where readers get it."""

    name: str
    targets: tuple[str, ...]
    policy: Policy
    scheduled: bool
    """Whether its schedule starts its rotations, or commands do."""
    start: float
    """When the first of them starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaShape:
    """One daemon: how often it ticks, and how wrong its clock is."""

    name: str
    interval: float
    phase: float
    skew: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The world of a run."""

    credentials: tuple[CredentialShape, ...]
    regions: tuple[tuple[str, bool], ...]
    """Backends by name, and whether each keeps labels rather than numbered versions."""
    verifiers: tuple[str, ...]
    lag: float
    held_lag: float
    made_by_authority: bool
    """Whether the authority makes the values, or keyturn does."""
    sources: tuple[tuple[str, float], ...]
    """Usage sources with their lag; the verifiers are dealt out among them."""
    clients: tuple[ClientShape, ...]
    replicas: tuple[ReplicaShape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run, before it runs."""

    seed: int
    run: int
    shape: Shape
    disturbances: tuple[Disturbance, ...]

    def without(self, dropped: Collection[int]) -> Plan:
        """The same run with fewer disturbances, by position."""
        kept = tuple(one for number, one in enumerate(self.disturbances) if number not in dropped)
        return replace(self, disturbances=kept)


def plan(seed: int, run: int, faults: Sequence[str]) -> Plan:
    """Run `run` of a seed, with disturbances of these kinds."""
    # Seeding by text does not depend on PYTHONHASHSEED, unlike seeding by a tuple.
    rng = random.Random(f"{seed}/{run}")
    shape = _shape(rng)
    disturbances: list[Disturbance] = []
    if faults:
        # A few kinds a run: under all of them at once nothing would ever get far (swarm testing, Groce et al. 2012).
        kinds = rng.sample(list(faults), rng.randint(1, min(MOST_KINDS, len(faults))))
        for _ in range(rng.randint(8, 18) * len(shape.credentials)):
            at = WARM_UP + round(rng.uniform(-5.0, CHAOS), 1)
            disturbances.append(draw(rng, rng.choice(kinds), at, shape))
        disturbances += _meanwhile(rng, kinds, disturbances, shape)
    return Plan(seed=seed, run=run, shape=shape, disturbances=tuple(sorted(disturbances, key=lambda one: one.at)))


def _meanwhile(
    rng: random.Random, kinds: Sequence[str], disturbances: Sequence[Disturbance], shape: Shape
) -> list[Disturbance]:
    """While a replica is asleep somebody does something, and a verifier that joins is cut off: that is when it matters
    most."""
    moving = [kind for kind in kinds if kind in ("operator", "compromise", "hand-edit")]
    pauses = [one for one in disturbances if one.fault == "replica-pause"]
    newcomers = [one for one in disturbances if one.choice == "joins" and "partition" in kinds]
    return [
        draw(rng, rng.choice(moving), round(one.at + rng.uniform(0, 15 * len(shape.replicas) + one.lasting), 1), shape)
        for one in pauses
        if moving and rng.random() < 0.9
    ] + [cut_off_newcomer(rng, round(one.at + rng.uniform(0, 5), 1), shape) for one in newcomers]


def _shape(rng: random.Random) -> Shape:
    regions = tuple((name, rng.random() < 0.5) for name in ("north", "south", "east")[: rng.choice((1, 2, 2, 3))])
    places = tuple(name for name, _ in regions)
    verifiers = ("gate-1", "gate-2", "gate-3")[: rng.choice((2, 2, 3))]
    sources = tuple((name, rng.choice((0.0, 3.0, 12.0))) for name in ("log", "audit")[: rng.choice((1, 2))])
    credentials = tuple(_credential(rng, name, places) for name in ("web", "batch")[: rng.choice((1, 2))])
    clients = [_client(rng, one, number) for one in credentials for number in range(rng.choice((1, 2, 2, 3)))]
    replicas = rng.choice((1, 2, 2, 3))
    return Shape(
        credentials=credentials,
        regions=regions,
        verifiers=verifiers,
        lag=rng.choice((0.0, 2.0)),
        made_by_authority=rng.random() < 0.3,
        held_lag=rng.choice((0.0, 6.0, 20.0)),
        sources=sources,
        clients=tuple(clients),
        replicas=tuple(
            ReplicaShape(
                name="abc"[number],
                interval=TICK * replicas,
                phase=TICK * number + round(rng.uniform(0, 5), 1),
                skew=round(rng.uniform(-MOST_SKEW / 2, MOST_SKEW / 2), 2),
            )
            for number in range(replicas)
        ),
    )


MOST_SKEW = 2.0
"""Seconds: the farthest a replica's clock is from the truth."""


def _credential(rng: random.Random, name: str, places: tuple[str, ...]) -> CredentialShape:
    return CredentialShape(
        name=name,
        targets=tuple(rng.sample(places, rng.randint(1, len(places)))),
        policy=_policy(rng),
        scheduled=rng.random() < 0.5,
        # Not all at once, so that it is not always one replica that claims all of them.
        start=WARM_UP + round(rng.uniform(0, 3 * TICK), 1),
    )


def _policy(rng: random.Random) -> Policy:
    overdue = rng.choice((OnDeadline.HOLD, OnDeadline.HOLD, OnDeadline.EXTEND, OnDeadline.FORCE))
    silent = Deadline(after=seconds(400), policy=overdue, owner="ada" if overdue is OnDeadline.FORCE else None)
    return Policy(
        propagation=seconds(1),
        client_refresh=seconds(15),
        pool_lifetime=seconds(12),
        minimum_overlap=seconds(30),
        bake=seconds(10),
        wave_size=rng.choice((1, 1, 2)),
        soak=seconds(60),
        drain=seconds(30),
        silence_floor=seconds(45),
        silence_few=seconds(45),
        silence_unseen=seconds(60),
        maximum_retreats=2,
        retry_after=seconds(60),
        grace=seconds(20),
        grace_cap=seconds(60),
        maximum_remints=2,
        drift_every=seconds(60),
        page_every=seconds(120),
        deadlines={
            Phase.INTRODUCE: Deadline(after=seconds(300)),
            Phase.OVERLAP: Deadline(after=seconds(400)),
            Phase.MONITOR: silent,
            Phase.RETIRE: Deadline(after=seconds(400)),
            Phase.DESTROY: Deadline(after=seconds(300)),
            Phase.ROLLBACK: silent,
        },
    )


def _client(rng: random.Random, credential: CredentialShape, number: int) -> ClientShape:
    kind = rng.choice(("steady", "steady", "cached", "at boot", "at boot", "rare"))
    every = {"rare": 55.0}.get(kind, rng.choice((10.0, 15.0, 20.0)))
    refresh = {"steady": 5.0, "at boot": float("inf")}.get(kind, 15.0)
    return ClientShape(
        name=f"{credential.name}-{number}",
        credential=credential.name,
        target=rng.choice(credential.targets),
        every=every,
        refresh=refresh,
        pool=rng.choice((0.0, 12.0)),
    )


def seconds(number: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=number)
