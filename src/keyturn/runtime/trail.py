"""What of a decision goes on record: every change of phase, every standstill that begins or ends, and every key that is
taken away though no version is (promise P9)."""

from __future__ import annotations

from datetime import datetime

from keyturn.domain.effects import EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Hold, Rotation
from keyturn.domain.observations import Observations
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Evidence
from keyturn.ports.records import HistoryEntry
from keyturn.runtime.values import copy_token

ON_RECORD = frozenset({Reason.FORCED, Reason.DEADLINE_EXTENDED})
"""Verdicts that change no phase but must be found again."""


def trail(before: Rotation, decision: Decision, seen: Observations, now: datetime) -> tuple[HistoryEntry, ...]:
    """The lines that a decision adds to the credential's trail."""
    after, verdict = decision.rotation, decision.verdict

    def entry(kind: str, reason: str, detail: str) -> HistoryEntry:
        return HistoryEntry(
            at=now,
            credential=after.credential,
            rotation=after.id,
            phase=after.phase,
            kind=kind,
            reason=reason,
            detail=detail,
            evidence=verdict.evidence,
        )

    stood, stands = _standing(before), _standing(after)
    lines = [
        entry("cut", Reason.GRACE, f"v{serial} is compromised and its time is over: it is disabled everywhere")
        for serial in sorted(after.disabled_at)
        if serial in after.marks and serial not in before.disabled_at
    ]
    lines += [
        entry("left_out", Reason.TARGET_UNKNOWN, f"{target} is not configured any more{_left_at(target, before, seen)}")
        for target in before.targets
        if target not in after.targets
    ]
    lines += [
        entry("taken_in", Reason.SURVIVOR_NOT_SERVED, f"{target} is configured, and takes part")
        for target in after.targets
        if target not in before.targets
    ]
    makes = after.adopting is None and any(one.kind is EffectKind.MINT for one in decision.effects)
    lines += [entry("revoke", Reason.ORPHAN, one.id) for one in seen.orphans if makes]
    if stood is not None and (stands is None or stands.reason is not stood.reason):
        lines.append(entry("released", stood.reason, ""))
    if after.entry != before.entry:
        lines.append(entry("transition", verdict.reason, verdict.detail))
    elif verdict.reason in ON_RECORD:
        lines.append(entry("deadline", verdict.reason, verdict.detail))
    if stands is not None and (stood is None or stood.reason is not stands.reason):
        lines.append(entry("halt" if after.halted is not None else "hold", stands.reason, stands.detail))
    return tuple(lines)


def _left_at(target: str, rotation: Rotation, seen: Observations) -> str:
    """The copies that may be left at a target that nobody looks at any more, by the names that they have there: they hold
    values, and are a person's to remove."""
    removed = {
        one.serial
        for one in seen.effects.values()
        if one.kind is EffectKind.REMOVE and one.target == target and one.succeeded
    }
    left = [
        copy_token(rotation, serial)
        for serial, version in sorted(rotation.versions.items())
        if version.key_id is not None and serial not in removed
    ]
    return f"; copies that may be left there: {', '.join(left)}" if left else ""


def commanded(
    name: str, rotation: Rotation | None, what: str, *, by: str, now: datetime, evidence: Evidence | None = None
) -> HistoryEntry:
    """The line for what a person asked for, of a credential's rotation or before it has had any: the command's name, what
    it was said of, and why."""
    return HistoryEntry(
        at=now,
        credential=name,
        rotation="" if rotation is None else rotation.id,
        phase=Phase.COMPLETED if rotation is None else rotation.phase,
        kind="command",
        reason=what.partition(":")[0].partition(" ")[0],
        detail=what,
        evidence=evidence or {},
        by=by,
    )


def _standing(rotation: Rotation) -> Hold | None:
    return rotation.halted or rotation.hold
