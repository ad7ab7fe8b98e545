"""Beyond MACHINE.md's traces: what leaks, what is lost, what is full or away, and what an operator says to it."""

from __future__ import annotations

import pytest
from tests.domain.findings import authority_ill, failing
from tests.domain.ground import Fate
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, step, world_in
from tests.domain.tracing import alive, clean, go, leak, refused, tick

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.model import VersionState
from keyturn.domain.observations import Entry, Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling


def test_a_foreign_value_that_is_accepted_becomes_the_next_version() -> None:
    """`accept` ends the rotation, and one takes over that adopts the value once every verifier accepts it."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    said = go(world, ended(world))
    assert said[-1].rotation.incoming == 2
    clean(world, 2)


def test_a_lost_value_is_waived_by_name() -> None:
    """Every copy of the old value is gone: it holds until an operator goes on without it, and signs its death."""
    world = world_in(Phase.MONITOR)
    for target in world.targets.values():
        target.copies.discard(0)
        world.robbed.add(target.name)
    held = tick(world)
    assert held is not None
    assert held.verdict.reason is Reason.ROLLBACK_VALUE_LOST
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="no way back is needed")
    go(world, ended(world))
    clean(world, 1)


@pytest.mark.parametrize("signed", [False, True])
def test_a_failure_after_the_old_value_was_lost_leads_forward(signed: bool) -> None:
    """The old value is lost, whether a person has signed that or not, and the new version fails. What nobody has cannot be
    given back to readers: another rotation makes a version."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    go(world, lambda: rotation(world).hold is not None)
    if signed:
        world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it is nowhere")
    world.finding = failing(control=True, clients=["c0"])
    said = go(world, lambda: rotation(world).supersedes is not None)[-1]
    assert (said.verdict.ruling, said.verdict.reason) == (Ruling.SUPERSEDE, Reason.NEW_VERSION_FAILS)
    world.finding = None
    if not signed:
        go(world, lambda: rotation(world).hold is not None)
        world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it is nowhere")
    go(world, ended(world))
    clean(world, 2)


def test_users_that_were_never_seen_are_awaited_until_an_owner_vouches() -> None:
    """Everybody known is silent, and the history says that others are to be expected: nothing is disabled before an owner's
    word, or somebody's force; what is compromised is not awaited."""
    world = world_in(Phase.MONITOR)
    world.unseen = 0.2
    said = go(world, lambda: rotation(world).reminded > 0)[-1]
    assert said.verdict.reason is Reason.CLIENTS_UNSEEN
    assert said.verdict.detail == "with a chance of 20% the next use is by a client that was never seen"
    assert rotation(world).phase is Phase.MONITOR
    forced, leaked = world.fork(), world.fork()
    world.unseen = 0.0
    forced.command(commands.force, serial=0, by="ada", why="it is one workload")
    leak(leaked, 0)
    for one in (world, forced, leaked):
        go(one, ended(one))
        clean(one, 1)


def test_a_stolen_copy_is_reported_and_made_again_from_another() -> None:
    """A target that lost its copy of the old value gets one from the other target, and somebody is told."""
    world = world_in(Phase.MONITOR)
    world.targets["t0"].copies.discard(0)
    held = tick(world)
    assert held is not None
    assert held.verdict.reason is Reason.ROLLBACK_VALUE_LOST
    assert 0 in world.targets["t0"].copies


def test_new_versions_that_keep_failing_are_a_persons_matter_and_the_cut_comes() -> None:
    """After so many remints it halts, and what is compromised is cut off all the same."""
    world = world_in(Phase.MONITOR, maximum_remints=1, grace_cap=seconds(300), grace=seconds(300))
    leak(world, 0, grace=300)
    world.finding = failing(control=True)
    go(world, lambda: rotation(world).halted is not None)
    assert rotation(world).halted is not None
    assert rotation(world).halted.reason is Reason.TOO_MANY_REMINTS  # type: ignore[union-attr]
    go(world, lambda: refused(world, 0))
    world.finding = None
    tick(world)
    assert rotation(world).halted is not None, "a halt ends by itself"
    world.command(commands.resume)
    go(world, ended(world))


