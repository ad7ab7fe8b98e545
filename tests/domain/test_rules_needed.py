"""Each rule of MACHINE.md is needed: with it taken out, and nothing else, its trace breaks the promise that it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from tests.domain import test_traces as traces
from tests.mutants.sabotages import promises_forgotten
from tests.mutants.surgery import (
    Patch,
    asked_first,
    drop,
    edge,
    gone,
    guards_replaced,
    no_guard,
    row_replaced,
    together,
)

from keyturn.domain import absorb, commands, establish, guards, machine, succession
from keyturn.domain.effects import EffectKind
from keyturn.domain.model import Mark, Rotation
from keyturn.domain.phases import ENDS, Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import Outcome
from keyturn.domain.situation import Quiet, Situation
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A rule taken out, and what becomes of its trace."""

    rule: str
    trace: Callable[..., None]
    arguments: tuple[object, ...] = ()
    patch: Patch
    breaks: str
    """What the trace finds, in a few words of it."""


def missing_at_any_time(s: Situation) -> Verdict | None:
    """A copy of the old version that is not there is a loss, whoever removed it."""
    lost = [t for t in s.rotation.targets if s.old not in (s.copies(t) or ())]
    return hold(Reason.ROLLBACK_VALUE_LOST, targets=lost) if lost and s.rotation.promoted else None


def only_what_readers_got(patch: pytest.MonkeyPatch) -> None:
    """A successor takes over what readers ever got."""
    patch.setattr(succession, "_buried", lambda s, serial: serial not in s.rotation.served)


def only_the_new_goes(patch: pytest.MonkeyPatch) -> None:
    """A rollback takes away what it introduced."""
    every = Situation.doomed.fget  # type: ignore[attr-defined]

    def doomed(s: Situation) -> tuple[int, ...]:
        return (s.new,) if s.rotation.restoring is not None else every(s)

    patch.setattr(Situation, "doomed", property(doomed))


def promoted_once(patch: pytest.MonkeyPatch) -> None:
    """Since when readers get the new version is not asked again when they get another meanwhile."""
    renewed = absorb._promoted
    patch.setattr(absorb, "_promoted", lambda s: {**renewed(s), **s.rotation.promoted})


def no_cap(patch: pytest.MonkeyPatch) -> None:
    """A grace ends so long after the last promote, and not before."""
    report = Mark

    def uncapped(*, cut_at: datetime, **arguments: object) -> Mark:
        return report(cut_at=cut_at + timedelta(days=365), **arguments)  # type: ignore[arg-type]

    patch.setattr(commands, "Mark", uncapped)


def any_refused_use(s: Situation) -> Verdict | None:
    """Whoever was refused brings a version back."""
    users = [user for serial in s.rotation.outgoing for user in s.refused_users(serial)]
    return Verdict(ruling=Ruling.RETREAT, reason=Reason.REFUSED_USE, detail=", ".join(users)) if users else None


def restorable_unless_marked(patch: pytest.MonkeyPatch) -> None:
    """What is being revoked may come back."""
    patch.setattr(Situation, "restorable", property(lambda s: not s.marked(s.old)))
    edge(Phase.DESTROY, Ruling.ROLL_BACK, Phase.ROLLBACK)(patch)


def the_failed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A successor takes over the outgoing versions alone."""
    every = succession.succeed

    def without(s: Situation, *, failed: bool) -> Rotation:
        after = every(s, failed=failed)
        outgoing = tuple(serial for serial in after.outgoing if serial != s.new)
        versions = {serial: version for serial, version in after.versions.items() if serial != s.new}
        return replace(after, outgoing=outgoing, versions=versions)

    patch.setattr(machine, "succeed", without)


def mended_once(s: Situation) -> Outcome:
    """Verifiers are brought to accept what is restored, and not looked at again."""
    return None if s.rotation.promoted else establish.accept_survivor(s)


def silent_since_ever(patch: pytest.MonkeyPatch) -> None:
    """Silence before the last promote counts too."""
    whole = Situation.quiet

    def quiet(s: Situation, serial: int, *, since: datetime | None, least: timedelta | None = None) -> Quiet:
        del since
        return whole(s, serial, since=None, least=least)

    patch.setattr(Situation, "quiet", quiet)


def paused_for_ever(s: Situation) -> Verdict | None:
    """A pause lasts until it is resumed."""
    return wait(Reason.PAUSED) if s.rotation.pause is not None else None


def halts_everywhere(patch: pytest.MonkeyPatch) -> None:
    """A call that is refused for good halts in any phase."""
    patch.setattr(machine, "HALTING", LIVE)


def obstacle_to_everybody(s: Situation) -> Verdict | None:
    """Nobody's word lets an obstacle pass."""
    return guards.obstacle(replace(s, rotation=replace(s.rotation, passed=frozenset())))


