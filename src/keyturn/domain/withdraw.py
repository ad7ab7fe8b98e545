"""Rows that take something away: who must have moved, what must be silent, and then disable, revoke, prove, remove."""

from __future__ import annotations

from datetime import timedelta

from keyturn.domain.effects import EffectKind
from keyturn.domain.establish import not_served
from keyturn.domain.observations import AUTHORITY, Acceptance, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import (
    REFUSING,
    Outcome,
    effect,
    settling,
    unknown_target,
    unreachable,
    while_blind,
    who_is_blind,
)
from keyturn.domain.situation import Quiet, Situation
from keyturn.domain.verdicts import Verdict, hold, wait


def served_everywhere(s: Situation) -> Outcome:
    """Every target's readers are known to get the survivor: nothing is taken away before (MACHINE.md, traces 11, 12)."""
    others = [t for t in s.rotation.targets if not s.serves(t, s.survivor)]
    return not_served(s, others) if others else None


def clients_moved(s: Situation) -> Verdict | None:
    """Every known client has succeeded with the new version, or is vouched for, or is gone. Nobody is awaited where no
    version is left that they could stay on."""
    if not any(s.kept(serial) and serial not in s.rotation.forced for serial in s.rotation.outgoing):
        return None
    if s.seen.usage.watermark is None:
        return wait(Reason.SILENCE_UNKNOWN, who_is_blind(s))
    laggards = s.laggards()
    if laggards:
        return wait(
            Reason.CLIENTS_NOT_MOVED,
            f"{', '.join(laggards)} not seen to succeed with v{s.new}",
            clients=list(laggards),
        )
    return None


def old_silent(s: Situation) -> Verdict | None:
    """Every outgoing version that is not compromised is known silent for each client's required time (promise P2), and
    the history is long enough to say who the clients are."""
    promoted = s.last_promote()
    awaited = [serial for serial in s.rotation.outgoing if _awaited(s, serial)]
    for serial in awaited:
        quiet = s.quiet(serial, since=promoted.at if promoted is not None else None)
        if (verdict := _awaits(s, Reason.OLD_IN_USE, serial, quiet)) is not None:
            return verdict
    if awaited and s.seen.usage.unseen > s.policy.unseen_share:
        return wait(
            Reason.CLIENTS_UNSEEN,
            f"with a chance of {s.seen.usage.unseen:.0%} the next use is by a client that was never seen",
        )
    return None


def drained(s: Situation) -> Verdict | None:
    """Whoever had moved to a withdrawn version is back: it is known silent since the restored one was promoted. For a
    compromised one its grace stands instead."""
    for serial in sorted(set(s.doomed) & s.rotation.served):
        verdict = grace(s, serial) if s.marked(serial) else _draining(s, serial)
        if verdict is not None:
            return verdict
    return None


def _draining(s: Situation, serial: int) -> Verdict | None:
    if not _awaited(s, serial):
        return None
    restored = s.last_promote()
    since = restored.at if restored is not None else s.rotation.entered.at
    quiet = s.quiet(serial, since=since, least=max(s.policy.drain, s.policy.minimum_overlap))
    return _awaits(s, Reason.DRAINING, serial, quiet)


def accept_withdrawn(s: Situation) -> Outcome:
    """On the way back whoever has moved is not cut off (promise P3): a withdrawn version stays accepted until its drain is
    over, also by a verifier that comes back with an older table."""
    if not s.phase_is(Phase.ROLLBACK):
        return None
    lacking = []
    back = all(s.serves(target, s.survivor) for target in s.rotation.targets)
    listed = any(s.entry(verifier, s.survivor) is Entry.ACTIVE for verifier in s.seen.verifiers)
    for serial in s.doomed:
        # Who is refused with it since it was disabled is not back.
        gone = serial in s.rotation.disabled_at and not s.refused_users(serial)
        if gone or serial in s.rotation.revoked or not _awaited(s, serial) or (back and _draining(s, serial) is None):
            continue
        # Who lists it as active and refuses it has nothing to mend. Where it is on no list its value is needed, and room for
        # it, which what is to come back has first.
        mendable = {Entry.DISABLED, Entry.ABSENT} if listed and s.readable(serial) else {Entry.DISABLED}
        mended = tuple(v for v in s.verifiers(serial, *REFUSING) if s.entry(v, serial) in mendable)
        if mended:
            lacking.append(effect(s, EffectKind.ENABLE, serial, verifiers=mended))
    return tuple(lacking) or None


