"""The machine by example: rollback, retreat, and verifiers that join, return or are changed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from tests.domain.ground import Fate
from tests.domain.places import seconds
from tests.domain.scenes import ended, returning, rotation, situation, step, until, world_in
from tests.domain.world import World

from keyturn.domain import commands, establish
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.machine import decide
from keyturn.domain.model import Hold, VersionState
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Verdict

# The ways back


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE])
def test_rollback_from_every_phase_before_destroy(phase: Phase) -> None:
    """One word of an operator brings the old version back, drains the new one and destroys it."""
    world = world_in(phase)
    world.command(commands.roll_back, by="ada", why="it fails")
    decisions = until(world, ended(world))
    assert decisions[0].verdict.reason is Reason.OPERATOR_ROLLBACK
    assert decisions[0].rotation.phase is Phase.ROLLBACK
    assert decisions[-1].rotation.phase is Phase.ROLLED_BACK
    assert decisions[-1].rotation.versions[0].state is VersionState.CURRENT
    drained = any(d.verdict.reason is Reason.DRAINING for d in decisions)
    assert drained is (phase is not Phase.INTRODUCE)


def test_rollback_enables_before_it_promotes_and_promotes_before_it_disables() -> None:
    """Out of RETIRE the old version is enabled, then served, and only then is the new one taken away."""
    world = world_in(Phase.RETIRE)
    world.command(commands.roll_back, by="ada", why="it fails")
    calls = [effect.kind for d in until(world, ended(world)) for effect in d.effects]
    order = list(dict.fromkeys(calls))
    assert order[:4] == [EffectKind.ENABLE, EffectKind.PROMOTE, EffectKind.DISABLE, EffectKind.REVOKE]


def on_the_way_back() -> World:
    """Readers of one target have the new version still, which a verifier that comes back with an older table refuses."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    world.targets["t1"].away = True
    step(world)
    world.verifiers["g1"].table[1] = Entry.ABSENT
    world.verifiers["g1"].excused.add(1)
    return world


@pytest.mark.parametrize(("entry", "halted"), [*product((Entry.ABSENT, Entry.DISABLED), (False, True))])
def test_on_the_way_back_the_new_version_stays_accepted_until_everybody_is_back(entry: Entry, halted: bool) -> None:
    """A target that is away may give it to readers: a verifier that refuses it is told again, whatever stands."""
    world = on_the_way_back()
    world.verifiers["g1"].table[1] = entry
    if halted:
        stands = Hold(reason=Reason.EFFECT_FAILED, since=world.now, latched=True)
        world.rotation = replace(rotation(world), halted=stands)
    decision = step(world)
    assert [(e.kind, e.serial, e.verifiers) for e in decision.effects] == [(EffectKind.ENABLE, 1, ("g1",))]
    assert world.verifiers["g1"].table[1] is Entry.ACTIVE


def test_a_new_version_that_can_not_be_kept_accepted_is_told_and_stops_no_way_back() -> None:
    """The authority refuses for good to accept it again: a person hears of it, resumes it, and readers go back meanwhile."""
    world = on_the_way_back()
    world.denied.add(EffectKind.ENABLE)
    held = until(world, lambda: rotation(world).hold is not None)[-1]
    assert (held.verdict.reason, held.verdict.latch) == (Reason.QUARANTINED, False)
    assert "enable" in held.verdict.detail
    world.targets["t1"].away = False
    until(world, lambda: [target.serial for target in world.targets.values()] == [0, 0], ticks=3)
    assert rotation(world).hold is not None
    world.denied.clear()
    world.command(commands.resume)
    step(world)
    assert world.verifiers["g1"].table[1] is Entry.ACTIVE
    until(world, ended(world))


