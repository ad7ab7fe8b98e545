"""The first line of a status: what blocks, in words, and the earliest time it can clear."""

from __future__ import annotations

from datetime import datetime

from keyturn.api.mends import mend, sooner
from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import MEANING, Reason
from keyturn.domain.verdicts import Ruling, Verdict
from keyturn.runtime.status import Status

BEFORE = {
    Ruling.ADVANCE: "moves on at the next tick",
    Ruling.RETREAT: "goes back to monitor at the next tick",
    Ruling.ROLL_BACK: "rolls back at the next tick",
    Ruling.SUPERSEDE: "gives way to another rotation at the next tick",
}
"""What moves a rotation, before it is done."""

AFTER = {
    Ruling.ADVANCE: "has just come here",
    Ruling.RETREAT: "has just gone back",
    Ruling.ROLL_BACK: "has just turned back",
    Ruling.SUPERSEDE: "has just given way to another rotation",
}
"""The same when the last tick has done it: the rotation is in its new phase, for that reason."""

WORDS = {
    Ruling.WAIT: "waits",
    Ruling.HOLD: "HOLDS",
    Ruling.HALT: "is HALTED",
}


def headline(status: Status, now: datetime) -> str:
    """One line for a person in a hurry."""
    name, said = status.credential.name, _stands(status, now)
    if status.trouble is None:
        return f"{name}: {said}"
    # What was ruled last was ruled before that.
    return f"{name}: {status.trouble}; as it was seen last: {said}"


def _stands(status: Status, now: datetime) -> str:
    name, rotation, verdict = status.credential.name, status.rotation, status.verdict
    if status.credential.restored_at is not None:
        since = _time(status.credential.restored_at)
        return (
            f"its store was restored from a backup at {since}, and nothing is done for it until "
            f"`keyturn adopt {name}` has shown what is different and you confirm it"
        )
    if rotation is None:
        return f"no rotation has run yet; {_due(status)}"
    if not rotation.live:
        return f"{_ended(status, rotation)}; {_due(status)}"
    way = f"{_emergency(rotation, now)}{_way(rotation)} in {rotation.phase}"
    if verdict is None:
        return f"{way}: what blocks is not known yet"
    words = WORDS | (AFTER if rotation.cause is verdict.reason else BEFORE)
    if rotation.phase is Phase.ROLLBACK and verdict.ruling is not Ruling.ROLL_BACK:
        way += _turned_back(status)
    return f"{way} {words[verdict.ruling]}: {_why(verdict)} {_clears(status, rotation, verdict, now)}".rstrip()


def _turned_back(status: Status) -> str:
    """Why readers were given the old version back, which the verdict of that tick said and later ones do not."""
    back = status.turned_back
    return "" if back is None else f" ({back.detail or MEANING[Reason(back.reason)].rstrip('.')})"


def _ended(status: Status, rotation: Rotation) -> str:
    if rotation.phase is Phase.SUPERSEDED:
        return f"{rotation.id} gave way to another rotation at {_time(rotation.entered.at)}"
    ended = f"the last rotation ended as {rotation.phase} at {_time(rotation.entered.at)}{_turned_back(status)}"
    if rotation.hold is None:
        return ended
    return f"{ended}, and is not as it was left: {rotation.hold.detail or MEANING[rotation.hold.reason].rstrip('.')}"


def _way(rotation: Rotation) -> str:
    outgoing = ", ".join(f"v{serial}" for serial in rotation.outgoing)
    gave_way = f"{rotation.supersedes} gave way to {rotation.id}: " if rotation.supersedes is not None else ""
    return f"{gave_way}{outgoing} → v{rotation.incoming}"


def _emergency(rotation: Rotation, now: datetime) -> str:
    """What is compromised, and until when it may still be used."""
    said = []
    for serial, mark in sorted(rotation.marks.items()):
        if mark.cut_at > now:
            said.append(f"v{serial} compromised, cut off at {_time(mark.cut_at)} at the latest")
        elif serial in rotation.disabled_at:
            said.append(f"v{serial} compromised, cut off since {_time(rotation.disabled_at[serial])}")
        else:
            said.append(f"v{serial} compromised, to be cut off now")
    return f"EMERGENCY: {', '.join(said)}; " if said else ""


def _why(verdict: Verdict) -> str:
    meaning = MEANING[verdict.reason]
    return f"{meaning.rstrip('.')}: {verdict.detail}." if verdict.detail else meaning


def _clears(status: Status, rotation: Rotation, verdict: Verdict, now: datetime) -> str:
    if rotation.pause is not None and verdict.reason in (Reason.PAUSED, Reason.PAUSE_EXPIRED):
        return f"`keyturn resume {rotation.credential}` ends it; it pages from {_time(rotation.pause.until)} on."
    if verdict.ruling in (Ruling.HOLD, Ruling.HALT):
        return mend(rotation, verdict, status.seen, now)
    if verdict.ruling is not Ruling.WAIT:
        return ""
    if verdict.until is None:
        return sooner(rotation, verdict, now) or "No earliest time is known."
    if verdict.until <= now:
        return "Clears at the next tick, unless something else blocks then."
    lasting = _span((verdict.until - now).total_seconds())
    clears = f"Clears at {_time(verdict.until)} at the earliest ({lasting})."
    return f"{clears} {sooner(rotation, verdict, now)}".rstrip()


def _due(status: Status) -> str:
    due = status.credential.due_at
    return f"the next is due at {_time(due)}" if due is not None else "the next starts on command"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    """A span as people say it, its two largest units."""
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return "in " + " ".join(parts[:2])