def test_a_second_report_may_only_shorten_the_grace() -> None:
    """The first cap stands, whatever a second report says; `cut_now` ends it."""
    world = world_in(Phase.INTRODUCE)
    leak(world, 0, grace=20)
    first = rotation(world).marks[0]
    world.advance(seconds(30))
    leak(world, 0, grace=60)
    assert rotation(world).marks[0] == first
    leak(world, 0, cut_now=True)
    tick(world)
    assert refused(world, 0)


def test_a_rollback_to_a_compromised_version_is_refused() -> None:
    """No operator brings back what is compromised."""
    world = world_in(Phase.MONITOR)
    leak(world, 0)
    with pytest.raises(Refused, match="compromised"):
        world.command(commands.roll_back, by="ada", why="it was better")


def test_the_mark_is_written_beside_the_secret_and_stays() -> None:
    """At every target it stands that the version is compromised, also when the rotation has ended."""
    world = world_in(Phase.MONITOR)
    leak(world, 0)
    tick(world)
    assert all(target.marks == {0} for target in world.targets.values())
    go(world, ended(world))
    assert all(target.marks == {0} for target in world.targets.values())


@pytest.mark.parametrize("serial", [0, 1])
def test_no_end_without_the_mark_beside_the_secret(serial: int) -> None:
    """A backend that lets nobody write the mark keeps the rotation from its end, forward or back."""
    world = world_in(Phase.MONITOR)
    leak(world, serial)
    world.denied.add(EffectKind.MARK)
    go(world, lambda: rotation(world).halted is not None)
    assert world.targets["t0"].copies, "its last trace is gone, and nobody wrote the mark"
    world.denied.clear()
    world.command(commands.resume)
    go(world, ended(world))
    assert all(target.marks == {serial} for target in world.targets.values())
    clean(world, 1 - serial)


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY])
def test_both_versions_leak(phase: Phase) -> None:
    """Nothing can be restored: another rotation takes over with the next decision, wherever this one stands."""
    world = world_in(phase)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    if phase is Phase.DESTROY:
        leak(world, 1)
    else:
        leak(world, 0)
        leak(world, 1)
    taken = tick(world)
    assert taken is not None
    assert taken.successor is not None
    go(world, ended(world))
    clean(world, 2)


@pytest.mark.parametrize("leaked", [0, 1])
def test_the_version_that_is_restored_leaks(leaked: int) -> None:
    """A rollback to a version that is reported compromised gives way with the next decision; other reports let it go on."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    tick(world)
    leak(world, leaked)
    taken = tick(world)
    assert taken is not None
    assert (taken.successor is not None) is (leaked == 0)
    go(world, ended(world))
    clean(world, 2 if leaked == 0 else 0)


def test_a_thief_is_not_awaited_in_monitor() -> None:
    """In a rotation that took over, whoever presents only the compromised version keeps nobody from retiring the rest."""
    world = world_in(Phase.OVERLAP)
    world.add_client(every=5, refresh=None, holds=0)
    go(world, lambda: world.targets["t0"].serial == 1)
    world.command(commands.roll_back, by="ada", why="no")
    tick(world)
    leak(world, 0, cut_now=True)
    go(world, lambda: rotation(world).incoming == 2 and rotation(world).phase is Phase.MONITOR)
    go(world, ended(world))
    clean(world, 2)


@pytest.mark.parametrize("leaked", [False, True])
def test_a_value_that_went_away_is_not_adopted(leaked: bool) -> None:
    """The hand took its value back before it was adopted: the rotation that was to adopt it halts, and is abandoned."""
    world = world_in(Phase.MONITOR)
    if leaked:
        leak(world, 0)
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    tick(world)
    world.targets["t1"].away = True
    for _ in range(3):
        tick(world)
    assert rotation(world).halted is None, "where nobody can look it may still be"
    world.targets["t1"].away = False
    world.put_back()
    halted = go(world, lambda: rotation(world).halted is not None)[-1]
    assert found in halted.verdict.detail
    world.command(commands.abandon, by="ada", why="it is gone")
    go(world, ended(world))
    clean(world, 3)


def test_a_death_that_cannot_be_tried_is_signed_by_a_person() -> None:
    """Every copy is gone once the old version is revoked: it holds as unproven, until somebody signs for the listing."""
    world = world_in(Phase.DESTROY)
    go(world, lambda: world.verifiers["g0"].table[0] is Entry.REVOKED and not world.proved)
    for target in world.targets.values():
        target.copies.discard(0)
    held = go(world, lambda: rotation(world).hold is not None)[-1]
    assert held.verdict.reason is Reason.UNPROVEN
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="the listing is enough")
    go(world, ended(world))
    clean(world, 1)


def test_a_value_that_may_be_where_nobody_can_look_is_not_lost() -> None:
    """A rollback is forced on while the target with the only copy is away: the proof waits for it to be back."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    world.command(commands.roll_back, by="ada", why="no")
    world.targets["t0"].away = True
    world.targets["t1"].copies.discard(1)
    tick(world)
    world.command(commands.force, serial=1, by="ada", why="hurry")
    go(world, lambda: world.verifiers["g0"].table.get(1) is Entry.REVOKED)
    waiting = tick(world)
    assert waiting is not None
    assert waiting.verdict.reason is Reason.TARGET_UNKNOWN
    assert waiting.verdict.detail == "cannot read t0"
    world.targets["t0"].away = False
    go(world, ended(world))
    assert 1 in world.proved
    clean(world, 0)