def test_what_is_drained_is_not_accepted_again() -> None:
    """Its drain is over, and a verifier that comes back without it is as it is to be."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: 1 in rotation(world).disabled_at)
    world.verifiers["g1"].table[1] = Entry.ABSENT
    calls = [(e.kind, e.serial) for decision in until(world, ended(world)) for e in decision.effects]
    assert (EffectKind.ENABLE, 1) not in calls


@pytest.mark.parametrize("entry", [Entry.ABSENT, Entry.DISABLED])
def test_a_new_version_whose_value_is_lost_is_enabled_where_it_is_disabled(entry: Entry) -> None:
    """Whoever read it has it still, and no value is needed for that; where nothing is left of it nobody can put it back."""
    world = on_the_way_back()
    world.verifiers["g1"].table[1] = entry
    seen = replace(world.observe(), lost=frozenset({1}))
    seen = replace(
        seen, verifiers={n: replace(v, acceptance={0: Acceptance.ACCEPTED}) for n, v in seen.verifiers.items()}
    )
    asked = [(e.kind, e.serial) for e in decide(rotation(world), seen, world.now).effects]
    assert asked == ([(EffectKind.ENABLE, 1)] if entry is Entry.DISABLED else [])


def test_a_verifier_that_refuses_what_it_lists_is_not_told_again() -> None:
    """The new version fails there, which is why readers go back: it is on its list, and nothing is to be mended."""
    world = on_the_way_back()
    world.verifiers["g1"].table[1] = Entry.ACTIVE
    seen = world.observe()
    refusing = replace(seen.verifiers["g1"], acceptance={0: Acceptance.ACCEPTED, 1: Acceptance.REFUSED})
    seen = replace(seen, verifiers={**seen.verifiers, "g1": refusing})
    assert decide(rotation(world), seen, world.now).effects == ()


def test_what_the_authority_has_lost_takes_no_room_from_what_is_to_come_back() -> None:
    """Neither version is on any list: the old one is asked for alone until it is on one."""
    world = on_the_way_back()
    for verifier in world.verifiers.values():
        verifier.excused |= {0, 1}
        verifier.table |= {0: Entry.ABSENT, 1: Entry.ABSENT}
    asked = [(e.kind, e.serial) for e in decide(rotation(world), world.observe(), world.now).effects]
    assert asked == [(EffectKind.ENABLE, 0)]
    world.verifiers["g0"].table[0] = Entry.ACTIVE
    asked = [(e.kind, e.serial) for e in decide(rotation(world), world.observe(), world.now).effects]
    assert asked == [(EffectKind.ENABLE, 1), (EffectKind.ENABLE, 0)]


def test_late_mint_is_known_and_removed_after_a_rollback() -> None:
    """A mint whose outcome comes after the rollback names its version, which is then revoked and removed."""
    world = world_in(Phase.INTRODUCE)
    step(world)
    world.fates = [Fate.LATE]
    until(world, lambda: bool(world.late))
    world.command(commands.roll_back, by="ada", why="never mind")
    mint = world.late.pop()
    key_id = world.perform(mint)
    world._record(mint, key_id=key_id)
    final = until(world, ended(world))[-1].rotation
    assert final.versions[1].key_id == "k1"
    assert world.verifiers["g0"].table[1] is Entry.REVOKED


def test_refused_use_retreats_and_enables_at_once() -> None:
    """A real holder refused in RETIRE makes the old version accepted again, in the same tick's calls."""
    world = world_in(Phase.RETIRE)
    returning(world)
    back = until(world, lambda: rotation(world).phase is Phase.MONITOR)[-1]
    assert back.verdict.reason is Reason.REFUSED_USE
    assert [e.kind for e in back.effects] == [EffectKind.ENABLE]
    assert back.rotation.retreats == 1
    assert back.rotation.first_entered[Phase.MONITOR].at < back.rotation.entered.at


def test_too_many_retreats_hold_until_resumed() -> None:
    """A rotation that retreats too often stands until an operator resumes it, the old version accepted meanwhile."""
    world = world_in(Phase.RETIRE, maximum_retreats=0)
    sleeper = returning(world)
    back = until(world, lambda: rotation(world).hold is not None or rotation(world).phase is Phase.MONITOR)
    assert [e.kind for e in back[-1].effects] == [EffectKind.ENABLE]
    held = step(world)
    assert held.verdict.reason is Reason.TOO_MANY_RETREATS
    assert step(world).verdict.latch
    sleeper.refresh = seconds(20)
    world.command(commands.resume)
    assert rotation(world).retreats == 0
    until(world, ended(world))


def test_final_force_does_not_retreat() -> None:
    """After `--final` a refused use neither retreats nor blocks."""
    world = world_in(Phase.MONITOR)
    world.add_client(refresh=None, holds=0)
    world.command(commands.force, serial=0, by="ada", why="a dead machine", final=True)
    decisions = until(world, ended(world))
    assert decisions[0].verdict.reason is Reason.FORCED
    assert decisions[-1].rotation.phase is Phase.COMPLETED


def test_own_disable_that_lands_late_is_undone() -> None:
    """A disable sent before a retreat and done after it is our own doing: it is undone, not held as another's hand."""
    world = world_in(Phase.RETIRE)
    disable = Effect(id="late", kind=EffectKind.DISABLE, serial=0, verifiers=("g0", "g1"))
    returning(world)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    until(world, lambda: len(rotation(world).up) == 2)
    world.land(disable)
    assert [e.kind for e in step(world).effects] == [EffectKind.ENABLE]


