"""What is asked before anything goes on, and what is no answer: verifiers that join or rise again, listings that cannot be
had, and values that are out of sight."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.domain.findings import failing
from tests.domain.places import Verifier, seconds
from tests.domain.scenes import ended, rotation, world_in
from tests.domain.tracing import alive, clean, go, leak, tick
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason

# Verifiers that join


def joined(world: World) -> Verifier:
    """A verifier joins."""
    world.join()
    return list(world.verifiers.values())[-1]


def about_to_promote(world: World) -> Callable[[], bool]:
    """Whether the next tick promotes."""

    def promotes() -> bool:
        other = world.fork()
        decision = tick(other)
        return decision is not None and EffectKind.PROMOTE in {effect.kind for effect in decision.effects}

    return promotes


def test_a_verifier_that_joins_blocks_the_next_wave_until_it_accepts() -> None:
    """The first wave has baked when a verifier joins that knows the old version only: it gets the new one before readers
    of the next target do."""
    world = world_in(Phase.OVERLAP)
    go(world, about_to_promote(world))
    joined(world).table[0] = Entry.ACTIVE
    go(world, ended(world))
    clean(world, 1)


def test_a_verifier_that_joins_blocks_the_next_wave_until_it_accepts_the_old_version_too() -> None:
    """It knows the new version only: the next target's readers stay where they are until they could come back there."""
    world = world_in(Phase.OVERLAP)
    go(world, about_to_promote(world))
    new_one = joined(world)
    new_one.table[1] = Entry.ACTIVE
    said = tick(world)
    assert said is not None
    assert [(effect.kind, effect.serial) for effect in said.effects] == [(EffectKind.ENABLE, 0)]
    assert new_one.table[0] is Entry.ACTIVE
    go(world, ended(world))
    clean(world, 1)


@pytest.mark.parametrize(("phase", "undone"), [(Phase.RETIRE, Entry.ACTIVE), (Phase.DESTROY, Entry.DISABLED)])
def test_nothing_is_taken_away_before_a_verifier_that_joins_accepts_what_is_left(phase: Phase, undone: Entry) -> None:
    """The phase's first call came to nothing, and a verifier joins: it gets the new version before the old one goes."""
    world = world_in(phase)
    for verifier in world.verifiers.values():
        verifier.table[0] = undone
        verifier.excused.add(0)
    joined(world)
    go(world, ended(world))
    clean(world, 1)


def test_a_verifier_that_cannot_be_given_the_new_version_is_a_persons_matter() -> None:
    """One that joins in MONITOR refuses what readers have, and the authority lets nobody install it: it holds and pages
    there, however long the old version is still in use."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.INSTALL)
    joined(world)
    held = go(world, lambda: rotation(world).hold is not None, ticks=6)[-1]
    assert (held.rotation.phase, held.verdict.reason) == (Phase.MONITOR, Reason.QUARANTINED)
    world.denied.clear()
    world.command(commands.resume)
    go(world, ended(world))
    clean(world, 1)


# What earlier rotations destroyed


def risen(world: World) -> Verifier:
    """A verifier comes back with a table in which is alive what an earlier rotation destroyed."""
    verifier = world.verifiers["g0"]
    world.set_away(verifier, True)
    tick(world)
    world.rebuild(verifier, older=True)
    assert verifier.table[0] is Entry.ACTIVE
    return verifier


def second_rotation(phase: Phase) -> World:
    """The rotation after the one that destroyed v0 has come to a phase."""
    world = world_in(Phase.DESTROY)
    go(world, ended(world))
    world.start()
    go(world, lambda: rotation(world).phase is phase)
    return world


def test_what_was_destroyed_long_ago_is_buried_again_whatever_stands() -> None:
    """A pause does not keep a verifier that is back with an older table from being told that v0 is dead."""
    world = second_rotation(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now)
    verifier = risen(world)
    tick(world)
    assert verifier.table[0] is Entry.REVOKED
    world.command(commands.resume)
    go(world, ended(world))
    clean(world, 2)


@pytest.mark.parametrize("back", [False, True])
def test_what_was_destroyed_long_ago_stays_dead_between_rotations(back: bool) -> None:
    """After either end a verifier that is back with an older table is told that v0 is dead."""
    world = second_rotation(Phase.MONITOR)
    if back:
        world.command(commands.roll_back, by="ada", why="it fails")
    go(world, ended(world))
    risen(world)
    tick(world)
    clean(world, 1 if back else 2)


def test_what_was_destroyed_long_ago_is_not_revoked_under_readers() -> None:
    """Somebody made v0 anew by hand and gives it to the readers of a target: that holds, and v0 goes when they get what
    they should again."""
    world = second_rotation(Phase.MONITOR)
    world.targets["t0"].id, world.targets["t0"].serials["hand"] = "hand", 0
    for verifier in world.verifiers.values():
        verifier.table[0] = Entry.ACTIVE
        verifier.risen.add(0)
    for _ in range(3):
        held = tick(world)
        assert held is not None
        assert held.verdict.reason is Reason.TARGET_FOREIGN
    assert 0 in alive(world)
    told = {"target": "t0", "found": "hand", "by": "ada", "why": "put it right"}
    world.command(commands.reassert, seen=world.observe(), **told)
    world.forced.add(0)  # whoever has fetched it meanwhile is refused, by that word
    go(world, ended(world))
    clean(world, 2)


# What the authority does not tell


def test_a_verifier_whose_listing_cannot_be_had_is_not_taken_for_one_that_agrees() -> None:
    """The old value is lost, as somebody has signed, so the listing speaks for it; where that cannot be had the old version
    is neither accepted nor refused, and nothing goes on."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    tick(world)
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it was nowhere")
    world.verifiers["g1"].unlisted = True
    for _ in range(40):
        waiting = tick(world)
        assert waiting is not None
        assert (waiting.rotation.phase, waiting.verdict.reason) == (Phase.MONITOR, Reason.VERIFIER_UNREACHABLE)
    world.verifiers["g1"].unlisted = False
    go(world, ended(world))
    clean(world, 1)