def test_a_full_authority_holds_before_the_mint_unless_something_may_go() -> None:
    """Where nothing leaked and nothing failed no version is given up for room: a person finds it."""
    world = world_in(Phase.INTRODUCE)
    world.room = 1
    held = go(world, lambda: rotation(world).hold is not None)[-1]
    assert held.verdict.reason is Reason.NO_ROOM
    assert world.keys == {0: "k0"}
    world.room = 2
    go(world, ended(world))
    clean(world, 1)


def test_what_is_compromised_and_cut_off_makes_room_before_what_has_failed() -> None:
    """v0 leaked and is disabled everywhere, v1 fails and is what every reader has: for a third key v0 goes, and readers keep
    v1 until they have v2. (No keeping row brings back what goes.)"""
    world = world_in(Phase.MONITOR)
    world.room = 2
    leak(world, 0)
    go(world, lambda: all(verifier.table[0] is Entry.DISABLED for verifier in world.verifiers.values()))
    world.finding = failing(control=True, clients=["c0"])
    go(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    said = go(world, lambda: 2 in alive(world))
    sent = [(one.kind, one.serial) for decision in said for one in decision.effects]
    assert (EffectKind.REVOKE, 0) in sent
    assert not {(EffectKind.DISABLE, 1), (EffectKind.REVOKE, 1)} & set(sent)
    go(world, ended(world))
    clean(world, 2)


def test_what_is_silent_and_disabled_makes_room_before_what_has_failed_and_readers_have() -> None:
    """v1 fails when v0 is disabled and nobody has its value any more: for a third key v0 goes, and readers keep v1."""
    world = world_in(Phase.RETIRE)
    world.room = 2
    go(world, lambda: all(verifier.table[0] is Entry.DISABLED for verifier in world.verifiers.values()))
    world.lose_value(0)
    world.finding = failing(control=True, clients=["c0"])
    go(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    sent = [(one.kind, one.serial) for decision in go(world, lambda: 2 in alive(world)) for one in decision.effects]
    assert (EffectKind.REVOKE, 0) in sent
    assert not {(EffectKind.DISABLE, 1), (EffectKind.REVOKE, 1)} & set(sent)


def test_a_version_that_goes_to_make_room_is_not_enabled_meanwhile() -> None:
    """A failed version that a verifier has lost goes for want of room: nothing makes it accepted again beside that."""
    world = world_in(Phase.MONITOR)
    world.room = 2
    leak(world, 0, grace=300)
    world.finding = failing(control=True, clients=["c0"])
    go(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    world.join()
    said = go(world, lambda: 2 in alive(world))
    for decision in said:
        going = {one.serial for one in decision.effects if one.kind in (EffectKind.DISABLE, EffectKind.REVOKE)}
        back = {one.serial for one in decision.effects if one.kind in (EffectKind.ENABLE, EffectKind.INSTALL)}
        assert not going & back
    go(world, ended(world))
    clean(world, 2)


def test_what_readers_have_gets_the_last_room_before_the_new_version() -> None:
    """The authority lost v0, which every reader has, and has room for one key: v0 gets it, and the new one waits."""
    world = world_in(Phase.INTRODUCE)
    world.room = 1
    go(world, lambda: rotation(world).hold is not None)
    for verifier in world.verifiers.values():
        world.lose(verifier, 0)
    world.fates = [Fate.FAILED] * 3
    said = go(world, lambda: alive(world) == {0})
    assert {one.verdict.detail for one in said} == {
        "the authority has room for v0 alone, which it has lost: remove a key there that nobody needs"
    }
    for _ in range(5):
        tick(world)
    assert alive(world) == {0}
    world.room = 2
    go(world, ended(world))
    clean(world, 1)


def test_no_room_is_kept_for_what_the_authority_takes_never_again() -> None:
    """A key that somebody deleted at an authority that makes its values cannot come back: the new version gets the room."""
    world = world_in(Phase.INTRODUCE)
    world.clients["c0"].dismissed = True
    world.room = 1
    for verifier in world.verifiers.values():
        world.lose(verifier, 0)
    world.denied.add(EffectKind.ENABLE)
    go(world, lambda: 1 in alive(world))


def test_what_is_adopted_needs_no_room() -> None:
    """Its key is at the full authority already: nothing is taken away for it, and nothing holds."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t1"], missing=False)
    world.room = 2
    found = world.targets["t1"].id or ""
    go(world, lambda: rotation(world).hold is not None)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    said = go(
        world, lambda: any(line.kind is EffectKind.INSTALL and "/v2" in name for name, line in world.journal.items())
    )
    assert Reason.NO_ROOM not in {decision.verdict.reason for decision in said}
    assert not {one.kind for decision in said for one in decision.effects} & {EffectKind.DISABLE, EffectKind.REVOKE}
    world.room = None
    go(world, ended(world))
    clean(world, 2)


def test_in_an_emergency_what_no_target_serves_makes_room_though_somebody_uses_it() -> None:
    """v1 is being taken back when v0 leaks, and the authority takes no third key: v1 goes, in use or not, for until v2 can
    be made every reader has what leaked."""
    world = world_in(Phase.MONITOR)
    world.add_client(every=5, refresh=None, holds=1)
    world.command(commands.roll_back, by="ada", why="it fails")
    go(world, lambda: all(target.serial == 0 for target in world.targets.values()))
    for _ in range(6):
        tick(world)
    world.room = 2
    leak(world, 0, grace=300)
    go(world, lambda: 2 in alive(world))
    assert alive(world) == {0, 2}
    go(world, ended(world))
    clean(world, 2)


def test_an_emergency_goes_on_without_a_target_and_gives_it_the_new_version_when_it_is_back() -> None:
    """A target that is away holds up neither mint nor acceptance; back, it gets its copy first and then the promote."""
    world = world_in(Phase.INTRODUCE)
    world.targets["t0"].away = True
    leak(world, 0, grace=300)
    go(world, lambda: world.targets["t1"].serial == 1)
    world.targets["t0"].away = False
    go(world, ended(world))
    clean(world, 1)


def test_what_is_proven_dead_is_not_forgotten_while_a_copy_may_be_left() -> None:
    """The new version leaks when the old one is dead, but a target with its copy is away: the successor knows it still."""
    world = world_in(Phase.DESTROY)
    go(world, lambda: bool(rotation(world).proven))
    world.targets["t1"].away = True
    tick(world)
    leak(world, 1)
    taken = tick(world)
    assert taken is not None
    assert taken.successor is not None
    assert set(taken.successor.outgoing) == {0, 1}
    world.targets["t1"].away = False
    go(world, ended(world))
    clean(world, 2)


def test_what_is_dead_is_remembered_as_destroyed_when_another_rotation_takes_over() -> None:
    """The new version leaks when nothing is left of the old one: the successor need not know the old, but whoever presents
    it later, or lists it again, finds that it is destroyed."""
    world = world_in(Phase.DESTROY)
    go(world, lambda: bool(rotation(world).proven) and not any(0 in one.copies for one in world.targets.values()))
    leak(world, 1)
    taken = tick(world)
    assert taken is not None
    assert taken.successor is not None
    assert 0 not in taken.successor.versions
    assert taken.rotation.versions[0].state is VersionState.DESTROYED
    assert taken.rotation.versions[1].state is not VersionState.DESTROYED
    go(world, ended(world))
    clean(world, 2)


def test_nothing_is_written_where_nobody_can_look() -> None:
    """The mark is written at a target once it can be read, and not blindly."""
    world = world_in(Phase.MONITOR)
    world.targets["t0"].away = True
    leak(world, 0)
    decision = tick(world)
    assert decision is not None
    assert [effect.target for effect in decision.effects if effect.kind is EffectKind.MARK] == ["t1"]
    world.targets["t0"].away = False
    go(world, ended(world))
    assert all(target.marks == {0} for target in world.targets.values())


def test_what_a_target_out_of_sight_may_serve_makes_no_room() -> None:
    """t0 was given v1 and is away, the authority is full, both versions leaked: neither goes before its time."""
    world = world_in(Phase.OVERLAP, grace_cap=seconds(60), grace=seconds(20))
    world.room = 2
    go(world, lambda: world.targets["t0"].serial == 1)
    leak(world, 0)
    leak(world, 1)
    world.targets["t0"].away = True
    go(world, lambda: rotation(world).incoming == 2)
    for _ in range(4):
        tick(world)
    assert alive(world) == {0, 1}
    world.targets["t0"].away = False
    go(world, ended(world))
    clean(world, 2)


def test_the_grace_runs_from_the_promote_itself() -> None:
    """However long the next look takes, the last promote counts from when it was done."""
    world = world_in(Phase.OVERLAP)
    leak(world, 0, grace=60)
    while any(target.serial == 0 for target in world.targets.values()):
        tick(world)
    promoted = world.now
    tick(world, 40)
    assert rotation(world).marks[0].cut_at == promoted + seconds(60)


def test_what_is_reasserted_is_accepted_first() -> None:
    """A verifier joined in INTRODUCE and knows nothing yet: the old version is enabled there before it takes the place of
    what a hand gave to readers."""
    world = world_in(Phase.INTRODUCE)
    target = world.targets["t0"]
    world.overwrite(target, missing=False)
    step(world)
    world.join()
    told = {"target": "t0", "found": target.id or "", "by": "ada", "why": "a slip"}
    world.command(commands.reassert, seen=world.observe(), **told)
    calls = [effect.kind for _ in range(3) for effect in step(world).effects]
    assert calls.index(EffectKind.ENABLE) < calls.index(EffectKind.PROMOTE)


def test_a_new_value_that_nobody_holds_any_more_is_given_up() -> None:
    """Every copy of the new version is lost before readers get it: the old one is kept, and what was made dies."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    world.lose_value(1)
    said = go(world, lambda: rotation(world).hold is not None)
    assert said[0].verdict.reason is Reason.NEW_VALUE_LOST
    assert rotation(world).phase is Phase.ROLLBACK
    world.command(commands.accept_lost, seen=world.observe(), serial=1, by="ada", why="it was nowhere")
    go(world, ended(world))
    clean(world, 0)


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP])
def test_a_new_version_that_a_verifier_has_revoked_is_given_up(phase: Phase) -> None:
    """A twin of the mint takes the key for an orphan, or somebody revokes it by hand: what is revoked never is accepted
    again, so that nobody need wait for it; the old version is kept, and what was made dies."""
    world = world_in(Phase.INTRODUCE)
    world.finding = authority_ill()  # holds the first promote
    go(world, lambda: rotation(world).phase is phase and rotation(world).versions[1].key_id is not None)
    world.verifiers["g1"].table[1] = Entry.REVOKED
    said = go(world, lambda: rotation(world).phase is not phase, ticks=3)
    assert said[-1].verdict.reason is Reason.NEW_VALUE_LOST
    go(world, ended(world))
    clean(world, 0)


def test_in_an_emergency_a_lost_new_value_is_made_anew() -> None:
    """Nothing can be restored and nobody can be given the new version: another rotation makes one, whoever is asleep."""
    world = world_in(Phase.INTRODUCE)
    leak(world, 0)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    world.lose_value(1)
    last = go(world, lambda: rotation(world).incoming == 2)[-1]
    assert last.successor is not None
    assert set(last.successor.outgoing) == {0, 1}
    assert last.successor.failed == {1}
    go(world, lambda: all(target.serial == 2 for target in world.targets.values()))


def test_a_cut_that_is_denied_is_tried_until_it_is_allowed() -> None:
    """The authority refuses the disable for good, the rotation halts: once it is allowed, the cut comes without a word."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.DISABLE)
    leak(world, 1, cut_now=True)
    go(world, lambda: rotation(world).halted is not None)
    world.denied.clear()
    go(world, lambda: refused(world, 1), ticks=5)
    assert rotation(world).halted is not None


def test_one_version_is_current_in_an_emergency() -> None:
    """A compromised version whose grace still runs is the previous one as soon as readers get the new one."""
    world = world_in(Phase.INTRODUCE)
    leak(world, 0, grace=60)
    go(world, lambda: rotation(world).phase is Phase.MONITOR)
    states = {serial: version.state for serial, version in rotation(world).versions.items()}
    assert states == {0: VersionState.PREVIOUS, 1: VersionState.CURRENT}


def test_nobody_stays_refused_while_the_rotation_that_took_over_is_held() -> None:
    """The old version was disabled, then another's value was accepted: it is accepted again, though the next rotation
    cannot begin to mint."""
    world = world_in(Phase.RETIRE)
    go(world, lambda: refused(world, 0))
    world.overwrite(world.targets["t1"], missing=False)
    found = world.targets["t1"].id or ""
    tick(world)
    world.command(commands.accept, seen=world.observe(), target="t1", found=found, by="ada", why="it is right")
    go(world, lambda: rotation(world).incoming == 2)
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    held = tick(world)
    assert held is not None
    assert held.verdict.reason is Reason.OBSTACLE
    assert alive(world) == {0, 1}


def test_what_is_lost_is_no_way_back_for_the_rotation_that_takes_over() -> None:
    """A rollback is asked for, and the old value is gone everywhere: another rotation takes over. Readers get v1 still, and
    that is what it could restore."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    world.command(commands.roll_back, by="ada", why="it looks wrong")
    tick(world)
    assert rotation(world).outgoing == (1, 0)
    found = world.targets["t0"].id or ""
    with pytest.raises(Refused, match="as it should"):
        world.command(commands.reassert, seen=world.observe(), target="t0", found=found, by="ada", why="a slip")
    go(world, lambda: rotation(world).hold is not None)
    assert rotation(world).phase is Phase.DESTROY
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="the authority lists it revoked")
    go(world, ended(world))
    clean(world, 2)