def _awaited(s: Situation, serial: int) -> bool:
    """Whether a version may be in use, so that its silence is to be known. What is revoked at one verifier, as by another's
    hand, may be in use at the others."""
    gone = serial in s.rotation.revoked and refused_everywhere(s, serial)
    return serial in s.rotation.served and not (s.marked(serial) or serial in s.rotation.forced or gone)


def _awaits(s: Situation, reason: Reason, serial: int, quiet: Quiet) -> Verdict | None:
    if not quiet.known:
        return wait(Reason.SILENCE_UNKNOWN, who_is_blind(s))
    if not quiet.users:
        return None
    name, missing = max(quiet.users, key=lambda user: user[1])
    return wait(
        reason,
        f"v{serial} must be silent for {missing} more ({name}){while_blind(s)}",
        until=s.now + missing,
        clients=[user for user, _ in quiet.users],
    )


def grace(s: Situation, serial: int) -> Verdict | None:
    """A compromised version is not taken away before its time, which the cut keeps."""
    cut = s.cut(serial)
    if cut is None or cut <= s.now:
        return None
    return wait(Reason.GRACE, f"v{serial} is disabled at {cut:%H:%M:%S} UTC", until=cut)


def cut_marked(s: Situation) -> Outcome:
    """A compromised version whose time is over is refused everywhere, whatever else stands or is under way."""
    late = [
        effect(s, EffectKind.DISABLE, serial, verifiers=still)
        for serial in s.rotation.versions
        if s.marked(serial) and s.minted(serial) and grace(s, serial) is None
        if (still := accepting(s, serial))
    ]
    return tuple(late) or None


def accepting(s: Situation, serial: int) -> tuple[str, ...]:
    """Verifiers that accept a version, or list it as one that they do."""
    active = {v for v in s.seen.verifiers if s.entry(v, serial) is Entry.ACTIVE}
    return tuple(sorted(active | set(s.still(serial, Acceptance.ACCEPTED))))


def mark_beside(s: Situation) -> Outcome:
    """That a version is compromised is written beside the secret at every target, so that it survives our store."""
    marked = [serial for serial in sorted(s.rotation.versions) if s.marked(serial) and s.minted(serial)]
    lacking = [
        effect(s, EffectKind.MARK, serial, target=t)
        for t in s.rotation.targets
        for serial in marked
        if s.copies(t) is not None and serial not in s.seen.targets[t].marked
    ]
    return tuple(lacking) or None


def disable_doomed(s: Situation) -> Outcome:
    """Every verifier refuses the versions that are not to survive, one named version at a time; a compromised one when
    its grace is over."""
    for serial in s.doomed:
        if not s.minted(serial) or serial in s.rotation.proven:
            continue
        if s.marked(serial) and (verdict := grace(s, serial)) is not None:
            return verdict
        if still := s.still(serial, Acceptance.ACCEPTED):
            return (effect(s, EffectKind.DISABLE, serial, verifiers=still),)
        if unsettled := s.still(serial, Acceptance.UNSETTLED):
            return settling(unsettled)
        if away := s.still(serial, Acceptance.UNREACHABLE):
            return unreachable("ask", away)
    return None


def soaked(s: Situation) -> Verdict | None:
    """The old version was refused everywhere for the whole soak, and the sources have told all of it. What can not come
    back anyway is not soaked."""
    if not any(s.kept(serial) for serial in s.rotation.outgoing) and not s.rotation.forced:
        return None
    if s.rotation.soak is None:
        return wait(Reason.SOAKING, "the soak has not begun")
    missing = s.policy.soak - s.rotation.elapsed(s.rotation.soak, s.now)
    if missing > timedelta(0):
        return wait(Reason.SOAKING, f"{missing} left", until=s.now + missing)
    for watermark in (s.seen.usage.watermark, s.seen.usage.failure_watermark):
        if not s.watched(s.rotation.soak, s.policy.soak, watermark):
            detail = f"the usage sources have not reported the whole soak yet{while_blind(s)}"
            return wait(Reason.WATERMARK_BEHIND, detail)
    return None


