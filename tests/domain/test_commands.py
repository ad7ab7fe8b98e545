"""What an operator may ask, and what is refused with the reason and the mend."""

from __future__ import annotations

import pytest
from tests.domain.scenes import ended, rotation, step, until, world_in

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason


def test_rollback_is_refused_from_destroy_on() -> None:
    """Once the old version is being destroyed nothing is left to roll back to."""
    with pytest.raises(Refused, match="cannot come back"):
        commands.roll_back(rotation(world_in(Phase.DESTROY)), by="ada", why="late")


def test_rollback_is_refused_while_rolling_back() -> None:
    """A second rollback is told that the first is under way; a pause does not stop it."""
    world = world_in(Phase.OVERLAP)
    world.command(commands.roll_back, by="ada", why="it fails")
    step(world)
    with pytest.raises(Refused, match="rolling back already"):
        world.command(commands.roll_back, by="ada", why="it fails")
    with pytest.raises(Refused, match="does not stop"):
        world.command(commands.pause, by="ada", why="freeze", now=world.now)


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.RETIRE, Phase.DESTROY])
def test_force_stands_in_for_silence_only(phase: Phase) -> None:
    """Force is refused wherever no silence is awaited: a barrier, a soak and a proof cannot be forced."""
    with pytest.raises(Refused, match="no silence"):
        commands.force(rotation(world_in(phase)), serial=0, by="ada", why="hurry")


def test_force_names_the_version_it_means() -> None:
    """A force for another version than the one to be disabled is refused, naming the right one."""
    with pytest.raises(Refused, match="v0, not v1"):
        commands.force(rotation(world_in(Phase.MONITOR)), serial=1, by="ada", why="hurry")


def test_second_pause_is_refused() -> None:
    """A pause names who has paused."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now)
    with pytest.raises(Refused, match="paused already, by ada"):
        world.command(commands.pause, by="grace", why="freeze", now=world.now)


def test_resume_is_refused_where_nothing_stands() -> None:
    """There is nothing to resume in a rotation that goes on."""
    with pytest.raises(Refused, match="not paused, held or halted"):
        commands.resume(rotation(world_in(Phase.MONITOR)))


def test_resume_does_not_end_a_hold_that_ends_with_its_cause() -> None:
    """A hold that is worked out anew each tick is not an operator's to end."""
    world = world_in(Phase.MONITOR)
    world.rob(world.targets["t0"])
    step(world)
    with pytest.raises(Refused, match="ends with its cause"):
        world.command(commands.resume)


def test_word_on_a_lost_value_does_not_stand_in_for_a_deadlines() -> None:
    """What holds for its deadline goes on when it is resumed, and by no other word."""
    world = world_in(Phase.INTRODUCE)
    world.targets["t0"].away = True
    until(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="known")
    held = rotation(world).hold
    assert held is not None
    assert held.reason is Reason.DEADLINE
    world.targets["t0"].away = False
    world.command(commands.resume)
    until(world, ended(world))


def test_ended_rotation_takes_no_command() -> None:
    """An end is an end."""
    world = world_in(Phase.DESTROY)
    last = until(world, ended(world))[-1].rotation
    with pytest.raises(Refused, match="has ended as completed"):
        commands.roll_back(last, by="ada", why="late")
