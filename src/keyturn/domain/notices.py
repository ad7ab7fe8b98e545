"""Who is told what: derived from what a decision changed, with ids that make every message once only."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.domain.effects import FEW, MANY, EffectKind, Message
from keyturn.domain.errors import PERMANENT
from keyturn.domain.model import Rotation
from keyturn.domain.observations import EffectSeen, ServingKind
from keyturn.domain.overdue import time_left
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import MEANING, Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Verdict

REMINDABLE = frozenset({Reason.CLIENTS_NOT_MOVED, Reason.OLD_IN_USE, Reason.CLIENTS_UNSEEN})
KEPT_FROM = {
    EffectKind.DISABLE: ("compromised.not_cut", "is compromised, and cannot be disabled"),
    EffectKind.MARK: ("compromised.not_marked", "is compromised, and that cannot be written beside the secret"),
    EffectKind.REVOKE: ("destroyed.not_revoked", "was destroyed, is alive again at a verifier, and cannot be revoked"),
}
"""What is done beside everything else to a version that is compromised or dead: topic and words for when it cannot be."""


def notices(before: Rotation, s: Situation, verdict: Verdict) -> tuple[Rotation, tuple[Message, ...]]:
    """The messages that follow from `before` having become `s.rotation` by `verdict`, and the rotation that remembers
    how far paging and reminding have come."""
    after = s.rotation
    messages = [*_transition(before, after, verdict), *_refresh(before, after)]
    if verdict.reason in (Reason.DEADLINE_EXTENDED, Reason.FORCED) and after.entry == before.entry:
        messages.append(_message(after, f"deadline/{after.extensions}", "rotation.deadline", verdict.detail))
    messages += [*_compromised_use(s), *_still_given(s), *_kept_from(s)]
    after, reminders = _remind(s, verdict)
    after, pages = _page(after, s.now)
    return after, (*messages, *reminders, *pages)


def _message(rotation: Rotation, what: str, topic: str, text: str, **details: str) -> Message:
    details = {"credential": rotation.credential, "rotation": rotation.id, "phase": rotation.phase, **details}
    return Message(
        id=f"{rotation.id}/{rotation.entry}/{what}", topic=topic, text=text, details=tuple(sorted(details.items()))
    )


def _transition(before: Rotation, after: Rotation, verdict: Verdict) -> list[Message]:
    if after.entry == before.entry:
        return []
    text = f"{after.credential}: {before.phase} → {after.phase}. {MEANING[verdict.reason]} {verdict.detail}".rstrip()
    return [_message(after, f"phase/{after.phase}", f"rotation.{after.phase}", text, reason=verdict.reason)]


def _refresh(before: Rotation, after: Rotation) -> list[Message]:
    """Clients of a target are told to fetch as soon as its readers get another version."""
    messages = []
    for target in after.promoted:
        if target in before.promoted:
            continue
        serial = after.restoring if after.restoring is not None else after.incoming
        text = f"{after.credential}: {target} now serves v{serial}; fetch it again"
        messages.append(
            _message(after, f"refresh/{target}", "client.refresh", text, target=target, version=str(serial))
        )
    return messages


def _compromised_use(s: Situation) -> list[Message]:
    """Whoever presents a compromised version after its cut is named, once; it stops and brings back nothing."""
    rotation = s.rotation
    return [
        Message(
            id=f"{rotation.credential}/compromised/v{serial}/{client}",
            topic="compromised.use",
            text=f"{rotation.credential}: {client} presents v{serial}, which is compromised and refused",
            details=(("client", client), ("credential", rotation.credential), ("version", str(serial))),
        )
        for serial in sorted(rotation.marks)
        for client in s.refused_users(serial)
    ]


def _still_given(s: Situation) -> list[Message]:
    """Whose readers get, or may get, what was cut off is told, once for each target: they are refused until they get
    another."""
    over = [serial for serial, mark in sorted(s.rotation.marks.items()) if mark.cut_at <= s.now and s.minted(serial)]
    told = []
    for target in s.rotation.targets:
        for serial in over if s.rotation.live else ():
            unread = s.serving(target).kind is ServingKind.UNKNOWN and target not in s.rotation.promoted
            if not (unread or s.serves(target, serial)):
                continue
            gives = "cannot be read, and may still give" if unread else "still gives"
            text = (
                f"{s.rotation.credential}: {target} {gives} v{serial} to its readers, which is compromised and refused"
            )
            about = (("credential", s.rotation.credential), ("target", target), ("version", str(serial)))
            told.append(
                Message(
                    id=f"{s.rotation.credential}/given/v{serial}/{target}",
                    topic="compromised.served",
                    text=text,
                    details=about,
                )
            )
    return told


def _kept_from(s: Situation) -> list[Message]:
    """That a compromised version cannot be disabled or marked beside the secret, or a dead one that has risen cannot be
    revoked, is nothing to find out later; each call once. It goes on being tried."""
    return [
        Message(
            id=f"{name}/refused",
            topic=KEPT_FROM[tried.kind][0],
            text=f"{s.rotation.credential}: v{tried.serial} {KEPT_FROM[tried.kind][1]}: {tried.message}",
            details=(("credential", s.rotation.credential), ("version", str(tried.serial))),
        )
        for name, tried in sorted(s.seen.effects.items())
        if tried.kind in KEPT_FROM and _beside_all(s, tried)
        if tried.failure in PERMANENT
        or (tried.failure is not None and tried.attempts >= _patience(tried) and not tried.succeeded)
    ]


def _patience(tried: EffectSeen) -> int:
    return FEW if tried.kind is EffectKind.DISABLE else MANY


def _beside_all(s: Situation, tried: EffectSeen) -> bool:
    """Whether a call is made beside everything else, so that no standstill tells of it."""
    if tried.kind is EffectKind.REVOKE:
        return tried.serial not in s.rotation.versions or tried.serial in s.rotation.proven
    return s.marked(tried.serial)


def _remind(s: Situation, verdict: Verdict) -> tuple[Rotation, list[Message]]:
    """Laggards are reminded each time half of what was left of the deadline is gone: harder as it nears."""
    rotation = s.rotation
    if rotation.phase is not Phase.MONITOR or verdict.reason not in REMINDABLE:
        return rotation, []
    allowed = s.policy.deadline(Phase.MONITOR).after * (rotation.extensions + 1)
    left, due = time_left(s), 0
    while due < 10 and left <= allowed / 2 ** (due + 1):
        due += 1
    if due <= rotation.reminded:
        return rotation, []
    text = f"{rotation.credential}: {verdict.detail}; {max(left, timedelta(0))} left"
    return replace(rotation, reminded=due), [_message(rotation, f"remind/{due}", "client.remind", text)]


def _page(rotation: Rotation, now: datetime) -> tuple[Rotation, list[Message]]:
    """A standstill pages when it begins and again and again until it ends."""
    held = rotation.halted or rotation.hold
    if held is None:
        return rotation, []
    due = 1 + int((now - held.since) / rotation.policy.time_between_pages)
    if due <= held.pages:
        return rotation, []
    topic = "rotation.halted" if rotation.halted is not None else "rotation.held"
    text = f"{rotation.credential} stands in {rotation.phase}: {MEANING[held.reason]} {held.detail}".rstrip()
    what = f"stand/{held.reason}/{held.since.isoformat()}/{due}"
    paged = replace(held, pages=due)
    after = replace(rotation, hold=paged) if rotation.halted is None else replace(rotation, halted=paged)
    return after, [_message(rotation, what, topic, text, reason=held.reason)]
