"""Deadlines: no phase waits in silence for ever (promise P10)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from keyturn.domain.model import Force, Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.policy import FORCEABLE, OnDeadline
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Verdict, hold, wait

SILENCE = frozenset(
    {
        Reason.CLIENTS_NOT_MOVED,
        Reason.OLD_IN_USE,
        Reason.CLIENTS_UNSEEN,
        Reason.SILENCE_UNKNOWN,
        Reason.DRAINING,
    }
)
"""What a force can stand in for."""


def time_left(s: Situation) -> timedelta:
    """How much of the phase's deadline is left; MONITOR's runs from its first entry, whatever retreats there were."""
    rotation = s.rotation
    since = rotation.entered
    if rotation.phase is Phase.MONITOR:
        since = rotation.first_entered.get(Phase.MONITOR, since)
    allowed = s.policy.deadline(rotation.phase).after * (rotation.extensions + 1)
    return allowed - rotation.elapsed(since, s.now)


def overdue(s: Situation, waiting: Verdict) -> Verdict | None:
    """What the deadline's policy rules when a phase has waited too long, else None."""
    if time_left(s) > timedelta(0):
        return None
    deadline = s.policy.deadline(s.rotation.phase)
    blocked = f"{deadline.after} are over; {waiting.reason.replace('_', ' ')}: {waiting.detail}"
    forceable = s.rotation.phase in FORCEABLE and waiting.reason in SILENCE and not s.rotation.deadline_spent
    if deadline.policy is OnDeadline.FORCE and forceable:
        return wait(Reason.FORCED, f"{deadline.owner}'s deadline: {blocked}")
    if deadline.policy is OnDeadline.EXTEND:
        return wait(Reason.DEADLINE_EXTENDED, blocked)
    # What readers are to have when the cut comes waits for nobody's word.
    hurry = s.hurried and s.phase_is(Phase.INTRODUCE, Phase.OVERLAP)
    held = hold(Reason.DEADLINE, blocked, latch=not (hurry or s.phase_is(Phase.ROLLBACK)))
    return replace(held, evidence={**waiting.evidence, "waiting": waiting.reason})


def spend(rotation: Rotation, verdict: Verdict) -> Rotation:
    """The rotation after a deadline has ruled: forced in its owner's name, or given the same time again."""
    if verdict.reason is Reason.FORCED:
        owner = rotation.policy.deadline(rotation.phase).owner or "deadline"
        force = Force(by=owner, why=verdict.detail)
        late = {serial: force for serial in rotation.versions if serial != rotation.survivor}
        return replace(rotation, forced={**late, **rotation.forced})
    if verdict.reason is Reason.DEADLINE_EXTENDED:
        return replace(rotation, extensions=rotation.extensions + 1)
    return rotation