LIVE = frozenset(Phase) - ENDS
AFTER_THE_END = {
    EffectKind.DISABLE: ("accept_survivor", "accepted: set()"),
    EffectKind.STAGE: ("remove_copies", "kept: {1}"),
    EffectKind.INSTALL: ("revoke_doomed", "accepted: {0, 1}"),
}

REMOVALS = (
    Removal(
        rule="1: what our own intents explain is not missing",
        trace=traces.test_1_a_removed_copy_of_the_old_is_no_loss_in_destroy,
        patch=guards_replaced(guards.way_back_lost, missing_at_any_time, LIVE),
        breaks="never: destroy",
    ),
    Removal(
        rule="2: a successor takes over every version that is not buried",
        trace=traces.test_2_a_successor_takes_over_what_was_minted_and_rolled_back,
        patch=only_what_readers_got,
        breaks="P5: forgotten",
    ),
    Removal(
        rule="3: a rollback destroys every other version",
        trace=traces.test_3_a_rollback_takes_away_every_other_version,
        patch=only_the_new_goes,
        breaks="P5: v0",
    ),
    Removal(
        rule="4: a promote that was on its way is undone",
        trace=traces.test_4_a_promote_of_a_marked_version_that_lands_late_is_undone,
        patch=drop(Phase.ROLLBACK, "promote_restored", "reassert"),
        breaks="P2: v1 is taken away while t0 serves v1",
    ),
    Removal(
        rule="5: ever promoted counts the intent",
        trace=traces.test_5_a_rollback_spends_what_a_late_promote_still_holds,
        patch=promises_forgotten,
        breaks="P1: t1 serves v1",
    ),
    Removal(
        rule="6: an emergency lifts a pause",
        trace=traces.test_6_neither_pause_nor_foreign_target_nor_missing_promote_keeps_the_cut,
        patch=lambda patch: patch.setattr(commands, "unstopped", lambda rotation: rotation),
        breaks="pause",
    ),
    Removal(
        rule="6: the cut keeps its time under whatever stands",
        trace=traces.test_6_neither_pause_nor_foreign_target_nor_missing_promote_keeps_the_cut,
        patch=gone("cut_marked"),
        breaks="its time is over",
    ),
    Removal(
        rule="6: the grace has a cap",
        trace=traces.test_6_neither_pause_nor_foreign_target_nor_missing_promote_keeps_the_cut,
        patch=no_cap,
        breaks="beyond the grace's cap",
    ),
    Removal(
        rule="7: nobody's refused use brings back what is compromised",
        trace=traces.test_7_an_attacker_with_the_marked_key_stops_nothing_and_is_named,
        patch=guards_replaced(guards.refused_use, any_refused_use, frozenset({Phase.RETIRE})),
        breaks="3 retreats",
    ),
    Removal(
        rule="8: from the first revoke on nothing is restored",
        trace=traces.test_8_the_new_marked_while_the_old_is_half_revoked,
        patch=restorable_unless_marked,
        breaks="destroy is followed by rollback",
    ),
    Removal(
        rule="9: the successor's set has the failed one",
        trace=traces.test_9_the_new_fails_after_the_old_was_marked,
        patch=the_failed_is_forgotten,
        breaks="P5: forgotten",
    ),
    Removal(
        rule="10: a rollback in vain may be abandoned",
        trace=traces.test_10_a_rollback_in_vain_is_abandoned,
        patch=no_guard(guards.given_up),
        breaks="what an operator gave up goes on to rollback",
    ),
    Removal(
        rule="11: nothing is taken away while a target serves it",
        trace=traces.test_11_a_hand_that_gives_back_the_old_is_not_destroyed_under,
        patch=together(gone("served_everywhere"), no_guard(guards.anothers_hand), promoted_once),
        breaks="P2: v0 is taken away while t0 serves v0",
    ),
    Removal(
        rule="12: post-conditions of earlier phases are looked at again",
        trace=traces.test_12_a_verifier_left_out_returns_stale_and_is_mended,
        patch=together(
            *(drop(phase, "accept_new") for phase in LIVE - {Phase.INTRODUCE, Phase.ROLLBACK}),
            *(drop(phase, "accept_new", of="STANDING") for phase in guards.WATCHED),
        ),
        breaks="g0 is not mended",
    ),
    Removal(
        rule="13: a verifier that returns is mended before it counts as up",
        trace=traces.test_13_a_verifier_that_is_away_in_a_rollback_is_mended_when_it_returns,
        patch=row_replaced(Phase.ROLLBACK, establish.accept_survivor, mended_once),
        breaks="g1 is not mended",
    ),
    Removal(
        rule="14: MONITOR has the old version accepted",
        trace=traces.test_14_a_retreat_whose_enable_was_never_sent_is_done_in_monitor,
        patch=together(gone("accept_kept"), gone("old_accepted")),
        breaks="v0 stays disabled",
    ),
    *(
        Removal(
            rule=f"15: after an end {kind} is undone",
            trace=traces.test_15_a_late_call_after_the_end_is_found_and_undone,
            arguments=(kind,),
            patch=drop(Phase.ROLLED_BACK, row),
            breaks=breaks,
        )
        for kind, (row, breaks) in AFTER_THE_END.items()
    ),
    Removal(
        rule="16: a rollback removes staged copies",
        trace=traces.test_16_a_rollback_out_of_introduce_leaves_no_copy,
        patch=drop(Phase.ROLLBACK, "remove_copies"),
        breaks="copies of {0, 1} are left",
    ),
    Removal(
        rule="17: a full authority gives one version up",
        trace=traces.test_17_a_full_authority_loses_the_marked_version_on_the_fewest_targets,
        patch=drop(Phase.INTRODUCE, "make_room"),
        breaks="there is no room for it",
    ),
    Removal(
        rule="18: silence counts from the last promote",
        trace=traces.test_18_a_version_silent_already_is_drained_from_the_promote_on,
        patch=silent_since_ever,
        breaks="P2",
    ),
    Removal(
        rule="19: a pause pages when it has expired",
        trace=traces.test_19_a_pause_pages_when_it_has_expired,
        patch=guards_replaced(guards.paused, paused_for_ever, guards.STOPPABLE),
        breaks="P10: monitor has stood",
    ),
    *(
        Removal(
            rule=f"20: force stands in for silence only, not in {phase}",
            trace=traces.test_20_force_stands_in_for_silence_only,
            arguments=(phase,),
            patch=lambda patch: patch.setattr(commands, "FORCEABLE", LIVE),
            breaks="DID NOT RAISE",
        )
        for phase in (Phase.INTRODUCE, Phase.OVERLAP, Phase.RETIRE, Phase.DESTROY)
    ),
    Removal(
        rule="21: RETIRE does not halt",
        trace=traces.test_21_retire_does_not_halt_and_retreats_all_the_same,
        patch=halts_everywhere,
        breaks="it halts",
    ),
    Removal(
        rule="21: nor would a halt forbid the retreat",
        trace=traces.test_21_retire_does_not_halt_and_retreats_all_the_same,
        patch=together(halts_everywhere, asked_first(guards.halted)),
        breaks="were refused what is kept",
    ),
    Removal(
        rule="22: nothing is minted over an obstacle",
        trace=traces.test_22_an_obstacle_is_passed_by_name_in_an_emergency_alone,
        patch=no_guard(guards.obstacle),
        breaks="Reason.OBSTACLE",
    ),
    Removal(
        rule="22: in an emergency an operator's word lets it pass",
        trace=traces.test_22_an_obstacle_is_passed_by_name_in_an_emergency_alone,
        patch=guards_replaced(guards.obstacle, obstacle_to_everybody, frozenset({Phase.INTRODUCE})),
        breaks="never: introduce",
    ),
)


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.rule)
def test_a_rule_is_needed(removal: Removal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule its trace fails, with the promise that the rule keeps."""
    removal.patch(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)) as found:
        removal.trace(*removal.arguments)
    assert removal.breaks in str(found.value)


def test_every_trace_has_its_rule() -> None:
    """No trace of MACHINE.md stands without a rule whose removal it notices."""
    numbered = {name for name in vars(traces) if name.startswith("test_") and name.split("_")[1].isdigit()}
    assert {removal.trace.__name__ for removal in REMOVALS} == numbered
    assert len(numbered) == 22