def test_a_soak_does_not_begin_on_a_listing_that_cannot_be_had() -> None:
    """A verifier accepts the old version again, its value cannot be tried, and nobody can list it: it is not known to be
    refused, and nothing is destroyed."""
    world = world_in(Phase.RETIRE)
    world.verifiers["g1"].table[0] = Entry.ACTIVE
    world.verifiers["g1"].unlisted = True
    world.verifiers["g1"].excused.add(0)
    world.lose_value(0)
    tick(world)
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it was nowhere")
    for _ in range(40):
        tick(world)
    assert rotation(world).phase is Phase.RETIRE
    assert rotation(world).soak is None
    world.verifiers["g1"].unlisted = False
    go(world, ended(world))
    clean(world, 1)


def test_a_listing_is_no_answer_for_a_value_that_is_out_of_sight() -> None:
    """A rollback is forced on while no target can be read. The listing has the old version as active, but held connections
    may meet older rules: what nobody could try is not accepted, and the new one stays until somebody could."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: 1 in alive(world))
    world.command(commands.roll_back, by="ada", why="no")
    world.verifiers["g0"].older = [(world.now + seconds(120), {})]
    world.verifiers["g0"].excused.add(0)
    for target in world.targets.values():
        target.away = True
    tick(world)
    world.command(commands.force, serial=1, by="ada", why="hurry")
    for _ in range(3):
        tick(world)
    assert 1 in alive(world)
    for target in world.targets.values():
        target.away = False
    go(world, ended(world))
    clean(world, 0)


@pytest.mark.parametrize("phase", [Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE])
def test_a_new_value_that_is_out_of_sight_is_not_lost(phase: Phase) -> None:
    """While no target can be read the new version is neither given up nor taken away from anybody."""
    world = world_in(phase)
    for target in world.targets.values():
        target.away = True
    for _ in range(3):
        tick(world)
    assert rotation(world).phase is phase
    for target in world.targets.values():
        target.away = False
    go(world, ended(world))
    clean(world, 1)


def test_a_way_back_that_is_out_of_sight_is_not_lost_to_the_rotation_that_takes_over() -> None:
    """No target can be read when another's value is adopted: what readers got last is what the next rotation restores."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    for target in world.targets.values():
        target.away = True
    taken = tick(world)
    assert taken is not None
    assert taken.successor is not None
    assert taken.successor.outgoing == (1, 0)
    for target in world.targets.values():
        target.away = False
    go(world, ended(world))
    clean(world, 2)


def test_a_version_in_use_is_kept_until_its_death_is_tried() -> None:
    """t0 served v1 and t1 v0 when another's value was adopted, and somebody took every copy: of v0, which t1 serves still,
    one is kept, so that it can be tried once readers of t1 get the next."""
    world = world_in(Phase.OVERLAP)
    go(world, lambda: world.targets["t0"].serial == 1)
    world.overwrite(world.targets["t0"], missing=False)
    found = world.targets["t0"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t0", found=found, by="ada", why="it is right")
    go(world, lambda: rotation(world).outgoing == (1, 0))
    for target in world.targets.values():
        world.rob(target)
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept_lost, seen=world.observe(), serial=1, by="ada", why="it was nowhere")
    go(world, ended(world))
    assert 0 in world.proved
    clean(world, 2)


def test_a_mark_comes_before_what_an_operator_adopts() -> None:
    """v1 leaks just when another's value is accepted: what can be restored is v0 all the same."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    leak(world, 1)
    go(world, lambda: rotation(world).incoming == 2)
    assert rotation(world).outgoing == (0, 1)
    go(world, ended(world))
    clean(world, 2)


def test_what_an_operator_adopts_comes_before_the_way_back() -> None:
    """Another's value is accepted and a rollback asked for: it is adopted, and what could be restored is what readers got
    last."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    world.command(commands.roll_back, by="bo", why="no")
    taken = tick(world)
    assert taken is not None
    assert taken.successor is not None
    assert taken.successor.outgoing == (1, 0)
    go(world, ended(world))
    clean(world, 2)


def test_an_operators_word_brings_back_what_failed_before() -> None:
    """v0 leaked, v1 failed, and nobody can be given v2 any more: an operator who has seen all that may still ask for v1,
    which nothing but that word brings back."""
    world = world_in(Phase.MONITOR)
    leak(world, 0)
    world.finding = failing(control=True)
    go(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    go(world, lambda: rotation(world).versions[2].key_id is not None)
    assert rotation(world).failed == {1}
    world.lose_value(2)
    world.command(commands.roll_back, by="ada", why="v1 is better than nothing")
    tick(world)
    assert rotation(world).restoring == 1
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept_lost, seen=world.observe(), serial=2, by="ada", why="it was nowhere")
    go(world, ended(world))
    clean(world, 1)
