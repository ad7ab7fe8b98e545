"""What people are told is so: a command that was accepted has its effect, a way out that is named leads out, and what
stands still is told of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.findings import authority_ill
from tests.domain.ground import POLICY
from tests.domain.outlook import topics
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, step, until, world_in
from tests.domain.world import TroubleError, World

from keyturn.domain import commands
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.machine import decide
from keyturn.domain.model import Force
from keyturn.domain.observations import Entry, Obstacle
from keyturn.domain.overdue import spend
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling, wait


def accepted(world: World, target: str = "t0") -> None:
    """Another's hand puts a value at a target, and an operator accepts it."""
    world.overwrite(world.targets[target], missing=False)
    until(world, lambda: rotation(world).hold is not None)
    found = world.targets[target].id or ""
    world.command(commands.accept, seen=world.observe(), target=target, found=found, by="ada", why="the vendor's own")


def emergency(world: World, serial: int) -> None:
    world.command(commands.emergency, serial=serial, by="ada", why="leaked", now=world.now)


def disabled_everywhere(world: World, *serials: int) -> bool:
    return all(v.table[serial] is Entry.DISABLED for v in world.verifiers.values() for serial in serials)


def test_a_dead_version_that_a_hand_gives_to_readers_after_a_rollback_is_told() -> None:
    """The new version was rolled back and destroyed; that this rotation promoted it once explains nothing any more."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    rolled_back = until(world, ended(world))[-1].rotation
    target = world.targets["t0"]
    target.id, target.serials["hand"] = "hand", 1
    decision = decide(rolled_back, world.observe(rolled_back), world.now)
    assert (decision.verdict.ruling, decision.verdict.reason) == (Ruling.HOLD, Reason.TARGET_FOREIGN)
    assert {message.topic for message in decision.messages} == {"rotation.held"}


def test_the_loss_of_a_version_is_accepted_though_copies_of_another_value_stand_for_it() -> None:
    """What is at every target under its name is not its value: nobody has that, and a person may sign for it."""
    world = world_in(Phase.MONITOR)
    seen = replace(world.observe(), lost=frozenset({0}))
    assert decide(rotation(world), seen, world.now).verdict.reason is Reason.ROLLBACK_VALUE_LOST
    signed = commands.accept_lost(rotation(world), seen, serial=0, by="ada", why="INC-7")
    assert signed.waived == {0: "ada: INC-7"}


def test_a_mark_that_is_found_beside_the_secret_is_an_emergency_that_no_pause_stops() -> None:
    """Its cut comes in its time: until then readers of every target get the new version."""
    world = world_in(Phase.OVERLAP, grace_cap=seconds(60), grace=seconds(20))
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=seconds(86400))
    for target in world.targets.values():
        target.marks.add(0)
    until(world, ended(world))
    assert {target.serial for target in world.targets.values()} == {1}


def test_a_target_that_refuses_keeps_an_emergency_from_no_other() -> None:
    """One of two targets lets nobody write: readers of the other get the new version before the cut, and a person is
    called for the one."""

    class Refusing(World):
        def perform(self, effect: Effect) -> str | None:
            if effect.kind in (EffectKind.STAGE, EffectKind.KEEP) and effect.target == "t1":
                raise TroubleError(FailureKind.DENIED, "t1: permission denied")
            return super().perform(effect)

    world = Refusing(policy=replace(POLICY, grace_cap=seconds(60), grace=seconds(20)))
    world.advance(seconds(30))
    world.start()
    emergency(world, 0)
    held = until(world, lambda: (stands := rotation(world).hold) is not None and stands.latched, 20)[-1]
    assert held.verdict.reason is Reason.QUARANTINED
    assert "t1: permission denied" in held.verdict.detail
    assert [target.serial for target in world.targets.values()] == [1, 0]
    assert {v.table[0] for v in world.verifiers.values()} == {Entry.ACTIVE}


def test_an_adoption_that_the_authority_refuses_can_be_given_up() -> None:
    """Nobody has anything from a value that works nowhere: whoever takes over leads on from what readers had before, waits
    for no user of it, and what a hand put there is overwritten when they say so."""

    class Unknown(World):
        def perform(self, effect: Effect) -> str | None:
            if effect.kind in (EffectKind.INSTALL, EffectKind.ENABLE) and effect.serial == 2:
                raise TroubleError(FailureKind.INVALID, "the authority does not know v2")
            return super().perform(effect)

    world = world_in(Phase.MONITOR, kind=Unknown)
    accepted(world)
    until(world, lambda: rotation(world).halted is not None)
    world.command(commands.abandon, by="ada", why="a typing error")
    until(world, lambda: rotation(world).hold is not None)
    assert rotation(world).outgoing[0] == 1
    target = world.targets["t0"]
    again = {"seen": world.observe(), "target": "t0", "found": target.id or "", "by": "ada", "why": "a typing error"}
    world.command(commands.reassert, **again)
    until(world, ended(world))
    assert {target.serial for target in world.targets.values()} == {3}


@pytest.mark.parametrize("paused", [False, True])
def test_what_is_overwritten_in_vain_is_told_whatever_else_stands(paused: bool) -> None:
    """The backend denies what an operator asked for with `reassert`, while the rotation waits for something else: a person
    hears of it, and one command takes it up."""
    world = world_in(Phase.INTRODUCE)
    world.overwrite(world.targets["t0"], missing=False)
    until(world, lambda: rotation(world).hold is not None)
    if paused:
        world.command(commands.pause, by="ada", why="freeze", now=world.now)
    else:
        world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    world.denied.add(EffectKind.PROMOTE)
    found = world.targets["t0"].id or ""
    world.command(commands.reassert, seen=world.observe(), target="t0", found=found, by="ada", why="a slip")
    until(world, lambda: (stands := rotation(world).hold) is not None and "promote is not permitted" in stands.detail)
    assert rotation(world).hold.reason is Reason.QUARANTINED  # type: ignore[union-attr]
    world.denied.clear()
    world.command(commands.resume)
    until(world, lambda: world.targets["t0"].serial == 0, 5)


def test_a_dead_version_that_rises_and_cannot_be_revoked_is_told() -> None:
    """A gateway came back with an older table, and lets nobody change it."""
    world = world_in(Phase.MONITOR)
    emergency(world, 0)
    until(world, ended(world))
    world.start()
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    world.verifiers["g0"].table[0] = Entry.ACTIVE
    world.verifiers["g0"].risen = {0}
    world.denied.add(EffectKind.REVOKE)
    until(world, lambda: "destroyed.not_revoked" in topics(world), 10)
    world.denied.clear()
    until(world, lambda: world.verifiers["g0"].table[0] is Entry.REVOKED, 20)


def test_a_force_on_the_way_back_stands_in_for_a_target_that_is_away() -> None:
    """A region is gone, and a person says so: the new version is disabled, which that region alone may still serve."""
    world = world_in(Phase.MONITOR)
    world.targets["t1"].away = True
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).hold is not None, 300)
    assert rotation(world).hold is not None
    assert {v.table[1] for v in world.verifiers.values()} == {Entry.ACTIVE}
    world.command(commands.force, serial=1, by="ada", why="the region is gone")
    world.forced.add(1)
    until(world, lambda: world.verifiers["g0"].table[1] is not Entry.ACTIVE, 100)


def test_a_final_force_outlasts_the_rotation_that_it_was_said_in() -> None:
    """RETIRE gives way to the adoption of what a hand left: what was disabled for good is not enabled by the next."""
    world = world_in(Phase.MONITOR)
    world.command(commands.force, serial=0, by="ada", why="the contract has ended", final=True)
    world.forced.add(0)
    until(world, lambda: rotation(world).phase is Phase.RETIRE and disabled_everywhere(world, 0))
    accepted(world)
    until(world, lambda: rotation(world).phase is Phase.OVERLAP)
    for _ in range(5):
        step(world)
    assert disabled_everywhere(world, 0)


def retreated() -> World:
    """Two versions were disabled, v0 for good, and a refused use of v1 has brought that one back."""
    world = world_in(Phase.MONITOR)
    accepted(world)
    until(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.MONITOR)
    world.command(commands.force, serial=0, by="ada", why="the contract has ended", final=True)
    world.command(commands.force, serial=1, by="ada", why="it should be silent")
    world.forced |= {0, 1}
    until(world, lambda: rotation(world).phase is Phase.RETIRE and disabled_everywhere(world, 0, 1))
    world.add_client(refresh=None, holds=1)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    until(world, lambda: world.verifiers["g0"].table[1] is Entry.ACTIVE, 5)
    return world


def test_a_final_force_outlasts_a_retreat_that_another_version_asks_for() -> None:
    """It brings back the other alone, whose users are waited for anew."""
    world = retreated()
    assert disabled_everywhere(world, 0)
    for _ in range(10):
        assert step(world).verdict.reason in (Reason.CLIENTS_NOT_MOVED, Reason.OLD_IN_USE)


def test_a_final_force_outlasts_a_retreat_and_the_rollback_after_it() -> None:
    """v1 comes back to all; v0, which nobody was to have again, is not kept accepted for whoever had it."""
    world = retreated()
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).phase is Phase.ROLLBACK)
    for _ in range(5):
        step(world)
        assert disabled_everywhere(world, 0)


def test_a_deadlines_word_takes_no_other_away() -> None:
    """What a person forced for good stays so when the deadline forces the rest."""
    world = world_in(Phase.MONITOR)
    world.command(commands.force, serial=0, by="ada", why="the contract has ended", final=True)
    after = spend(rotation(world), wait(Reason.FORCED, "400 s are over"))
    assert after.forced == {0: Force(by="ada", why="the contract has ended", final=True)}


def test_a_loss_that_was_signed_for_holds_nothing_up_again() -> None:
    """A target takes no copy of the old version, and a person goes on without: no hold of another cause brings that up."""
    world = world_in(Phase.MONITOR)
    world.add_client(refresh=None, holds=0)
    world.denied.add(EffectKind.STAGE)
    world.targets["t1"].copies.discard(0)
    world.robbed.add("t1")
    until(world, lambda: (stands := rotation(world).hold) is not None and stands.latched, 20)
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="INC-7")
    world.command(commands.resume)
    step(world)
    world.finding = authority_ill()
    assert step(world).verdict.reason is Reason.AUTHORITY_ILL
    world.finding = None
    assert step(world).verdict.reason is Reason.CLIENTS_NOT_MOVED


def test_a_doubt_is_told_beside_what_was_refused_for_good() -> None:
    """The authority is ill, and a call that only makes good was refused: it may be what the doubt comes from, and is sent
    again when a person says so. Both are told."""
    world = world_in(Phase.MONITOR)
    world.add_client(refresh=None, holds=0)
    world.finding = authority_ill()
    world.denied.add(EffectKind.STAGE)
    world.targets["t1"].copies.discard(0)
    world.robbed.add("t1")
    held = until(world, lambda: (stands := rotation(world).hold) is not None and stands.latched, 10)[-1].verdict
    assert (held.reason, held.detail) == (Reason.QUARANTINED, "stage is not permitted; v0 and v1 fail alike")


def test_a_rollback_that_was_asked_for_outlasts_the_report_of_an_older_version() -> None:
    """The oldest of three versions leaks while the newest is being withdrawn: what readers had before is still no secret to
    anybody, and comes back."""
    world = world_in(Phase.MONITOR)
    accepted(world)
    until(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.MONITOR)
    outgoing = rotation(world).outgoing
    world.command(commands.roll_back, by="ada", why="it fails")
    emergency(world, outgoing[-1])
    assert step(world).rotation.phase is Phase.ROLLBACK
    until(world, ended(world))
    assert world.current.serial == outgoing[0]


def test_what_readers_have_is_mended_under_a_halt() -> None:
    """The new key is refused for good and the rotation halts for a person: a gateway that joins meanwhile is told of the
    version that everybody has."""
    world = world_in(Phase.INTRODUCE)
    world.denied.add(EffectKind.INSTALL)
    until(world, lambda: rotation(world).halted is not None)
    world.join()
    until(world, lambda: all(v.table.get(0) is Entry.ACTIVE for v in world.verifiers.values()), 10)
    assert rotation(world).halted is not None
