"""One run from its plan to its end, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from keyturn.domain.phases import Phase
from keyturn.testing.simulation.clients import Attacker
from keyturn.testing.simulation.director import Director
from keyturn.testing.simulation.duty import OnDuty
from keyturn.testing.simulation.people import People
from keyturn.testing.simulation.plan import CHAOS, WARM_UP, Plan
from keyturn.testing.simulation.promises import STANDS, Violation
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.sight import in_sight
from keyturn.testing.simulation.standing import Standing
from keyturn.testing.simulation.world import OpenStore, World

BOUND = 14000.0
"""Seconds after everything was healed in which every rotation has to end."""
REST = 160.0
"""Seconds for which it is watched that everything stays as the last end left it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    violation: Violation | None
    rotations: int
    steps: int
    faults: Counter[str]
    journal_writes: int
    edges: Counter[tuple[Phase, Phase]]
    lines: tuple[str, ...]


def simulate(plan: Plan, *, told: bool = False, opened: OpenStore | None = None) -> Outcome:
    """Run a plan to its end, or to the first promise that is broken."""
    world = World(plan, told=told, opened=opened)
    people = People(world)
    standing = Standing(world)
    director = Director(world, people)
    Attacker(world)
    for replica in world.replicas:
        world.timeline.at(replica.phase, partial(_tick, world, standing, replica))
    for shape in plan.shape.credentials:
        if not shape.scheduled:
            world.timeline.at(shape.start, partial(people.start, shape.name))
    world.timeline.run_until(WARM_UP + CHAOS)
    director.heal()
    OnDuty(world, people).look()
    _end(world)
    if not world.timeline.ended:
        world.promises.check(chain(_left(world, standing), in_sight(world)))
    return Outcome(
        plan=plan,
        violation=world.promises.violations[0] if world.promises.violations else None,
        rotations=sum(world.ends.values()),
        steps=world.timeline.steps,
        faults=world.faults,
        journal_writes=world.journal_writes,
        edges=world.edges,
        lines=tuple(world.timeline.lines),
    )


def _tick(world: World, standing: Standing, replica: Replica) -> None:
    world.timeline.at(world.timeline.now + replica.interval, partial(_tick, world, standing, replica))
    before, worked = world.hits, replica.up
    replica.tick()
    able = replica.up and world.timeline.now >= world.held_until
    standing.step(calm=worked and able and world.hits == before)


def _end(world: World) -> None:
    """Let time pass until every rotation has ended and has stayed at its end for a while."""
    timeline = world.timeline
    rested, bound = timeline.now, timeline.now + BOUND
    while not timeline.ended:
        timeline.run_until(timeline.now + 20.0)
        live = any(world.store.live_of(one.name) is not None for one in world.shape.credentials)
        if live or timeline.now - world.landed_late < STANDS:
            rested = timeline.now
        elif timeline.now - rested >= REST:
            return
        if timeline.now > bound:
            world.promises.check(_stuck(world))


def _stuck(world: World) -> Iterator[tuple[str, str]]:
    for shape in world.shape.credentials:
        rotation = world.store.live_of(shape.name)
        if rotation is not None:
            standing = rotation.halted or rotation.hold
            why = f": {standing.reason} {standing.detail}" if standing is not None else ""
            yield "P10", f"{shape.name} stays in {rotation.phase} for ever{why}"
    yield "P10", "rotations follow each other for ever"


def _left(world: World, standing: Standing) -> Iterator[tuple[str, str]]:
    """Everything is healed, at rest, and was so for a while: nothing at all may be wrong now."""
    for shape in world.shape.credentials:
        known = world.store.credential(shape.name)
        rotation = world.store.latest_of(shape.name)
        if known is None or rotation is None:
            yield "P10", f"no rotation of {shape.name} was ever begun"
            continue
        current = world.key_of(shape.name, rotation.survivor)
        for name, region in world.regions[shape.name].items():
            if current is None or region.value != current.value:
                yield "P1", f"{name} gives {world.named(region.value)} to readers at rest, not {current}"
    yield from standing.left()
    for asked in world.promises.asked_back:
        rotation = world.store.rotation(asked)
        if rotation is not None and rotation.phase is Phase.COMPLETED and not rotation.marks:
            yield "P3", f"a rotation of {rotation.credential} was to be rolled back, and has completed"
    for key in world.keys.values():
        for name, region in world.regions[key.credential].items():
            if key.reported is not None and key.serial is not None and key.id not in region.place.marked:
                yield "P8", f"it is not written at {name} that {key} is compromised"
    arrived = {message.message_id for message in world.mail.delivered}
    for message, (topic, promised) in world.promises.messages.items():
        if message not in arrived and promised < world.timeline.now - REST / 2:
            yield "P10", f"a {topic} message was promised and never arrived"
    for key, at, source in world.promises.alarms:
        alarm = f"tripwire/{key.credential}/v{key.serial}/thief/"
        unknown = at >= world.timeline.now - REST or world.promises.lost.hold(source, at)
        if not unknown and not any(one.startswith(alarm) for one in arrived):
            yield "P11", f"{key} was presented after it was destroyed, and nobody was told"