def test_a_waived_value_that_can_be_read_is_accepted_everywhere_before_it_comes_back() -> None:
    """An operator waived the old value, and it can be read after all: a verifier that joined is asked, not passed over."""
    world = world_in(Phase.MONITOR)
    world.targets["t0"].copies.clear()
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="known")
    world.join()
    world.command(commands.roll_back, by="ada", why="it looks wrong")
    calls = [effect.kind for _ in range(3) for effect in step(world).effects]
    assert calls.index(EffectKind.ENABLE) < calls.index(EffectKind.PROMOTE)


def test_a_hand_is_overwritten_with_the_new_version_when_the_old_value_is_lost() -> None:
    """Readers got another's value before the old one was kept: `reassert` gives them the new version, once an operator
    goes on without the old."""
    world = world_in(Phase.INTRODUCE)
    for target in world.targets.values():
        world.overwrite(target, missing=False)
    world.lose_value(0)
    for name, target in world.targets.items():
        go(world, lambda: rotation(world).hold is not None)
        world.command(
            commands.reassert, seen=world.observe(), target=name, found=target.id or "", by="ada", why="put it right"
        )
    held = go(world, lambda: rotation(world).hold is not None)[-1]
    assert held.verdict.reason is Reason.ROLLBACK_VALUE_LOST
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it was nowhere")
    go(world, lambda: all(target.serial == 1 for target in world.targets.values()))
