"""The machine: one pure function decides, from tables.

Rules: the guards of `CHAIN` are asked in order and the first verdict wins; when none rules, the rows of the phase are
walked in order, and the first whose post-condition is not observed says what to do; when every row is done the rotation
advances. A transition takes the edge that `EDGES` names for its phase and ruling; there is no other way to change phase.

A hold, pause or halt commits no new intent but those of `STANDING` rows, which only re-establish what was already true, or
see a ROLLBACK to its end, and of `ALWAYS`: readers are given back what a hand or a late call took from them, who has
moved is not cut off on the way back, and what is compromised is cut off in its time, whatever stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.domain.absorb import absorb
from keyturn.domain.effects import MANY, Effect, EffectKind, Message
from keyturn.domain.errors import PERMANENT
from keyturn.domain.establish import reassert
from keyturn.domain.guards import CHAIN
from keyturn.domain.model import Rotation, VersionState
from keyturn.domain.notices import notices
from keyturn.domain.observations import EffectSeen, Observations
from keyturn.domain.overdue import overdue, spend
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.room import make_room
from keyturn.domain.rows import Outcome, Row
from keyturn.domain.situation import Situation
from keyturn.domain.succession import buried, succeed
from keyturn.domain.tables import ALWAYS, EDGES, PHASES, STANDING
from keyturn.domain.transitions import REFUSED, commit_to, enter, stand
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait
from keyturn.domain.withdraw import accept_withdrawn

MOVING = frozenset({Ruling.ADVANCE, Ruling.RETREAT, Ruling.ROLL_BACK, Ruling.SUPERSEDE})
FAILURES = frozenset({Reason.NEW_VERSION_FAILS, Reason.NEW_VERSION_REFUSED, Reason.NEW_VALUE_LOST})
REFUSED_FOR_GOOD = frozenset({Reason.QUARANTINED, Reason.EFFECT_FAILED})
TROUBLE = REFUSED_FOR_GOOD | {Reason.EFFECT_RETRYING}
CUTTING = frozenset({EffectKind.DISABLE, EffectKind.REVOKE, EffectKind.MARK})
"""What is done to a version that is compromised or dead, and is tried again whatever refuses it."""
HALTING = frozenset({Phase.INTRODUCE, Phase.DESTROY, Phase.ROLLBACK})
"""Phases in which a call that was refused for good leaves nothing better to do than to stop for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from what was seen: the rotation as it is to be remembered, what to do, whom to tell, and why."""

    rotation: Rotation
    successor: Rotation | None = None
    """The rotation that takes over in the same commit, when this one ends as SUPERSEDED."""
    effects: tuple[Effect, ...] = ()
    messages: tuple[Message, ...] = ()
    verdict: Verdict


def decide(rotation: Rotation, seen: Observations, now: datetime) -> Decision:
    """The one place where a rotation's next step is decided; one that has ended is kept as its end left it.

    Pure: the same arguments give the same decision, and nothing else is looked at. Raises `KeyError` for a ruling that
    has no edge, which is a defect in the tables.
    """
    s = Situation(rotation=absorb(rotation, seen, now), seen=seen, now=now)
    ruled, effects = _rule(s)
    verdict = _without_way_back(s, ruled)
    if verdict.ruling is Ruling.HALT and ruled.ruling is not Ruling.HALT:
        effects = _standing(s)[0]
    after, successor = s.rotation, None
    if not after.live and verdict.ruling is Ruling.ADVANCE:
        verdict = wait(Reason.AT_REST)
    if verdict.ruling in MOVING:
        verdict, after = _take(s, verdict)
        if after.live:
            _, effects = _rule(s.beside(after))
    else:
        after = spend(stand(after, verdict, now), verdict)
    if after.phase is Phase.SUPERSEDED:
        successor = succeed(s, failed=verdict.reason in FAILURES)
        for serial in buried(s):
            # Remembered as dead, or nobody would bury it again at a verifier that comes back, or heed its tripwire.
            after = after.with_version(serial, VersionState.DESTROYED)
        effects = ()
    if after.live:
        effects = _beside(s.beside(after), effects)
    after = commit_to(after, effects, now)
    after, messages = notices(rotation, s.beside(after), verdict)
    return Decision(rotation=after, successor=successor, effects=effects, messages=messages, verdict=verdict)


def _without_way_back(s: Situation, verdict: Verdict) -> Verdict:
    """Where nothing that is not compromised can be restored, rolling back means that another rotation takes over; but one
    new version after another that fails is a person's matter."""
    failed_before = verdict.reason in FAILURES and s.old in s.rotation.failed
    if verdict.ruling is not Ruling.ROLL_BACK or (s.restorable and not failed_before):
        return verdict
    if verdict.reason in FAILURES and len(s.rotation.failed) >= s.policy.maximum_remints:
        return replace(verdict, ruling=Ruling.HALT, reason=Reason.TOO_MANY_REMINTS)
    return replace(verdict, ruling=Ruling.SUPERSEDE)