def revoke_doomed(s: Situation) -> Outcome:
    """The authority lists every doomed version as revoked, on every verifier; a tombstone keeps late calls out. Between
    rotations, where another's hand gives one to readers, that is held for, and nothing is taken away under them, but what is
    compromised (promise P8)."""
    for serial in s.doomed:
        given = not s.rotation.live and any(s.serves(target, serial) for target in s.rotation.targets)
        if (given and not s.marked(serial)) or not s.minted(serial):
            continue
        entries = {v: s.entry(v, serial) for v in sorted(s.seen.verifiers)}
        lacking = tuple(v for v, entry in entries.items() if entry not in (Entry.REVOKED, Entry.UNKNOWN))
        if lacking:
            return (effect(s, EffectKind.REVOKE, serial, verifiers=lacking),)
        unknown = tuple(v for v, entry in entries.items() if entry is Entry.UNKNOWN)
        if unknown:
            return unreachable("list", unknown)
    return None


def bury_again(s: Situation) -> Outcome:
    """What an earlier rotation destroyed, or this one has proven dead, stays dead: a verifier that comes back with an older
    table, or that another's hand has changed, is told again. Where a hand gives it to readers that is held for, and nothing
    is taken away under them, but what is compromised (promise P8)."""
    risen: dict[int, list[str]] = {}
    # At an end its own rows see to its own.
    proven = s.rotation.proven if s.rotation.live else ()
    for verifier, seen in sorted(s.seen.verifiers.items()):
        alive = {v for v in proven if s.entry(verifier, v) is Entry.ACTIVE}
        for serial in sorted(seen.risen | alive):
            given = any(s.serves(target, serial) for target in s.rotation.targets)
            if given and serial not in s.seen.compromised | s.rotation.marks.keys():
                continue
            risen.setdefault(serial, []).append(verifier)
    found = [effect(s, EffectKind.REVOKE, v, verifiers=tuple(at)) for v, at in sorted(risen.items())]
    return tuple(found) or None


def prove_dead(s: Situation) -> Outcome:
    """Every doomed version was tried on every verifier and refused (promise P11). Where its value is lost, the listing is
    the evidence, and an operator signs."""
    for serial in s.doomed:
        if not s.minted(serial) or serial in s.rotation.proven:
            continue
        readable = s.readable(serial)
        if readable:
            return (effect(s, EffectKind.PROVE_DEAD, serial, verifiers=tuple(sorted(s.seen.verifiers))),)
        if readable is None:
            return unknown_target(t for t in s.rotation.targets if s.copies(t) is None)
        if serial not in s.rotation.waived:
            return hold(Reason.UNPROVEN, f"v{serial} is revoked everywhere, but its value is lost", serial=serial)
    return None


def remove_copies(s: Situation) -> Outcome:
    """No copy of any version of the credential is left at a target; a late call of an earlier rotation may have left
    one."""
    held = [(t, serial, None) for t in s.rotation.targets for serial in sorted(s.copies(t) or ())]
    left = [
        (t, *one) for t in s.rotation.targets if t in s.seen.targets for one in sorted(s.seen.targets[t].left.items())
    ]
    if held or left:
        return tuple(effect(s, EffectKind.REMOVE, v, target=t, expected=token) for t, v, token in (*held, *left))
    unknown = [t for t in s.rotation.targets if s.copies(t) is None]
    return unknown_target(unknown) if unknown else None


def orphaned(s: Situation) -> Verdict | None:
    """Between rotations a key of ours turns up that nobody can use. It harms nobody, and the next mint revokes it: that is
    told when all else is as it was left."""
    if not s.seen.orphans:
        return None
    found = "; ".join(f"{one.what} {one.id}" for one in s.seen.orphans)
    return hold(Reason.ORPHAN, f"{AUTHORITY}: {found}", target=AUTHORITY, ids=[one.id for one in s.seen.orphans])


def refused_everywhere(s: Situation, serial: int) -> bool:
    """Whether every verifier is known to refuse a version."""
    names = set(s.seen.verifiers)
    return bool(names) and names == set(s.still(serial, *REFUSING))
