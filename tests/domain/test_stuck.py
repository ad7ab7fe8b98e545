"""Nothing stands without a word or a way out: what is asked for in vain is told, and keeps what readers need from nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.domain.findings import failing
from tests.domain.ground import POLICY
from tests.domain.outlook import topics
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, step, until, world_in
from tests.domain.test_told_and_kept import accepted, disabled_everywhere, emergency
from tests.domain.world import TroubleError, World

from keyturn.domain import commands
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind, Refused
from keyturn.domain.machine import Decision
from keyturn.domain.observations import Acceptance, Entry, VerifierSeen
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling


class Flaky(World):
    """Some calls end without an answer, each time."""

    vain: frozenset[tuple[str, EffectKind]] = frozenset()
    """(verifier or target, kind)."""

    def perform(self, effect: Effect) -> str | None:
        for place in (effect.target, *effect.verifiers):
            if (place, effect.kind) in self.vain:
                raise TroubleError(FailureKind.TRANSIENT, f"{place} timed out")
        return super().perform(effect)


def unjudged(world: World, ticks: int = 1) -> list[Decision]:
    """Some ticks, of which only what is asserted counts: what a promise asks of the calls that end in vain is not."""
    decisions = []
    for _ in range(ticks):
        world.advance(seconds(5))
        decision = world.tick()
        assert decision is not None
        decisions.append(decision)
    world.uses.clear()
    return decisions


def calls(decisions: list[Decision]) -> list[tuple[EffectKind, int]]:
    """What was sent, in order."""
    return [(one.kind, one.serial) for decision in decisions for one in decision.effects]


def served(world: World) -> set[int | None]:
    return {target.serial for target in world.targets.values()}


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP])
def test_an_emergency_waits_for_nobody_who_was_to_answer_a_deadline(phase: Phase) -> None:
    """The phase is over its deadline when the old version leaks: readers get the new one before the cut, and people are
    told again and again meanwhile."""
    world = world_in(phase)
    if phase is Phase.INTRODUCE:
        world.targets["t1"].away = True
    else:
        world.sources["gateway"].down = True
    until(world, lambda: (stands := rotation(world).hold) is not None and stands.reason is Reason.DEADLINE)
    world.targets["t1"].away = False
    emergency(world, 0)
    until(world, lambda: served(world) == {1}, 20)
    assert {v.table[0] for v in world.verifiers.values()} == {Entry.ACTIVE}


def test_an_old_version_that_never_is_accepted_again_is_signed_for() -> None:
    """The authority refuses for good to enable it, so that nobody can go back: a person signs for that, and readers, who
    have what fails, get the next new version."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    world.denied.add(EffectKind.ENABLE)
    world.finding = failing(control=True)
    unjudged(world)
    world.finding = None
    unjudged(world, 4)
    world.command(commands.abandon, by="ada", why="the key is gone at the vendor")
    held = unjudged(world, 12)[-1]
    assert (held.rotation.phase, held.verdict.reason) == (Phase.OVERLAP, Reason.QUARANTINED)
    with pytest.raises(Refused, match="nothing is lost"):
        commands.accept_lost(rotation(world), world.observe(), serial=1, by="ada", why="a slip")
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="the key is gone at the vendor")
    world.command(commands.resume)
    unjudged(world, 20)
    assert served(world) == {2}


def test_a_failed_version_that_a_verifier_refuses_keeps_the_next_from_nobody() -> None:
    """The old version leaked and the new one fails at one gateway, which lists it: readers get the one after that."""

    class Refusing(World):
        refusing = False

        def _ask(self, verifier: object, minted: list[int], asked: list[int]) -> VerifierSeen:
            seen = super()._ask(verifier, minted, asked)  # type: ignore[arg-type]
            if not self.refusing or verifier is not self.verifiers["g1"] or 1 not in seen.acceptance:
                return seen
            return replace(seen, acceptance={**seen.acceptance, 1: Acceptance.REFUSED})

    world = world_in(Phase.OVERLAP, kind=Refusing)
    emergency(world, 0)
    until(world, lambda: served(world) == {1}, 30)
    world.refusing = True  # type: ignore[attr-defined]
    world.finding = failing(control=True)
    unjudged(world)
    world.finding = None
    assert rotation(world).failed == {1}
    unjudged(world, 20)
    assert served(world) == {2}


def test_after_a_retreat_no_version_waits_for_another_to_be_accepted_again() -> None:
    """Two were disabled and a verifier is away: both are enabled at the other at once."""
    world = world_in(Phase.MONITOR)
    accepted(world)
    until(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.MONITOR)
    for serial in (0, 1):
        world.command(commands.force, serial=serial, by="ada", why="it should be silent")
    world.forced |= {0, 1}
    until(world, lambda: rotation(world).phase is Phase.RETIRE and disabled_everywhere(world, 0, 1))
    world.add_client(refresh=None, holds=0)
    world.set_away(world.verifiers["g0"], True)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    step(world)
    assert [world.verifiers["g1"].table[serial] for serial in (0, 1)] == [Entry.ACTIVE, Entry.ACTIVE]


