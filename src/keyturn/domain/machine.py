"""The machine: one pure function decides, from tables.

Rules: the guards of `CHAIN` are asked in order and the first verdict wins; when none rules, the rows of the phase are
walked in order, and the first whose post-condition is not observed says what to do; when every row is done the rotation
advances. A transition takes the edge that `EDGES` names for its phase and ruling; there is no other way to change phase.

A hold, pause or halt commits no new intent but those of `STANDING` rows, which only re-establish what was already true,
and of ROLLBACK, which runs to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.domain import steps
from keyturn.domain.absorb import absorb
from keyturn.domain.effects import Effect, EffectKind, Message
from keyturn.domain.errors import FailureKind
from keyturn.domain.guards import CHAIN
from keyturn.domain.model import Hold, Rotation, VersionState
from keyturn.domain.notices import notices
from keyturn.domain.observations import Observations
from keyturn.domain.overdue import overdue, spend
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.steps import Row
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait

PHASES: Mapping[Phase, tuple[Row, ...]] = {
    Phase.INTRODUCE: (steps.keep_old, steps.mint, steps.stage_new, steps.accept_new),
    Phase.OVERLAP: (
        steps.accept_old,
        steps.accept_new,
        steps.promote_waves,
        steps.bake_last_wave,
        steps.minimum_overlap,
    ),
    Phase.MONITOR: (
        steps.accept_old,
        steps.accept_new,
        steps.served_everywhere,
        steps.clients_moved,
        steps.old_silent,
    ),
    Phase.RETIRE: (
        steps.accept_new,
        steps.served_everywhere,
        steps.old_silent,
        steps.disable_doomed,
        steps.soaked,
    ),
    Phase.DESTROY: (
        steps.accept_new,
        steps.served_everywhere,
        steps.revoke_doomed,
        steps.prove_dead,
        steps.remove_copies,
    ),
    Phase.ROLLBACK: (
        steps.accept_restored,
        steps.promote_restored,
        steps.served_everywhere,
        steps.drained,
        steps.disable_doomed,
        steps.revoke_doomed,
        steps.prove_dead,
        steps.remove_copies,
    ),
}

STANDING: Mapping[Phase, tuple[Row, ...]] = {
    Phase.OVERLAP: (steps.accept_old, steps.accept_new),
    Phase.MONITOR: (steps.accept_old, steps.accept_new),
    Phase.RETIRE: (steps.accept_new,),
    Phase.ROLLBACK: PHASES[Phase.ROLLBACK],
}

EDGES: Mapping[tuple[Phase, Ruling], tuple[Phase, Reason | None]] = {
    (Phase.INTRODUCE, Ruling.ADVANCE): (Phase.OVERLAP, Reason.ACCEPTED_EVERYWHERE),
    (Phase.INTRODUCE, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.OVERLAP, Ruling.ADVANCE): (Phase.MONITOR, Reason.OVERLAP_PASSED),
    (Phase.OVERLAP, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.MONITOR, Ruling.ADVANCE): (Phase.RETIRE, Reason.OLD_SILENT),
    (Phase.MONITOR, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.RETIRE, Ruling.ADVANCE): (Phase.DESTROY, Reason.SOAKED),
    (Phase.RETIRE, Ruling.RETREAT): (Phase.MONITOR, None),
    (Phase.RETIRE, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.DESTROY, Ruling.ADVANCE): (Phase.COMPLETED, Reason.PROVEN_DEAD),
    (Phase.ROLLBACK, Ruling.ADVANCE): (Phase.ROLLED_BACK, Reason.RESTORED),
}
"""(phase, ruling) → (next phase, its reason when the verdict brings none). A test draws and documents these."""

PERMANENT = frozenset({FailureKind.DENIED, FailureKind.INVALID})
HALTING = frozenset({Phase.INTRODUCE, Phase.DESTROY, Phase.ROLLBACK})
"""Phases in which a call that was refused for good leaves nothing better to do than to stop for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from what was seen: the rotation as it is to be remembered, what to do, whom to tell, and why."""

    rotation: Rotation
    effects: tuple[Effect, ...] = ()
    messages: tuple[Message, ...] = ()
    verdict: Verdict


def decide(rotation: Rotation, seen: Observations, now: datetime) -> Decision:
    """The one place where a rotation's next step is decided.

    Pure: the same arguments give the same decision, and nothing else is looked at. Raises `KeyError` for a ruling that
    has no edge, which is a defect in the tables.
    """
    s = Situation(rotation=absorb(rotation, seen, now), seen=seen, now=now)
    verdict, effects = _rule(s)
    after = s.rotation
    if verdict.ruling in (Ruling.ADVANCE, Ruling.RETREAT, Ruling.ROLL_BACK):
        verdict, after = _take(s, verdict)
        if after.live:
            _, effects = _rule(replace(s, rotation=after))
    else:
        after = spend(_stand(after, verdict, now), verdict)
    after = _commit_to(after, effects, now)
    after, messages = notices(rotation, replace(s, rotation=after), verdict)
    return Decision(rotation=after, effects=effects, messages=messages, verdict=verdict)


def _rule(s: Situation) -> tuple[Verdict, tuple[Effect, ...]]:
    """The verdict on a situation, and the effects that go with it."""
    phase = s.rotation.phase
    for guard, phases in CHAIN:
        if phase in phases and (verdict := guard(s)) is not None:
            if verdict.ruling in (Ruling.HOLD, Ruling.WAIT):
                return verdict, _standing(s)
            return verdict, ()
    verdict, effects = _walk(s, PHASES[phase])
    if verdict.ruling is Ruling.WAIT and (late := overdue(s, verdict)) is not None:
        return late, effects if late.ruling is Ruling.WAIT else _standing(s)
    return verdict, effects


def _standing(s: Situation) -> tuple[Effect, ...]:
    """What may still be done while the rotation stands: re-establish, never go on."""
    _, effects = _walk(s, STANDING.get(s.rotation.phase, ()))
    return effects


def _walk(s: Situation, rows: tuple[Row, ...]) -> tuple[Verdict, tuple[Effect, ...]]:
    for row in rows:
        outcome = row(s)
        if isinstance(outcome, Verdict):
            return outcome, ()
        if outcome:
            return _attempt(s, outcome)
    return Verdict(ruling=Ruling.ADVANCE, reason=Reason.ACCEPTED_EVERYWHERE), ()


def _attempt(s: Situation, outstanding: tuple[Effect, ...]) -> tuple[Verdict, tuple[Effect, ...]]:
    """Which of the outstanding effects may be tried now, after what the journal says of earlier tries."""
    ready, later, refused = [], [], []
    for one in outstanding:
        before = s.seen.effects.get(one.id)
        if before is not None and before.failure in PERMANENT:
            refused.append(before.message)
        if before is not None and before.retry_at is not None and before.retry_at > s.now:
            later.append(before)
        else:
            ready.append(one)
    if refused and s.rotation.phase in HALTING:
        return Verdict(ruling=Ruling.HALT, reason=Reason.EFFECT_FAILED, detail=refused[0]), ()
    if refused:
        return hold(Reason.EFFECT_FAILED, refused[0]), tuple(ready)
    names = ", ".join(sorted({one.kind.replace("_", " ") for one in outstanding}))
    if ready:
        return wait(Reason.EFFECTS_OUTSTANDING, names), tuple(ready)
    soonest = min(before.retry_at for before in later if before.retry_at is not None)
    return wait(Reason.EFFECT_RETRYING, f"{names}: {later[0].message}", until=soonest), ()


def _take(s: Situation, verdict: Verdict) -> tuple[Verdict, Rotation]:
    """Follow the edge of a ruling."""
    to, reason = EDGES[s.rotation.phase, verdict.ruling]
    if reason is not None:
        forced = s.rotation.force is not None and s.rotation.phase is Phase.MONITOR
        verdict = replace(verdict, reason=Reason.FORCED if forced else reason)
        if forced and s.rotation.force is not None:
            verdict = replace(verdict, detail=f"{s.rotation.force.by}: {s.rotation.force.why}")
    after = _stand(s.rotation, None, s.now)
    stamp = after.stamp(s.now)
    first = {**after.first_entered}
    first.setdefault(to, stamp)
    after = replace(
        after,
        phase=to,
        entry=after.entry + 1,
        entered=stamp,
        first_entered=first,
        cause=verdict.reason,
        hold=None,
        halted=None,
        extensions=after.extensions if verdict.ruling is Ruling.RETREAT else 0,
    )
    return verdict, _ENTERING[to](after) if to in _ENTERING else after


def _enter_monitor(after: Rotation) -> Rotation:
    for serial in after.outgoing:
        after = after.with_version(serial, VersionState.PREVIOUS)
    after = after.with_version(after.incoming, VersionState.CURRENT)
    if not after.disabled_at:
        return after
    return replace(
        after,
        retreats=after.retreats + 1,
        disabled_at={},
        soak=None,
        up=frozenset(),
        deadline_spent=after.deadline_spent or after.force is not None,
        force=None,
    )


def _enter_rollback(after: Rotation) -> Rotation:
    old = after.outgoing[0]
    after = after.with_version(old, VersionState.CURRENT)
    if after.versions[after.incoming].state is VersionState.CURRENT:
        after = after.with_version(after.incoming, VersionState.PREVIOUS)
    return replace(after, restoring=old, promoted={}, up=frozenset(), force=None, soak=None, pause=None)


def _enter_end(after: Rotation) -> Rotation:
    survivor = after.incoming if after.restoring is None else after.restoring
    for serial in after.versions:
        after = after.with_version(serial, VersionState.DESTROYED)
    return after.with_version(survivor, VersionState.CURRENT)


_ENTERING = {
    Phase.MONITOR: _enter_monitor,
    Phase.ROLLBACK: _enter_rollback,
    Phase.COMPLETED: _enter_end,
    Phase.ROLLED_BACK: _enter_end,
}


def _stand(rotation: Rotation, verdict: Verdict | None, now: datetime) -> Rotation:
    """Begin, keep or end a standstill; the rotation's clock stops with it."""
    ruling = verdict.ruling if verdict is not None else None
    standing = ruling in (Ruling.HOLD, Ruling.HALT) or (verdict is not None and verdict.reason is Reason.PAUSED)
    if standing and rotation.stopped_since is None:
        rotation = replace(rotation, stopped_since=now)
    if not standing and rotation.stopped_since is not None:
        stopped = rotation.stopped_for + (now - rotation.stopped_since)
        rotation = replace(rotation, stopped_since=None, stopped_for=stopped)
    if verdict is None or ruling not in (Ruling.HOLD, Ruling.HALT):
        return replace(rotation, hold=None)
    before = rotation.halted if ruling is Ruling.HALT else rotation.hold
    if ruling is Ruling.HOLD and before is not None and before.latched and not verdict.latch:
        return rotation  # a hold that passes by itself does not end one that only an operator ends
    same = before is not None and before.reason is verdict.reason
    held = Hold(
        reason=verdict.reason,
        since=before.since if same and before is not None else now,
        latched=verdict.latch or ruling is Ruling.HALT,
        detail=verdict.detail,
        pages=before.pages if same and before is not None else 0,
    )
    return replace(rotation, halted=held, hold=None) if ruling is Ruling.HALT else replace(rotation, hold=held)


def _commit_to(rotation: Rotation, effects: tuple[Effect, ...], now: datetime) -> Rotation:
    """What the intents themselves change, remembered in the same commit, whether they are ever sent or not."""
    for one in effects:
        if one.kind is EffectKind.PROMOTE and one.target is not None:
            rotation = replace(rotation, promised=rotation.promised | {(one.target, one.serial)})
        if one.kind is EffectKind.DISABLE:
            disabled = {one.serial: now, **rotation.disabled_at}
            rotation = replace(rotation, disabled_at=disabled, soak=None)  # a soak with a gap in it begins anew
            rotation = rotation.with_version(one.serial, VersionState.DISABLED)
        if one.kind is EffectKind.REVOKE and rotation.phase is Phase.DESTROY:
            rotation = replace(rotation, revoking=True)
    return rotation