def test_disable_asks_for_silence_each_time() -> None:
    """A disable that could not be done is not repeated once somebody uses the old version again."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.DISABLE)
    until(world, lambda: rotation(world).phase is Phase.RETIRE)
    assert step(world, 1).verdict.reason is Reason.QUARANTINED
    back = returning(world)
    until(world, lambda: 0 in back.last_use)
    world.denied.clear()
    world.command(commands.resume)
    waiting = step(world)
    assert waiting.verdict.reason is Reason.OLD_IN_USE
    assert not waiting.effects


# Verifiers


def test_joining_verifier_is_mended_in_overlap() -> None:
    """A verifier that joins gets old and new before the next wave."""
    world = world_in(Phase.OVERLAP)
    world.join()
    done = [e.kind for e in step(world).effects + step(world).effects]
    assert sorted(done) == [EffectKind.ENABLE, EffectKind.INSTALL]


def test_joining_verifier_is_mended_while_another_is_away() -> None:
    """What the old version waits for at one verifier keeps no other from getting the new one that readers have."""
    world = world_in(Phase.MONITOR)
    world.set_away(world.verifiers["g0"], True)
    world.join()
    joined = [(e.kind, e.serial) for d in (step(world), step(world)) for e in d.effects]
    assert joined == [(EffectKind.ENABLE, 0), (EffectKind.INSTALL, 1)]


def test_joining_verifier_gets_the_new_version_although_the_old_value_is_lost() -> None:
    """Under the hold for a lost way back, what readers have is given to a verifier that joins."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    assert step(world).verdict.reason is Reason.ROLLBACK_VALUE_LOST
    world.join()
    assert (EffectKind.INSTALL, 1) in [(e.kind, e.serial) for e in step(world).effects]


def test_value_signed_off_as_lost_is_awaited_at_no_verifier_that_joins() -> None:
    """A version that nobody can hand to a new verifier holds nothing up once an operator goes on without it."""
    world = world_in(Phase.MONITOR)
    world.lose_value(0)
    step(world)
    world.command(commands.accept_lost, seen=world.observe(), serial=0, by="ada", why="it was nowhere")
    world.join()
    until(world, ended(world))
    assert world.ended is not None
    assert world.ended.phase is Phase.COMPLETED


def test_verifier_that_comes_back_stale_in_the_soak_is_mended_and_the_soak_begins_anew() -> None:
    """A verifier that was away in RETIRE and accepts the old version again is no stranger's doing."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    begun = rotation(world).soak
    world.set_away(world.verifiers["g0"], True)
    step(world)
    world.rebuild(world.verifiers["g0"])
    world.verifiers["g0"].table[1] = Entry.ACTIVE
    assert [e.kind for e in step(world).effects] == [EffectKind.DISABLE]
    step(world)
    assert rotation(world).soak is not None
    assert rotation(world).soak != begun


@pytest.mark.parametrize(("phase", "serial"), [(Phase.MONITOR, 0), (Phase.MONITOR, 1), (Phase.RETIRE, 1)])
def test_table_changed_behind_our_back_is_held_not_mended(phase: Phase, serial: int) -> None:
    """A verifier that agreed and was never away, and now refuses, is reported, paused or not."""
    world = world_in(phase)
    step(world)
    step(world)
    world.lose(world.verifiers["g1"], serial)
    decision = step(world)
    assert decision.verdict.reason is Reason.AUTHORITY_CHANGED
    assert not decision.effects
    world.command(commands.pause, by="ada", why="a look", now=world.now)
    assert not step(world).effects
    world.mend_tables()
    world.command(commands.resume)
    until(world, ended(world))


def test_every_change_behind_our_back_is_named_at_once() -> None:
    """Two verifiers have each lost another version: whoever mends what the hold names has mended everything."""
    world = world_in(Phase.MONITOR)
    step(world)
    step(world)
    world.lose(world.verifiers["g0"], 0)
    world.lose(world.verifiers["g1"], 1)
    decision = step(world)
    assert decision.verdict.reason is Reason.AUTHORITY_CHANGED
    assert decision.verdict.detail == "g1 refuses v1 now; g0 refuses v0 now"
    assert decision.verdict.evidence == {"verifiers": ["g1", "g0"]}


def test_old_version_enabled_by_hand_in_the_soak_is_held() -> None:
    """Somebody enabled the disabled version: keyturn asks, and does not disable it again."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    world.verifiers["g1"].table[0] = Entry.ACTIVE
    decision = step(world)
    assert decision.verdict.reason is Reason.AUTHORITY_CHANGED
    assert "again" in decision.verdict.detail
    assert not decision.effects


def test_rollback_does_not_wait_for_an_unreachable_verifier() -> None:
    """On the way back a verifier that cannot be reached does not keep readers from the old version."""
    world = world_in(Phase.MONITOR)
    world.set_away(world.verifiers["g0"], True)
    world.command(commands.roll_back, by="ada", why="it fails")
    assert EffectKind.PROMOTE in [e.kind for e in step(world).effects]
    waiting = until(world, lambda: EffectKind.DISABLE in [line.kind for line in world.journal.values()])
    assert waiting
    assert step(world).verdict.reason is Reason.VERIFIER_UNREACHABLE
    world.set_away(world.verifiers["g0"], False)
    until(world, ended(world))