def _beside(s: Situation, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """What is done beside everything else, and the effects that it does not do already."""
    others: dict[str, Effect] = {}
    going = _making_room(s)
    for row in ALWAYS:
        tries = _tries(s, _effects(row(s)))
        # No refusal ends the tries to cut off what is compromised; what readers are to be given is resumed by a person.
        again = [one for one, before in tries.refused if one.kind in CUTTING and not _later(before, s.now)]
        # What goes for want of room is given to nobody meanwhile, whatever an operator wants overwritten.
        ready = [one for one in tries.ready if one.kind in CUTTING or one.serial not in going]
        others |= {one.id: one for one in (*ready, *again)}
    return (*others.values(), *(one for one in effects if one.id not in others))


def _effects(outcome: Outcome) -> tuple[Effect, ...]:
    """What a row has to do, if anything can be done."""
    return outcome if isinstance(outcome, tuple) else ()


def _rule(s: Situation) -> tuple[Verdict, tuple[Effect, ...]]:
    """The verdict on a situation, and the effects that go with it."""
    phase = s.rotation.phase
    for guard, phases in CHAIN:
        if phase in phases and (verdict := guard(s)) is not None:
            if verdict.ruling in (Ruling.HOLD, Ruling.WAIT, Ruling.HALT):
                effects, trouble = _standing(s)
                refused = trouble is not None and trouble.reason in REFUSED_FOR_GOOD
                if trouble is None or not refused:
                    return verdict, effects
                # What was refused for good waits for a person: nothing silences it.
                if verdict.latch or verdict.ruling is Ruling.HALT:
                    return _which_names(trouble, verdict), effects
                return (_beside_which(trouble, verdict) if verdict.ruling is Ruling.HOLD else trouble), effects
            return verdict, ()
    verdict, effects = _walk(s, PHASES[phase])
    if verdict.ruling in (Ruling.WAIT, Ruling.HOLD):
        # What one row waits for, or asks for in vain, keeps no other from making true again what was; but what goes to make
        # room is not brought back meanwhile. On the way back that is done by the rows themselves, and beside them.
        back = phase is Phase.ROLLBACK
        standing, trouble = ((), _trouble(s, _effects(accept_withdrawn(s)))) if back else _standing(s)
        going = _making_room(s)
        effects += tuple(one for one in standing if one not in effects and one.serial not in going)
        if trouble is not None and verdict.reason not in TROUBLE:
            return replace(_beside_which(trouble, verdict), latch=False), effects  # it stops nothing else
    if verdict.ruling is Ruling.WAIT and s.rotation.live and (late := overdue(s, verdict)) is not None:
        return late, _standing(s)[0] if late.latch else effects
    return verdict, effects


def _making_room(s: Situation) -> set[int]:
    """What goes for want of room for the new version."""
    return {one.serial for one in _effects(make_room(s))} if s.phase_is(Phase.INTRODUCE) else set()


def _beside_which(trouble: Verdict, verdict: Verdict) -> Verdict:
    """What a person is called for, and what the rotation waits for besides."""
    return replace(trouble, detail=f"{trouble.detail}; {verdict.detail}", evidence=verdict.evidence)


def _which_names(trouble: Verdict, verdict: Verdict) -> Verdict:
    """What a person is called for already, and what else they will find: their word tries that once more too."""
    if trouble.detail in verdict.detail:
        return verdict
    named = {**verdict.evidence, REFUSED: trouble.detail}
    return replace(verdict, detail=f"{verdict.detail}; {trouble.detail}", evidence=named)


def _standing(s: Situation) -> tuple[tuple[Effect, ...], Verdict | None]:
    """What may still be done while the rotation stands: re-establish, never go on. And the trouble with it, if any."""
    phase = s.rotation.phase
    rows = STANDING.get(phase, ())
    if rows == PHASES[phase]:
        return _walk(s, rows)[1], None
    outstanding = [_effects(row(s)) for row in rows]
    # What nobody gets, and is to make room, is not brought back for as long as that stands.
    idle = _making_room(s) - {s.serving(target).serial for target in s.rotation.targets}
    outstanding = [tuple(one for one in found if one.serial not in idle) for found in outstanding]
    # What an operator wants overwritten is asked for beside all this; whether it is in vain is told here.
    troubles = [_trouble(s, found) for found in (*outstanding, _effects(reassert(s)))]
    told = sorted((one for one in troubles if one is not None), key=lambda one: one.reason not in REFUSED_FOR_GOOD)
    return tuple(one for found in outstanding for one in _tries(s, found).ready), told[0] if told else None


def _walk(s: Situation, rows: tuple[Row, ...]) -> tuple[Verdict, tuple[Effect, ...]]:
    for row in rows:
        outcome = row(s)
        if isinstance(outcome, Verdict):
            return outcome, ()
        if outcome:
            return _attempt(s, outcome)
    return Verdict(ruling=Ruling.ADVANCE, reason=Reason.ACCEPTED_EVERYWHERE), ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tries:
    """Outstanding effects, by what the journal says of earlier tries."""

    ready: tuple[Effect, ...]
    later: tuple[EffectSeen, ...]
    """Not before their time."""
    refused: tuple[tuple[Effect, EffectSeen], ...]
    """For good, and not to be tried again by ourselves."""


def _tries(s: Situation, outstanding: tuple[Effect, ...]) -> _Tries:
    ready, later, refused = [], [], []
    for one in outstanding:
        before = s.seen.effects.get(one.id)
        if before is not None and before.failure in PERMANENT and not _retried_at_rest(s, before):
            refused.append((one, before))
        elif before is not None and _later(before, s.now):
            later.append(before)
        else:
            ready.append(one)
    return _Tries(ready=tuple(ready), later=tuple(later), refused=tuple(refused))


def _later(before: EffectSeen | None, now: datetime) -> bool:
    return before is not None and before.retry_at is not None and before.retry_at > now


def _retried_at_rest(s: Situation, before: EffectSeen) -> bool:
    """An ended rotation cannot be resumed: what it was refused is tried again at the pace at which it is looked after."""
    since = before.retry_at
    return not s.rotation.live and (since is None or since + s.policy.drift_every <= s.now)


def _attempt(s: Situation, outstanding: tuple[Effect, ...]) -> tuple[Verdict, tuple[Effect, ...]]:
    """Which of the outstanding effects may be tried now. One that was refused for good is not tried again before an
    operator resumes; a rollback goes on with its other effects as long as there are any."""
    tries = _tries(s, outstanding)
    if (trouble := _trouble(s, outstanding)) is not None:
        others = tries.ready or tries.later
        if tries.refused and s.rotation.phase in HALTING and not (s.phase_is(Phase.ROLLBACK) and others):
            return Verdict(ruling=Ruling.HALT, reason=Reason.EFFECT_FAILED, detail=trouble.detail), ()
        return trouble, tries.ready
    names = _named(outstanding)
    if tries.ready:
        return wait(Reason.EFFECTS_OUTSTANDING, names), tries.ready
    soonest = min(before.retry_at for before in tries.later if before.retry_at is not None)
    return wait(Reason.EFFECT_RETRYING, f"{names}: {tries.later[0].message}", until=soonest), ()


def _trouble(s: Situation, outstanding: tuple[Effect, ...]) -> Verdict | None:
    """What a person is told of these effects: that one was refused for good, or is asked for again and again in vain."""
    if refused := _tries(s, outstanding).refused:
        said = "; ".join(dict.fromkeys(before.message for _, before in refused))
        return hold(Reason.QUARANTINED, said, latch=s.rotation.live)
    before = [seen for one in outstanding if (seen := s.seen.effects.get(one.id)) is not None]
    worst = max(before, key=lambda seen: seen.attempts, default=None)
    if worst is None or worst.attempts < MANY:
        return None
    last = worst.message if worst.failure is not None else "each is said to be done, and nothing has changed"
    return hold(Reason.EFFECT_RETRYING, f"{_named(outstanding)}, tried {worst.attempts} times: {last}")


def _named(effects: tuple[Effect, ...]) -> str:
    return ", ".join(sorted({one.kind.replace("_", " ") for one in effects}))


def _take(s: Situation, verdict: Verdict) -> tuple[Verdict, Rotation]:
    """Follow the edge of a ruling."""
    to, reason = EDGES[s.rotation.phase, verdict.ruling]
    if reason is not None:
        forces = sorted(s.rotation.forced.items()) if s.rotation.phase is Phase.MONITOR else []
        verdict = replace(verdict, reason=Reason.FORCED if forces else reason)
        if forces:
            words = "; ".join(f"v{serial}: {force.by}: {force.why}" for serial, force in forces)
            verdict = replace(verdict, detail=words)
        elif to in (Phase.RETIRE, Phase.DESTROY) and s.hurried and not any(s.kept(v) for v in s.rotation.outgoing):
            marked = ", ".join(f"v{serial}" for serial in sorted(s.rotation.marks))
            verdict = replace(verdict, reason=Reason.GRACE, detail=f"the users of {marked} are not awaited")
        elif to is Phase.OVERLAP and (away := [v for v in s.seen.verifiers if s.left_out(v)]):
            verdict = replace(verdict, detail=f"left out, for they cannot be reached: {', '.join(sorted(away))}")
    return verdict, enter(s, verdict, to)
