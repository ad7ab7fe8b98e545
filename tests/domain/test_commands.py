"""What an operator may ask, and what is refused with the reason and the mend."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.domain.findings import failing
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, step, until, world_in
from tests.domain.tracing import leak
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation
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


# Emergencies


def test_a_version_that_is_not_made_yet_cannot_leak() -> None:
    """Nobody can have what does not exist; the versions that may be named are named."""
    world = world_in(Phase.INTRODUCE)
    with pytest.raises(Refused, match="not made yet"):
        world.command(commands.emergency, serial=1, by="ada", why="leaked", now=world.now)
    with pytest.raises(Refused, match="concerns v0, v1, not v7"):
        world.command(commands.emergency, serial=7, by="ada", why="leaked", now=world.now)


def test_a_grace_beyond_its_cap_is_refused() -> None:
    """A grace lies between nothing and the policy's cap."""
    world = world_in(Phase.MONITOR)
    beyond = world.policy.grace_cap + seconds(1)
    with pytest.raises(Refused, match="is not between 0 and"):
        world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now, grace=beyond)


# Hands


def answer(world: World, change: Callable[..., Rotation], target: str, found: str) -> None:
    """What an operator says about a target whose readers are believed to get `found`."""
    world.command(change, seen=world.observe(), target=target, found=found, by="ada", why="looked")


def test_an_answer_about_what_is_not_there_is_refused() -> None:
    """Nothing is overwritten or adopted on an outdated belief, at a place that is not the rotation's or cannot be read."""
    world = world_in(Phase.MONITOR)
    with pytest.raises(Refused, match="has no target 't9'; it has t0, t1"):
        answer(world, commands.reassert, "t9", "hand")
    with pytest.raises(Refused, match="get t0-1 now, not hand"):
        answer(world, commands.reassert, "t0", "hand")
    world.targets["t0"].away = True
    with pytest.raises(Refused, match="cannot be read now"):
        answer(world, commands.reassert, "t0", "hand")


def test_what_is_as_it_should_be_is_neither_overwritten_nor_adopted() -> None:
    """A target that serves the version that the phase calls for asks for no answer."""
    world = world_in(Phase.MONITOR)
    found = world.targets["t0"].id or ""
    with pytest.raises(Refused, match="nothing to reassert"):
        answer(world, commands.reassert, "t0", found)
    with pytest.raises(Refused, match="serves v1, which cannot be adopted"):
        answer(world, commands.accept, "t0", found)
    world.overwrite(world.targets["t0"], missing=True)
    with pytest.raises(Refused, match="serves nothing, which cannot be adopted"):
        answer(world, commands.accept, "t0", "")


def test_what_is_compromised_is_not_reasserted() -> None:
    """Where the version that the phase calls for is compromised, a hand's value is not overwritten with it (promise P8)."""
    world = world_in(Phase.INTRODUCE)
    world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now)
    world.overwrite(world.targets["t0"], missing=False)
    with pytest.raises(Refused, match="never given to readers again"):
        answer(world, commands.reassert, "t0", world.targets["t0"].id or "")


def test_a_value_that_can_be_read_is_not_lost() -> None:
    """A loss is accepted of a version that the rotation leaves behind, and only when it is one."""
    world = world_in(Phase.MONITOR)
    for serial, said in ((0, "nothing is lost"), (1, "leaves behind")):
        with pytest.raises(Refused, match=said):
            world.command(commands.accept_lost, seen=world.observe(), serial=serial, by="ada", why="known")


def test_a_rotation_that_goes_on_is_not_abandoned() -> None:
    """Before DESTROY the way out is the rollback, which is named."""
    with pytest.raises(Refused, match="use `keyturn rollback api`"):
        world_in(Phase.MONITOR).command(commands.abandon, by="ada", why="enough")


def test_a_rotation_without_a_way_back_is_abandoned_for_another_new_version() -> None:
    """The old version has leaked, and doubts about the new one do not end: nothing leads back, and a word leads on."""
    world = world_in(Phase.RETIRE)
    leak(world, 0)
    world.finding = failing(control=False, clients=list(world.clients))
    until(world, lambda: rotation(world).hold is not None and rotation(world).hold.reason is Reason.FAILURES_SPREAD)  # type: ignore[union-attr]
    with pytest.raises(Refused, match="`keyturn abandon api` for another new version"):
        world.command(commands.roll_back, by="ada", why="it fails")
    world.command(commands.abandon, by="ada", why="it fails")
    until(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    until(world, ended(world))
    assert world.current.serial == 2
