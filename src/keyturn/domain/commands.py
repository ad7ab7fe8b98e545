"""What an operator may ask of a rotation under way: each a pure function that returns the rotation as it then is, or
raises `Refused` with the reason and what would be allowed. The chain acts on what they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.model import Adopting, Force, Mark, Pause, Rotation
from keyturn.domain.observations import AUTHORITY, Observations, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.policy import FORCEABLE
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.transitions import unstopped

PAUSE_FOR = timedelta(hours=24)


def roll_back(rotation: Rotation, *, by: str, why: str) -> Rotation:
    """Ask for the old version back. Refused once the old one is being destroyed, and for one that is compromised: it
    never comes back (promise P8)."""
    _live(rotation)
    old = rotation.outgoing[0]
    if rotation.phase is Phase.ROLLBACK:
        raise Refused(f"{rotation.credential} is rolling back already: see `keyturn status {rotation.credential}`")
    if rotation.versions[old].compromised_at is not None:
        raise Refused(
            f"v{old} of {rotation.credential} is compromised and never comes back; the way out is forward, or `keyturn "
            f"abandon {rotation.credential}` for another new version"
        )
    if rotation.phase is Phase.DESTROY or old in rotation.revoked:
        raise Refused(
            f"v{old} of {rotation.credential} is being destroyed and cannot come back; "
            "let the rotation finish, then rotate again"
        )
    return replace(rotation, rollback_asked=f"{by}: {why}")


def emergency(
    rotation: Rotation,
    *,
    serial: int,
    by: str,
    why: str,
    now: datetime,
    grace: timedelta | None = None,
    cut_now: bool = False,
) -> Rotation:
    """Report a version compromised: from this commit on it is never enabled or promoted again, and it is disabled when
    its grace is over, `grace_cap` after the first report at the latest, with `cut_now` at once. Pause, holds and a halt
    are lifted. A second report may only shorten the grace."""
    _live(rotation)
    version = rotation.versions.get(serial)
    if version is None:
        named = ", ".join(f"v{known}" for known in sorted(rotation.versions))
        raise Refused(f"the rotation of {rotation.credential} concerns {named}, not v{serial}: name one of them")
    if version.key_id is None:
        raise Refused(f"v{serial} of {rotation.credential} is not made yet: nobody can have it")
    policy, before = rotation.policy, rotation.marks.get(serial)
    grace = policy.grace if grace is None else grace
    if grace < timedelta(0) or grace > policy.grace_cap:
        raise Refused(f"a grace of {grace} is not between 0 and the policy's grace_cap of {policy.grace_cap}")
    cut_at = now if cut_now else now + policy.grace_cap
    mark = Mark(at=now, by=by, why=why, grace=grace, cut_at=cut_at)
    if before is not None:
        mark = replace(before, grace=min(before.grace, grace), cut_at=min(before.cut_at, cut_at))
    marked = replace(version, compromised_at=version.compromised_at or now)
    return replace(
        unstopped(rotation),
        versions={**rotation.versions, serial: marked},
        marks={**rotation.marks, serial: mark},
        rollback_asked=None if serial == rotation.outgoing[0] else rotation.rollback_asked,
    )


def force(rotation: Rotation, *, serial: int, by: str, why: str, final: bool = False) -> Rotation:
    """Put a person's word in the place of silence for one version: in MONITOR an outgoing one, in ROLLBACK one that is
    withdrawn. With `final` a refused use does not bring it back."""
    _live(rotation)
    if rotation.phase not in FORCEABLE:
        raise Refused(
            f"{rotation.credential} is in {rotation.phase}, which waits for no silence; force stands in for silence "
            "only, in monitor and rollback"
        )
    doomed = [
        version.serial
        for version in rotation.versions.values()
        if version.serial != rotation.survivor and version.compromised_at is None
    ]
    if serial not in doomed:
        named = ", ".join(f"v{known}" for known in doomed) or "none: a compromised one goes when its grace is over"
        raise Refused(
            f"in {rotation.phase} the version to disable is {named}, not v{serial}; look at "
            f"`keyturn status {rotation.credential}` again and name it if you mean it"
        )
    # Where the deadline holds for an operator's word, this is it.
    hold = rotation.hold if rotation.hold is None or rotation.hold.reason is not Reason.DEADLINE else None
    return replace(rotation, hold=hold, forced={**rotation.forced, serial: Force(by=by, why=why, final=final)})


def reassert(rotation: Rotation, seen: Observations, *, target: str, found: str, by: str, why: str) -> Rotation:
    """Overwrite what another's hand put at a target, and which the operator names by the backend's id ("" for nothing),
    with the version that the phase calls for. Refused when that is not what readers get now, or the version is
    compromised. Who asked and why is in the trail."""
    del by, why
    s = _at(rotation, seen, target, found)
    serial = s.called_for(target)
    serving = s.serving(target)
    if s.serves(target, serial) or (serving.kind is ServingKind.OURS and serving.serial in s.explained(target)):
        raise Refused(f"{target} serves v{serving.serial}, as it should: there is nothing to reassert")
    if not s.givable(serial):
        what = "compromised" if s.marked(serial) else "being destroyed"
        raise Refused(f"v{serial} is {what} and is never given to readers again; accept or wait for v{s.new}")
    if s.lost_for_good(serial):
        raise Refused(
            f"nobody has the value of v{serial} any more, to overwrite with: use `accept` for what is there, or "
            "`abandon` for a new version"
        )
    # What holds for a hand has this for its answer; a hold of another cause waits for its own.
    hands = (Reason.TARGET_FOREIGN, Reason.TARGET_MISSING)
    hold = None if rotation.hold is not None and rotation.hold.reason in hands else rotation.hold
    return replace(rotation, hold=hold, reasserted={**rotation.reasserted, target: found})


def accept(rotation: Rotation, seen: Observations, *, target: str, found: str, by: str, why: str) -> Rotation:
    """Take another's value for the credential's next version: this rotation ends, and one takes over that adopts it once
    every verifier accepts it. In an emergency, an obstacle's id instead: it is let pass. Refused for anything that is
    not there now, and for a version of ours."""
    del by, why
    _live(rotation)
    standing = seen.targets[target].obstacles if target in seen.targets else ()
    obstacles = {one.id for one in (*standing, *(seen.strangers if target == AUTHORITY else ()))}
    if found in obstacles:
        if not _emergency(rotation):
            raise Refused(f"{found} stands in the way at {target}: remove it there; only an emergency lets it pass")
        return replace(rotation, passed=rotation.passed | {found})
    serving = _at(rotation, seen, target, found).serving(target)
    if serving.kind is not ServingKind.FOREIGN:
        what = "nothing" if serving.kind is ServingKind.MISSING else f"v{serving.serial}"
        raise Refused(
            f"{target} serves {what}, which cannot be adopted: use `reassert`, or `rollback` for an old version"
        )
    return replace(rotation, accepted=Adopting(target=target, id=found))


def accept_lost(rotation: Rotation, seen: Observations, *, serial: int, by: str, why: str) -> Rotation:
    """Go on although a version's value cannot be read back: before DESTROY without a way back, after it without having
    tried that it is dead. So is what the authority refuses for good to accept again. Refused while neither is so."""
    _live(rotation)
    if serial not in rotation.versions or serial == rotation.survivor:
        raise Refused(f"v{serial} is no version that the rotation of {rotation.credential} leaves behind")
    held = [seen.targets[t].copies if t in seen.targets else None for t in rotation.targets]
    s = Situation(rotation=rotation, seen=seen, now=rotation.started_at)
    kept = serial not in seen.lost and all(copies is not None and serial in copies for copies in held)
    if kept and not s.refused_for_good(EffectKind.ENABLE, serial):
        raise Refused(
            f"the value of v{serial} is kept at every target, and no verifier refuses it for good: nothing is lost"
        )
    return replace(rotation, waived={**rotation.waived, serial: f"{by}: {why}"})


def abandon(rotation: Rotation, *, by: str, why: str) -> Rotation:
    """Give up a rotation that is halted, that destroys or rolls back in vain, or that cannot go back since its old version
    never comes back: another takes over every version of it."""
    _live(rotation)
    if not (rotation.halted or rotation.one_way or rotation.phase in (Phase.ROLLBACK, Phase.DESTROY)):
        raise Refused(
            f"{rotation.credential} is in {rotation.phase} and not halted: use `keyturn rollback {rotation.credential}`"
        )
    return replace(rotation, abandoned=f"{by}: {why}")


def _at(rotation: Rotation, seen: Observations, target: str, found: str) -> Situation:
    """The situation, in which readers of a target get what the operator believes."""
    _live(rotation)
    s = Situation(rotation=rotation, seen=seen, now=rotation.started_at)
    if target not in rotation.targets:
        raise Refused(f"{rotation.credential} has no target {target!r}; it has {', '.join(rotation.targets)}")
    serving = s.serving(target)
    if serving.kind is ServingKind.UNKNOWN:
        raise Refused(f"{target} cannot be read now, so nothing is known of what its readers get: try again")
    if (serving.id or "") != found:
        raise Refused(f"readers of {target} get {serving.id or 'nothing'} now, not {found or 'nothing'}: look again")
    return s


def _emergency(rotation: Rotation) -> bool:
    """Whether any version of the rotation was reported compromised."""
    return any(version.compromised_at is not None for version in rotation.versions.values())


def pause(rotation: Rotation, *, by: str, why: str, now: datetime, lasting: timedelta = PAUSE_FOR) -> Rotation:
    """Stop every transition but rollback and retreat, until resumed; past its expiry a pause pages."""
    _live(rotation)
    if rotation.phase is Phase.ROLLBACK:
        raise Refused(f"{rotation.credential} is rolling back, which a pause does not stop")
    if _emergency(rotation):
        raise Refused(f"{rotation.credential} is in an emergency, which a pause does not stop")
    if rotation.pause is not None:
        raise Refused(f"{rotation.credential} is paused already, by {rotation.pause.by}")
    return replace(rotation, pause=Pause(by=by, until=now + lasting, why=why))


def resume(rotation: Rotation) -> Rotation:
    """End a latched hold, a halt or a pause: the phase is tried again, retreats are counted anew, and a phase that was over
    its deadline has that time once more. What was refused for good under a pause is tried again under it."""
    _live(rotation)
    hold = rotation.hold
    stands = hold is not None and (hold.latched or hold.reason is Reason.QUARANTINED)
    if rotation.pause is None and rotation.halted is None and not stands:
        if hold is not None:
            raise Refused(
                f"{rotation.credential} holds because: {hold.detail or hold.reason}; the hold ends with its cause"
            )
        raise Refused(f"{rotation.credential} is not paused, held or halted")
    overdue = hold is not None and hold.reason is Reason.DEADLINE
    quarantined = hold is not None and hold.reason is Reason.QUARANTINED
    return replace(
        unstopped(rotation),
        pause=rotation.pause if quarantined else None,
        extensions=rotation.extensions + (1 if overdue else 0),
    )


def _live(rotation: Rotation) -> None:
    if not rotation.live:
        raise Refused(f"the last rotation of {rotation.credential} has ended as {rotation.phase}")
