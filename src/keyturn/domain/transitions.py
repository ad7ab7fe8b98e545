"""What changes in a rotation when it enters a phase, stands still, or commits to a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.model import Force, Hold, Rotation, VersionState
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Ruling, Verdict

REFUSED = "refused"
"""Under this name the evidence of a hold says which call was refused for good beside what it stands for."""


def enter(s: Situation, verdict: Verdict, to: Phase) -> Rotation:
    """The rotation in its next phase, by a verdict."""
    after = stand(s.rotation, None, s.now)
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
    return _ENTERING[to](after) if to in _ENTERING else after


def _enter_monitor(after: Rotation) -> Rotation:
    for serial in after.outgoing:
        version = after.versions[serial]
        if version.compromised_at is None or version.state is VersionState.CURRENT:
            after = after.with_version(serial, VersionState.PREVIOUS)
    after = after.with_version(after.incoming, VersionState.CURRENT)
    if Phase.RETIRE not in after.first_entered:
        return after
    stays = after.marks.keys() | final(after.forced).keys()
    return replace(
        after,
        retreats=after.retreats + 1,
        disabled_at={serial: at for serial, at in after.disabled_at.items() if serial in stays},
        soak=None,
        up=frozenset(),
        deadline_spent=after.deadline_spent or bool(after.forced),
        forced=final(after.forced),
    )


def final(forced: Mapping[int, Force]) -> dict[int, Force]:
    """The forces that no refused use, and no rotation that takes over, undoes."""
    return {serial: force for serial, force in forced.items() if force.final}


def _enter_rollback(after: Rotation) -> Rotation:
    old = after.outgoing[0]
    after = after.with_version(old, VersionState.CURRENT)
    if after.versions[after.incoming].state is VersionState.CURRENT:
        after = after.with_version(after.incoming, VersionState.PREVIOUS)
    forced = {serial: force for serial, force in final(after.forced).items() if serial != old}
    return replace(after, restoring=old, promoted={}, up=frozenset(), forced=forced, soak=None, pause=None)


def _enter_end(after: Rotation) -> Rotation:
    for serial in after.versions:
        after = after.with_version(serial, VersionState.DESTROYED)
    return replace(after.with_version(after.survivor, VersionState.CURRENT), up=frozenset())


_ENTERING = {
    Phase.MONITOR: _enter_monitor,
    Phase.ROLLBACK: _enter_rollback,
    Phase.COMPLETED: _enter_end,
    Phase.ROLLED_BACK: _enter_end,
}


def stand(rotation: Rotation, verdict: Verdict | None, now: datetime) -> Rotation:
    """Begin, keep or end a standstill; the rotation's clock stops with it."""
    ruling = verdict.ruling if verdict is not None else None
    standing = ruling in (Ruling.HOLD, Ruling.HALT) or (verdict is not None and verdict.reason is Reason.PAUSED)
    if standing and rotation.stopped_since is None:
        rotation = replace(rotation, stopped_since=now)
    if not standing and rotation.stopped_since is not None:
        stopped = rotation.stopped_for + (now - rotation.stopped_since)
        rotation = replace(rotation, stopped_since=None, stopped_for=stopped)
    if verdict is None or ruling not in (Ruling.HOLD, Ruling.HALT):
        return rotation if rotation.hold is None else replace(rotation, hold=None)
    before = rotation.halted if ruling is Ruling.HALT else rotation.hold
    same = before is not None and before.reason is verdict.reason
    held = Hold(
        reason=verdict.reason,
        since=before.since if same and before is not None else now,
        latched=verdict.latch or ruling is Ruling.HALT,
        detail=verdict.detail,
        evidence=verdict.evidence,
        pages=before.pages if same and before is not None else 0,
    )
    if ruling is Ruling.HALT:
        return rotation if held == before and rotation.hold is None else replace(rotation, halted=held, hold=None)
    return rotation if held == before else replace(rotation, hold=held)


def unstopped(rotation: Rotation) -> Rotation:
    """Without pause, hold or halt; what was refused for good is tried once more, under an id of its own."""
    hold = rotation.hold
    named = hold is not None and (hold.reason is Reason.QUARANTINED or REFUSED in hold.evidence)
    refused = rotation.halted is not None or named
    return replace(
        rotation,
        pause=None,
        hold=None,
        halted=None,
        retreats=0,
        entry=rotation.entry + (1 if refused else 0),
    )


def commit_to(rotation: Rotation, effects: tuple[Effect, ...], now: datetime) -> Rotation:
    """What the intents themselves change, remembered in the same commit, whether they are ever sent or not."""
    for one in effects:
        if one.kind is EffectKind.PROMOTE and one.target is not None:
            promised = rotation.promised | {(one.target, one.serial)}
            rotation = replace(rotation, promised=promised, served=rotation.served | {one.serial})
        if one.kind is EffectKind.DISABLE:
            disabled = {one.serial: now, **rotation.disabled_at}
            # A soak with a gap in it begins anew; what is compromised is not soaked for.
            soak = rotation.soak if one.serial in rotation.marks else None
            rotation = replace(rotation, disabled_at=disabled, soak=soak)
            rotation = rotation.with_version(one.serial, VersionState.DISABLED)
        if one.kind is EffectKind.ENABLE and one.serial in rotation.disabled_at:
            # What is accepted again is judged as if it had never been disabled: by its users from now on.
            disabled = {serial: at for serial, at in rotation.disabled_at.items() if serial != one.serial}
            rotation = replace(rotation, disabled_at=disabled)
        if one.kind is EffectKind.REVOKE:
            rotation = replace(rotation, revoked=rotation.revoked | {one.serial})
    return rotation
