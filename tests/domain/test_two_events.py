"""What the explorer found with two adverse events, where one does no harm."""

from __future__ import annotations

from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, until, world_in
from tests.domain.tracing import go, leak, tick

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason


def test_what_somebody_was_let_in_with_is_drained() -> None:
    """A hand gives readers the staged version between two looks, and takes it back: a client has it, and on the way back it
    is not disabled under that client."""
    world = world_in(Phase.INTRODUCE)
    until(world, lambda: all(1 in verifier.table for verifier in world.verifiers.values()))
    client = world.add_client(every=10, refresh=None, holds=1)
    world.advance(seconds(10))
    world.command(commands.roll_back, by="ada", why="not tonight")
    go(world, lambda: rotation(world).phase is Phase.ROLLBACK)
    said = tick(world)
    assert said is not None
    assert (said.verdict.reason, said.effects) == (Reason.DRAINING, ())
    client.refresh, client.next_fetch = seconds(20), world.now
    go(world, ended(world))


def test_a_call_in_vain_keeps_no_other_verifier_from_being_mended() -> None:
    """One verifier has revoked the new version, which nobody can undo; another joins empty, and gets both."""
    world = world_in(Phase.OVERLAP)
    world.revoke(world.verifiers["g1"], 1)
    world.join()
    joined = list(world.verifiers.values())[-1]
    go(world, lambda: {0, 1} <= joined.alive())
    assert {serial: joined.table[serial] for serial in (0, 1)} == {0: Entry.ACTIVE, 1: Entry.ACTIVE}


def test_a_pause_goes_with_a_rotation_that_takes_over() -> None:
    """An operator accepts a hand's value while the rotation is paused: the one that takes over makes nothing before the
    pause ends."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=seconds(500))
    target = world.targets["t0"]
    world.overwrite(target, missing=False)
    tick(world)
    world.command(
        commands.accept, seen=world.observe(), target="t0", found=target.id or "", by="bob", why="it is the vendor's"
    )
    go(world, lambda: rotation(world).supersedes is not None)
    said = tick(world)
    assert said is not None
    assert (said.verdict.reason, said.rotation.pause and said.rotation.pause.by) == (Reason.PAUSED, "ada")
    world.command(commands.resume)
    go(world, ended(world))


def test_nothing_is_revoked_under_readers_between_rotations() -> None:
    """After a rollback a late install brings the given-up version to life, and a hand gives it to readers: that is held for,
    and not taken away from under them."""
    world = world_in(Phase.INTRODUCE)
    until(world, lambda: all(1 in verifier.table for verifier in world.verifiers.values()))
    world.command(commands.roll_back, by="ada", why="it looks wrong")
    go(world, ended(world))
    for verifier in world.verifiers.values():
        verifier.table[1] = Entry.ACTIVE
    target = world.targets["t0"]
    target.id, target.serials["by hand"] = "by hand", 1
    for _ in range(3):
        world.advance(seconds(10))
        world.tick()
    assert all(verifier.table[1] is Entry.ACTIVE for verifier in world.verifiers.values())
    assert world.ended is not None
    assert world.ended.hold is not None
    assert world.ended.hold.reason is Reason.TARGET_FOREIGN


def test_no_room_is_made_of_what_readers_are_being_given_again() -> None:
    """The authority is full, the old version has leaked, and an operator has readers of a target given the one that took
    its place: that is not given up for a third."""
    world = world_in(Phase.OVERLAP, wave_size=1)
    target = world.targets["t0"]
    until(world, lambda: target.serial == 1)
    world.overwrite(target, missing=False)
    tick(world)
    world.room = 2
    accepted = {"target": "t0", "found": target.id or "", "by": "ada"}
    world.command(commands.accept, seen=world.observe(), **accepted, why="it is right")
    leak(world, 0, grace=60)
    go(world, lambda: rotation(world).supersedes is not None)
    world.command(commands.reassert, seen=world.observe(), **accepted, why="it was not")
    for _ in range(3):
        said = tick(world)
        assert said is not None
        assert (EffectKind.DISABLE, 1) not in {(effect.kind, effect.serial) for effect in said.effects}
    assert target.serial == 1


def test_a_version_that_nobody_was_ever_given_is_anothers_hand() -> None:
    """A hand gives one target's readers a value, which is accepted, and then what was minted before and never promoted: that
    is told as a hand's doing, and overwritten at a word."""
    world = world_in(Phase.INTRODUCE)
    until(world, lambda: 1 in world.targets["t0"].copies)
    target = world.targets["t0"]
    world.overwrite(target, missing=False)
    tick(world)
    world.command(
        commands.accept, seen=world.observe(), target="t0", found=target.id or "", by="ada", why="it is the vendor's"
    )
    go(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.OVERLAP)
    target.id, target.serials["by hand"] = "by hand", 1
    for verifier in world.verifiers.values():
        verifier.excused.add(1)
    said = tick(world)
    assert said is not None
    assert said.verdict.reason is Reason.TARGET_FOREIGN
    world.command(commands.reassert, seen=world.observe(), target="t0", found="by hand", by="ada", why="it is dead")
    go(world, ended(world))
    assert target.serial == 2


def test_room_is_made_of_what_is_disabled_first_while_older_rules_go_too() -> None:
    """The authority is full, what readers get has leaked and is cut at once, and held connections meet rules from before it:
    it is disabled, and revoked with a later decision."""
    world = world_in(Phase.INTRODUCE)
    world.room = 1
    for verifier in world.verifiers.values():
        verifier.older = [(world.now + seconds(60), {})]
        verifier.excused.add(0)
    leak(world, 0, cut_now=True)
    said = tick(world)
    assert said is not None
    assert {effect.kind for effect in said.effects} & {EffectKind.DISABLE, EffectKind.REVOKE} == {EffectKind.DISABLE}
    go(world, ended(world))
