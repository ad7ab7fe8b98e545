"""Worlds brought to where an example begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.domain.ground import POLICY
from tests.domain.places import Client, seconds
from tests.domain.promises import passed
from tests.domain.world import World

from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.situation import Situation


def world_in(phase: Phase, kind: type[World] = World, **policy: object) -> World:
    """A calm world with four clients, whose rotation has just come to a phase."""
    world = kind(policy=replace(POLICY, **policy))  # type: ignore[arg-type]
    for index in range(4):
        world.add_client(target=f"t{index % 2}", held=index > 1)
    world.advance(seconds(30))
    world.start()
    until(world, lambda: world.rotation is not None and world.rotation.phase is phase)
    return world


def step(world: World, span: float = 5) -> Decision:
    """Some seconds, and one tick, with every promise held."""
    decision = passed(world, seconds(span))
    assert decision is not None
    return decision


def until(world: World, done: Callable[[], bool], ticks: int = 200) -> list[Decision]:
    """Tick until something is so."""
    decisions: list[Decision] = []
    for _ in range(ticks):
        if done():
            return decisions
        decisions.append(step(world))
    raise AssertionError(f"never: {decisions[-1].verdict}")


def rotation(world: World) -> Rotation:
    """The live one."""
    assert world.rotation is not None
    return world.rotation


def ended(world: World) -> Callable[[], bool]:
    """Whether no rotation lives."""
    return lambda: world.rotation is None


def returning(world: World) -> Client:
    """A client comes back with the old version, after a longer silence than was required of it."""
    return world.add_client(every=70, refresh=None, holds=0)


def situation(world: World) -> Situation:
    """What rows and guards would be given now."""
    return Situation(rotation=rotation(world), seen=world.observe(), now=world.now)
