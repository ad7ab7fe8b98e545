"""What a trace is made of: reports, ticks with every promise held, and how a world should be left."""

from __future__ import annotations

from collections.abc import Callable

from tests.domain.places import seconds
from tests.domain.promises import passed
from tests.domain.scenes import rotation
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.machine import Decision
from keyturn.domain.observations import Entry


def leak(world: World, serial: int, *, grace: float = 20, cut_now: bool = False) -> None:
    """Somebody reports a version compromised."""
    arguments = {"grace": seconds(grace), "cut_now": cut_now, "now": world.now}
    world.command(commands.emergency, serial=serial, by="ada", why="leaked", **arguments)


def tick(world: World, span: float = 5) -> Decision | None:
    """Some seconds, and one tick, also after the end, with every promise held."""
    return passed(world, seconds(span))


def go(world: World, done: Callable[[], bool], ticks: int = 300) -> list[Decision]:
    """Tick until something is so."""
    said: list[Decision] = []
    for _ in range(ticks):
        if done():
            return said
        decision = tick(world)
        if decision is not None:
            said.append(decision)
    raise AssertionError(f"never: {rotation(world).phase} {said[-1].verdict}")


def alive(world: World) -> set[int]:
    """Versions that some verifier accepts."""
    return {s for v in world.verifiers.values() for s, entry in v.table.items() if entry is Entry.ACTIVE}


def clean(world: World, survivor: int) -> None:
    """One version is accepted and served everywhere, and no copy of any is left."""
    assert alive(world) == {survivor}, f"accepted: {alive(world)}"
    for target in world.targets.values():
        assert target.serial == survivor, f"served: v{target.serial}"
        assert not target.copies, f"kept: {target.copies}"


def refused(world: World, serial: int) -> bool:
    """Whether every verifier refuses a version."""
    return not any(verifier.ever_accepts(serial, world.now) for verifier in world.verifiers.values())
