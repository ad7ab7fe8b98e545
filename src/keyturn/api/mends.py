"""What an operator can do about a standstill, as the exact commands."""

from __future__ import annotations

from datetime import datetime
from shlex import quote

from keyturn.domain.model import Rotation
from keyturn.domain.observations import Observations, ServingKind
from keyturn.domain.overdue import SILENCE
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Ruling, Verdict

HANDS = frozenset({Reason.TARGET_FOREIGN, Reason.TARGET_MISSING})
DOUBTS = frozenset({Reason.AUTHORITY_ILL, Reason.FAILURES_SPREAD, Reason.AUTHORITY_CHANGED})
"""What an operator may take for a failing version."""
LOST = frozenset({Reason.ROLLBACK_VALUE_LOST, Reason.UNPROVEN})


def mend(rotation: Rotation, verdict: Verdict, seen: Observations | None, now: datetime) -> str:
    """What ends a standstill, in one or two sentences."""
    said = ""
    if verdict.reason in HANDS and seen is not None:
        said = _hand(Situation(rotation=rotation, seen=seen, now=now))
    elif verdict.reason is Reason.OBSTACLE and rotation.marks:
        at, found = str(verdict.evidence.get("target", "")), str(verdict.evidence.get("id", ""))
        said = f"{_command(rotation, 'accept', target=at, found=found)} lets the emergency pass it."
    elif verdict.reason in LOST:
        lost = verdict.evidence.get("serial")
        said = f"{_command(rotation, 'accept', lost=lost)} goes on without it."
    elif verdict.reason is Reason.DEADLINE:
        said = _late(rotation, verdict)
    return said or _plainly(rotation, verdict)


def sooner(rotation: Rotation, verdict: Verdict, now: datetime) -> str:
    """How a wait is cut short that one command ends: of a grace, and for an owner's word. Empty for any other."""
    if verdict.reason is Reason.CLIENTS_UNSEEN:
        return f"{_command(rotation, 'ack')} says for its owner that every client is known."
    running = [serial for serial, mark in rotation.marks.items() if mark.cut_at > now]
    if verdict.reason not in (Reason.GRACE, Reason.NO_ROOM) or not running:
        return ""
    first = min(running, key=lambda serial: rotation.marks[serial].cut_at)
    return f"{_command(rotation, 'emergency', version=first, cut_now=True)} does not wait for it."


def _plainly(rotation: Rotation, verdict: Verdict) -> str:
    resume = f"`keyturn resume {rotation.credential}`"
    if verdict.ruling is Ruling.HALT:
        return f"{resume} tries again, {_command(rotation, 'abandon')} gives it up for another rotation."
    if verdict.reason is Reason.QUARANTINED and rotation.live:
        return f"Mend what it names; {resume} then tries once more."
    vain = verdict.reason is Reason.EFFECT_RETRYING and rotation.phase in (Phase.ROLLBACK, Phase.DESTROY)
    if vain or (verdict.reason in DOUBTS and rotation.one_way):
        return f"It ends with its cause; {_command(rotation, 'abandon')} gives it up for another rotation."
    latched = verdict.latch or (rotation.hold is not None and rotation.hold.latched)
    return f"{resume} ends it." if latched else "It ends with its cause."


def _hand(s: Situation) -> str:
    """For the first target whose readers get what the rotation does not explain. A latched hold outlives its cause, so
    it is the world that is asked, and not the hold."""
    for target in s.rotation.targets:
        serving = s.serving(target)
        foreign = serving.kind is ServingKind.FOREIGN
        others = serving.kind is ServingKind.OURS and serving.serial not in s.explained(target)
        if not (foreign or others or serving.kind is ServingKind.MISSING):
            continue
        wanted, found = s.called_for(target), serving.id or ""
        ways, lost = [], s.lost_for_good(wanted)
        if s.givable(wanted) and not lost:
            command = _command(s.rotation, "reassert", target=target, found=found)
            ways.append(f"{command} gives its readers v{wanted}")
        if foreign:
            ways.append(f"{_command(s.rotation, 'accept', target=target, found=found)} adopts what is there")
        if lost:
            ways.append(f"{_command(s.rotation, 'abandon')} gives it up for a new version")
        return f"{', '.join(ways)}." if ways else ""
    return ""


def _late(rotation: Rotation, verdict: Verdict) -> str:
    """A deadline is over: more time, or somebody's word in the place of silence, where that is what is waited for, and on
    the way back in that of a target that is away."""
    waited_for = [serial for serial in rotation.versions if serial not in (rotation.survivor, *rotation.marks)]
    able = {Phase.MONITOR: SILENCE, Phase.ROLLBACK: SILENCE | {Reason.TARGET_UNKNOWN}}.get(rotation.phase, frozenset())
    if verdict.evidence.get("waiting") not in able or not waited_for:
        return ""
    more = (
        "" if rotation.phase is Phase.ROLLBACK else f"`keyturn resume {rotation.credential}` gives it that time again, "
    )
    return f"{more}{_command(rotation, 'force', version=waited_for[0])} stands in for silence."


def _command(rotation: Rotation, what: str, **options: object) -> str:
    """A command line as it is typed, but for the reason."""
    words = ["keyturn", what, rotation.credential]
    for option, given in options.items():
        words.append(f"--{option.replace('_', '-')}")
        if given is not True:
            words.append(quote(str(given)))
    return f"`{' '.join(words)} --reason TEXT`"
