"""The order of the chain: what undoes comes before what waits, and what pages before what stands in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.domain.findings import authority_ill
from tests.domain.scenes import returning, rotation, step, until, world_in
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.model import Hold
from keyturn.domain.observations import Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling


def test_an_operators_rollback_does_not_wait_for_an_authority_that_is_ill() -> None:
    """A hold stops no rollback."""
    world = world_in(Phase.MONITOR)
    world.finding = authority_ill()
    assert step(world).verdict.reason is Reason.AUTHORITY_ILL
    world.command(commands.roll_back, by="ada", why="it fails")
    verdict = step(world).verdict
    assert (verdict.ruling, verdict.reason) == (Ruling.ROLL_BACK, Reason.OPERATOR_ROLLBACK)


def test_a_real_holder_does_not_wait_for_an_authority_that_is_ill() -> None:
    """A hold stops no retreat: whoever was refused with the old version has it back at once."""
    world = world_in(Phase.RETIRE)
    world.finding = authority_ill()
    returning(world)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    assert rotation(world).cause is Reason.REFUSED_USE


def test_a_real_holder_does_not_wait_for_a_halt_to_end() -> None:
    """Too many new versions have failed, and it halts in RETIRE: a refused use of a version that is kept retreats."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    halt = Hold(reason=Reason.TOO_MANY_REMINTS, since=world.now, latched=True)
    world.rotation = replace(rotation(world), halted=halt)
    returning(world)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    assert rotation(world).halted is None


def test_a_pause_does_not_silence_a_doubt() -> None:
    """That old and new fail alike goes on paging while the rotation is paused."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="a look", now=world.now)
    world.finding = authority_ill()
    assert step(world).verdict.reason is Reason.AUTHORITY_ILL
    before = len(world.messages)
    step(world, 90)
    assert len(world.messages) > before


def test_a_pause_does_not_silence_what_an_operator_must_end() -> None:
    """A value set by hand goes on paging while the rotation is paused."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=False)
    step(world)
    world.command(commands.pause, by="ada", why="a look", now=world.now)
    before = len(world.messages)
    assert step(world, 90).verdict.reason is Reason.TARGET_FOREIGN
    assert len(world.messages) > before


def test_passing_hold_does_not_end_one_that_an_operator_must_end() -> None:
    """While the authority is ill a hold for a value set by hand stays, and stands when the authority is well."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=False)
    step(world)
    world.put_back()
    for finding in (authority_ill(), None):
        world.finding = finding
        held = step(world).verdict
        assert (held.reason, held.latch) == (Reason.TARGET_FOREIGN, True)


def a_hand_gives_another_value(world: World) -> None:
    world.overwrite(world.targets["t0"], missing=False)


def a_hand_takes_our_copies(world: World) -> None:
    world.rob(world.targets["t0"])
    world.rob(world.targets["t1"])


def a_hand_changes_a_table(world: World) -> None:
    world.lose(world.verifiers["g1"], 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (a_hand_gives_another_value, Reason.TARGET_FOREIGN),
        (a_hand_takes_our_copies, Reason.ROLLBACK_VALUE_LOST),
        (a_hand_changes_a_table, Reason.AUTHORITY_CHANGED),
    ],
)
def test_a_pause_does_not_silence_a_hand(change: Callable[[World], None], reason: Reason) -> None:
    """What another does while the rotation is paused pages at once, and not when the pause has expired."""
    world = world_in(Phase.MONITOR)
    until(world, lambda: len(rotation(world).up) == 2)
    world.command(commands.pause, by="ada", why="a look", now=world.now)
    step(world)
    change(world)
    held = step(world)
    assert held.verdict.reason is reason
    assert "rotation.held" in {message.topic for message in held.messages}


def test_an_obstacle_does_not_hide_a_hand() -> None:
    """Readers got another's value while something stood in the way: both are over, and it is still to be answered."""
    world = world_in(Phase.INTRODUCE)
    world.overwrite(world.targets["t0"], missing=False)
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    step(world)
    world.put_back()
    world.obstacle = None
    assert step(world).verdict.reason is Reason.TARGET_FOREIGN


def test_an_answer_to_a_hand_does_not_forgive_the_retreats() -> None:
    """Too many retreats are told before what a hand did, for a resume ends the one and counts the other anew."""
    world = world_in(Phase.RETIRE, maximum_retreats=0)
    returning(world)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=False)
    assert step(world).verdict.reason is Reason.TOO_MANY_RETREATS
    world.command(commands.resume)
    assert step(world).verdict.reason is Reason.TARGET_FOREIGN