def test_what_makes_room_is_not_brought_back_while_its_disable_is_tried_again() -> None:
    """A gateway does not answer to the disable of a failed version that goes for want of room: the other does not enable it
    in the meantime."""
    world = world_in(Phase.OVERLAP, kind=Flaky)
    world.command(commands.emergency, serial=0, by="ada", why="leak", now=world.now, grace=seconds(60))
    until(world, lambda: served(world) == {1}, 30)
    world.room = 2
    world.finding = failing(control=True)
    unjudged(world)
    world.finding = None
    world.vain = frozenset({("g1", EffectKind.DISABLE)})  # type: ignore[attr-defined]
    sent = calls(unjudged(world, 20))
    assert (EffectKind.DISABLE, 1) in sent
    assert (EffectKind.ENABLE, 1) not in sent


def test_what_goes_for_want_of_room_is_given_to_nobody() -> None:
    """The old value is lost and the new version fails; a hand's value is to be overwritten with it while it makes room for
    the next: readers get that."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    world.room = 2
    world.finding = failing(control=True)
    until(world, lambda: rotation(world).supersedes is not None, 30)
    world.finding = None
    world.overwrite(world.targets["t0"], missing=False)
    found = world.targets["t0"].id
    world.command(commands.reassert, seen=world.observe(), target="t0", found=found, by="ada", why="mine")
    sent = calls(unjudged(world, 20))
    assert (EffectKind.DISABLE, 1) in sent
    assert (EffectKind.PROMOTE, 1) not in sent
    assert world.targets["t0"].serial == 2


def test_what_is_silent_and_makes_room_is_not_brought_back_under_a_pause() -> None:
    """v0 is disabled and nobody has its value; v1, which readers have, fails under a pause: v0 goes when that ends."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    world.lose_value(0)
    world.room = 2
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=timedelta(hours=1))
    world.finding = failing(control=True)
    decisions = unjudged(world)
    world.finding = None
    decisions += unjudged(world, 3)
    world.command(commands.resume)
    sent = calls([*decisions, *unjudged(world, 8)])
    assert (EffectKind.REVOKE, 0) in sent
    assert not {(EffectKind.ENABLE, 0), (EffectKind.DISABLE, 1), (EffectKind.REVOKE, 1)} & set(sent)


@pytest.mark.parametrize("kind", [EffectKind.KEEP, EffectKind.STAGE])
def test_a_target_that_does_not_answer_keeps_an_emergency_from_no_other(kind: EffectKind) -> None:
    """One of two targets throttles every write: readers of the other get the new version before the cut."""
    world = Flaky(policy=replace(POLICY, grace_cap=seconds(60), grace=seconds(20)))
    world.vain = frozenset({("t1", kind)})
    for index in range(4):
        world.add_client(target=f"t{index % 2}")
    world.advance(seconds(30))
    world.start()
    unjudged(world)
    emergency(world, 0)
    for _ in range(12):
        if world.targets["t0"].serial == 0:
            unjudged(world)
    assert world.targets["t0"].serial == 1
    assert {v.table[0] for v in world.verifiers.values()} == {Entry.ACTIVE}


def test_readers_who_may_have_what_was_cut_are_told_of() -> None:
    """A target is away when the cut comes: that its readers may be refused is told, once."""
    week = {**POLICY.deadlines, Phase.OVERLAP: Deadline(after=timedelta(days=7))}
    world = world_in(Phase.INTRODUCE, grace_cap=seconds(60), grace=seconds(20), deadlines=week)
    world.targets["t1"].away = True
    emergency(world, 0)
    unjudged(world, 60)
    told = [message.text for _, message in world.messages.values() if message.topic == "compromised.served"]
    assert told == ["api: t1 cannot be read, and may still give v0 to its readers, which is compromised and refused"]


def test_what_is_refused_for_good_is_told_behind_what_waits() -> None:
    """In MONITOR a verifier is away, and another that joins lets nobody install: a person hears of it, takes it up with one
    command, and nothing else stands."""
    world = world_in(Phase.MONITOR)
    world.set_away(world.verifiers["g0"], True)
    world.join()
    world.denied.add(EffectKind.INSTALL)
    held = unjudged(world, 5)[-1]
    assert (held.verdict.reason, held.verdict.latch) == (Reason.QUARANTINED, False)
    assert "rotation.held" in topics(world)
    world.set_away(world.verifiers["g0"], False)
    assert unjudged(world, 60)[-1].rotation.phase is Phase.MONITOR
    world.denied.clear()
    world.command(commands.resume)
    until(world, ended(world))