def test_authority_that_names_no_verifier_blocks() -> None:
    """No verifier is not every verifier."""
    world = world_in(Phase.MONITOR)
    nodes, world.verifiers = world.verifiers, {}
    assert step(world).verdict.reason is Reason.VERIFIER_UNREACHABLE
    world.verifiers = nodes
    until(world, ended(world))


def test_disable_that_still_settles_is_undone_at_once() -> None:
    """After a retreat the old version is enabled although older rules may still be served: nobody waits for our own
    disable to settle first. A verifier that had agreed and was changed by another's hand is left to the guard."""
    s = situation(world_in(Phase.MONITOR))
    name, old = min(s.seen.verifiers), s.old
    settling = replace(
        s.seen.verifiers[name],
        acceptance={**s.seen.verifiers[name].acceptance, old: Acceptance.UNSETTLED},
        entries={**s.seen.verifiers[name].entries, old: Entry.DISABLED},
    )
    seen = replace(s.seen, verifiers={**s.seen.verifiers, name: settling})
    retreated = establish.accept_kept(replace(s, seen=seen, rotation=replace(s.rotation, up=frozenset())))
    assert isinstance(retreated, tuple)
    assert [(one.kind, one.verifiers) for one in retreated] == [(EffectKind.ENABLE, (name,))]
    waiting = establish.accept_kept(replace(s, seen=seen))
    assert isinstance(waiting, Verdict)
    assert waiting.reason is Reason.NOT_ACCEPTED_YET


def test_version_that_was_not_tried_is_not_called_unreachable() -> None:
    """In the tick that mints, no verifier has been asked about the new version: that is said, not that it is away."""
    s = situation(world_in(Phase.OVERLAP))
    blind = {name: replace(seen, acceptance={s.old: Acceptance.ACCEPTED}) for name, seen in s.seen.verifiers.items()}
    verdict = establish.accept_new(replace(s, seen=replace(s.seen, verifiers=blind)))
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.detail) == (Reason.NOT_ACCEPTED_YET, f"v{s.new} has not been tried yet")


def test_what_is_enabled_again_is_judged_as_if_it_had_never_been_disabled() -> None:
    """A rollback has disabled the new version, somebody was refused with it, and it was abandoned: the rotation that takes
    over enables that version, and who was refused before brings back nothing when its time has come."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: all(v.table[1] is Entry.DISABLED for v in world.verifiers.values()))
    late = world.add_client(every=70, refresh=20, holds=1)
    world.command(commands.abandon, by="ada", why="forward")
    until(world, lambda: rotation(world).incoming == 2 and world.verifiers["g0"].table[1] is Entry.ACTIVE)
    until(world, lambda: 1 in late.last_refusal)
    assert 1 not in rotation(world).disabled_at
    until(world, lambda: rotation(world).phase is Phase.DESTROY)
    assert rotation(world).retreats == 0
    until(world, ended(world))


def test_what_was_refused_for_good_is_told_under_a_pause() -> None:
    """A verifier joins while the rotation is paused, and the authority lets nobody enable anything: a person hears of it
    now, and not when the pause is over; one command takes it up, and the freeze stays."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=seconds(3600))
    world.join()
    world.denied.add(EffectKind.ENABLE)
    held = until(world, lambda: rotation(world).hold is not None, 20)[-1]
    assert held.verdict.reason is Reason.QUARANTINED
    assert "enable is not permitted" in held.verdict.detail
    world.denied.clear()
    world.command(commands.resume)
    joined = until(world, lambda: all(v.table.get(0) is Entry.ACTIVE for v in world.verifiers.values()), 20)
    assert {decision.verdict.reason for decision in joined[1:]} <= {Reason.PAUSED}
    world.command(commands.resume)
    until(world, ended(world))


def test_what_was_refused_for_good_is_told_under_a_hold_that_it_would_end() -> None:
    """A hand takes our copy of the old version, and the target lets nobody write another: without it the rotation holds,
    and that would end only with what is not tried again. One command takes it up."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.STAGE)
    world.targets["t0"].copies.discard(0)
    world.robbed.add("t0")
    held = until(world, lambda: (stands := rotation(world).hold) is not None and stands.latched, 20)[-1]
    assert held.verdict.reason is Reason.QUARANTINED
    assert "stage is not permitted" in held.verdict.detail
    world.denied.clear()
    world.command(commands.resume)
    assert until(world, ended(world))[-1].rotation.phase is Phase.COMPLETED