def test_what_a_person_is_called_for_names_what_else_waits_for_them() -> None:
    """A hand's value holds MONITOR until a person answers, and a verifier that joins lets nobody install: that is named
    once beside the other, and tried again with the one answer."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=False)
    alone = unjudged(world)[-1].verdict
    world.join()
    world.denied.add(EffectKind.INSTALL)
    decisions = unjudged(world, 5)
    held = decisions[-1].verdict
    assert (held.reason, held.latch) == (Reason.TARGET_FOREIGN, True)
    assert held.detail.startswith(f"{alone.detail}; ")
    assert held.detail == decisions[-2].verdict.detail
    assert calls(decisions).count((EffectKind.INSTALL, 1)) == 1
    world.denied.clear()
    world.put_back()
    world.command(commands.resume)
    assert (EffectKind.INSTALL, 1) in calls(unjudged(world))
    until(world, ended(world))


def test_a_halt_names_what_else_waits_for_a_person() -> None:
    """The old version leaked and every new one fails; a verifier that joins meanwhile lets nobody install what readers
    have."""
    world = world_in(Phase.OVERLAP, maximum_remints=0)
    emergency(world, 0)
    until(world, lambda: served(world) == {1}, 30)
    world.finding = failing(control=True)
    alone = unjudged(world)[-1].verdict
    world.join()
    world.denied.add(EffectKind.INSTALL)
    told = unjudged(world, 3)[-1].verdict
    assert (alone.ruling, told.ruling) == (Ruling.HALT, Ruling.HALT)
    assert told.detail.startswith(f"{alone.detail}; ")


def test_whoever_is_refused_on_the_way_back_has_the_withdrawn_version_again() -> None:
    """It was silent and is disabled, and then somebody who reads at boot uses it: it is accepted until that one is back."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    world.set_away(world.verifiers["g0"], True)
    until(world, lambda: 1 in rotation(world).disabled_at)
    client = world.add_client(every=10, refresh=None, holds=1)
    unjudged(world, 10)
    assert world.verifiers["g1"].table[1] is Entry.ACTIVE
    world.set_away(world.verifiers["g0"], False)
    client.refresh = seconds(20)
    until(world, ended(world))


def test_a_force_takes_no_other_version_that_an_unread_target_may_serve() -> None:
    """v2 is forced on the way back from it; v0, which a target that is away may serve, stays accepted."""
    world = world_in(Phase.MONITOR)
    accepted(world)
    until(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.MONITOR)
    world.targets["t1"].away = True
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).phase is Phase.ROLLBACK)
    world.command(commands.force, serial=2, by="ada", why="nobody has it")
    sent = calls(unjudged(world, 20))
    assert not {EffectKind.DISABLE, EffectKind.REVOKE} & {kind for kind, _ in sent}
    world.command(commands.force, serial=0, by="ada", why="nobody has it")
    assert EffectKind.DISABLE in {kind for kind, _ in calls(unjudged(world, 20))}


@pytest.mark.parametrize("live", [False, True])
def test_what_is_tried_in_vain_again_and_again_is_told(live: bool) -> None:
    """Between rotations, and on the way back for those who have moved: a gateway never answers to an enable."""
    world = world_in(Phase.DESTROY, kind=Flaky)
    until(world, ended(world))
    if live:
        world.start()
        until(world, lambda: rotation(world).phase is Phase.MONITOR)
        world.command(commands.roll_back, by="ada", why="it fails")
        world.targets["t1"].away = True
        unjudged(world)
        world.verifiers["g1"].table[2] = Entry.ABSENT
    else:
        world.verifiers["g1"].table[1] = Entry.DISABLED
    world.vain = frozenset({("g1", EffectKind.ENABLE)})  # type: ignore[attr-defined]
    for _ in range(150):
        world.advance(seconds(5))
        world.tick()
    world.uses.clear()
    texts = [message.text for _, message in world.messages.values() if message.topic == "rotation.held"]
    assert any("enable, tried 2" in text for text in texts)


def test_a_way_back_that_is_halted_gives_a_verifier_that_joins_what_readers_have() -> None:
    """The authority refuses for good to disable the withdrawn version, which nobody uses."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    world.denied.add(EffectKind.DISABLE)
    until(world, lambda: rotation(world).halted is not None)
    world.join()
    unjudged(world, 3)
    assert {v.table.get(0) for v in world.verifiers.values()} == {Entry.ACTIVE}


def test_too_many_remints_leave_nobody_without_what_readers_have() -> None:
    """The old version leaked and every new one fails: a person is called, and a verifier that joins meanwhile accepts what
    readers have."""
    world = world_in(Phase.OVERLAP, maximum_remints=0)
    emergency(world, 0)
    until(world, lambda: served(world) == {1}, 30)
    world.finding = failing(control=True)
    assert unjudged(world)[-1].verdict.ruling is Ruling.HALT
    world.join()
    unjudged(world, 3)
    assert {v.table.get(1) for v in world.verifiers.values()} == {Entry.ACTIVE}
