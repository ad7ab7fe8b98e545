"""Takes into the rotation what must be remembered of this tick's observations: first sightings, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from keyturn.domain.effects import EffectKind
from keyturn.domain.model import Mark, Rotation, Stamp, Version
from keyturn.domain.observations import Acceptance, Observations, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.rows import effect
from keyturn.domain.situation import Situation
from keyturn.domain.succession import found_marked, with_keys
from keyturn.domain.transitions import unstopped
from keyturn.domain.withdraw import refused_everywhere


def absorb(rotation: Rotation, seen: Observations, now: datetime) -> Rotation:
    """The rotation with what this tick saw for the first time."""
    s = _with_marks_beside(Situation(rotation=rotation, seen=seen, now=now))
    rotation = s.rotation
    promoted, served = _promoted(s), rotation.served | _served(s)
    remembered: dict[str, Any] = {
        "versions": _versions(s),
        "served": served,
        "promoted": promoted,
        "marks": _marks(s.beside(replace(rotation, promoted=promoted))) if rotation.marks else rotation.marks,
        "up": _up(s, served - rotation.served),
        "soak": _soak(s),
        "proven": _proven(s),
    }
    # Most looks show nothing new, and what follows then knows it by identity.
    new = {name: value for name, value in remembered.items() if value != getattr(rotation, name)}
    return replace(rotation, **new) if new else rotation


def _with_marks_beside(s: Situation) -> Situation:
    """A mark that stands beside the secret counts whoever remembers it: our own store may be a backup of yesterday, and
    what another's hand put there may be what was reported once (promise P8)."""
    beside = {serial for target in s.seen.targets.values() for serial in target.marked}
    found = [serial for serial in sorted(beside) if serial in s.rotation.versions and not s.marked(serial)]
    if not found or not s.rotation.live:
        return s
    versions = {**s.rotation.versions}
    for serial in found:
        versions[serial] = replace(versions[serial], compromised_at=s.now)
    marks = {serial: found_marked(s.policy, s.now) for serial in found}
    # An emergency, whoever reports it: what readers have instead must not wait behind a pause while the cut comes.
    return s.beside(replace(unstopped(s.rotation), versions=versions, marks={**marks, **s.rotation.marks}))


def _versions(s: Situation) -> dict[int, Version]:
    """Key ids as they become known, also of a mint whose outcome comes after a rollback, a resume, or in another
    rotation."""
    known = dict(s.seen.found)
    for one in s.seen.effects.values():
        if one.kind is EffectKind.MINT and one.key_id is not None and one.fingerprint is not None:
            known[one.serial] = (one.key_id, one.fingerprint)
    return dict(with_keys(s.rotation, known).versions)


def _served(s: Situation) -> set[int]:
    """What readers get, and what somebody was let in with: between two looks another's hand may have given it to them."""
    servings = [s.serving(target) for target in s.rotation.targets]
    ours = [one.serial for one in servings if one.kind is ServingKind.OURS]
    used = {serial for client in s.seen.usage.clients.values() for serial in client.last_success}
    return {serial for serial in s.rotation.versions if serial in ours or serial in used}


def _promoted(s: Situation) -> dict[str, Stamp]:
    """Since when readers of each target get what is to survive; while they are known to get another it has not begun."""
    rotation = s.rotation
    promoted = dict(rotation.promoted)
    if not rotation.live:
        return promoted
    for target in rotation.targets:
        if s.serves(target, s.survivor):
            if target not in promoted and (at := _since(s, target)) is not None:
                promoted[target] = rotation.stamp(at)
        elif target in promoted and s.serving(target).kind is not ServingKind.UNKNOWN:
            promoted[target] = rotation.stamp(s.now)
    return promoted


def _since(s: Situation, target: str) -> datetime | None:
    """When this phase gave readers the survivor: when the promote was done, where that is known, and not when it is looked
    at, for a grace may be shorter than a tick. None where it is not this phase's doing: in ROLLBACK readers may have got
    it all along, and only our own promote spends what a late worker holds."""
    ours = effect(s, EffectKind.PROMOTE, s.survivor, target=target).id.rpartition("/")[0] + "/"
    done = [one.at for name, one in s.seen.effects.items() if name.startswith(ours) and one.succeeded]
    if not s.phase_is(Phase.OVERLAP) and not (done and s.phase_is(Phase.ROLLBACK)):
        return None
    return min(max((at for at in done if at is not None), default=s.now), s.now)


def _marks(s: Situation) -> dict[int, Mark]:
    """The grace of a compromised version begins to run out when the last target was promoted away from it."""
    marks = dict(s.rotation.marks)
    last = s.last_promote()
    if last is None or any(target not in s.rotation.promoted for target in s.rotation.targets):
        return marks
    for serial, mark in marks.items():
        if serial != s.survivor and last.at + mark.grace < mark.cut_at:
            marks[serial] = replace(mark, cut_at=last.at + mark.grace)
    return marks


def _up(s: Situation, given: frozenset[int]) -> frozenset[str]:
    """Who has met every post-condition. That a version which a hand has just given to readers stays accepted is a new one:
    whoever does not accept it has not met them all."""
    if s.phase_is(Phase.INTRODUCE, Phase.ROLLBACK):
        return frozenset()  # these two phases bring every verifier to where it should be, whoever changed it
    s = s.beside(replace(s.rotation, served=s.rotation.served | given)) if given else s
    before = frozenset() if any(s.kept(serial) for serial in given & set(s.rotation.outgoing)) else s.rotation.up

    def meets(verifier: str) -> bool:
        if s.acceptance(verifier, s.survivor) is not Acceptance.ACCEPTED:
            return False
        if s.phase_is(Phase.OVERLAP, Phase.MONITOR):
            kept = [serial for serial in s.rotation.outgoing if s.kept(serial)]
            return all(s.acceptance(verifier, serial) is Acceptance.ACCEPTED for serial in kept)
        return all(verifier not in s.still(v, Acceptance.ACCEPTED) for v in s.doomed)

    def away(verifier: str) -> bool:
        return s.acceptance(verifier, s.survivor) is Acceptance.UNREACHABLE

    there = [v for v in s.seen.verifiers if not away(v)]
    return frozenset(v for v in there if v in before or meets(v))


def _soak(s: Situation) -> Stamp | None:
    if s.rotation.soak is not None or not s.phase_is(Phase.RETIRE):
        return s.rotation.soak
    minted = [serial for serial in s.rotation.outgoing if s.minted(serial)]
    return s.rotation.stamp(s.now) if all(refused_everywhere(s, serial) for serial in minted) else None


def _proven(s: Situation) -> tuple[int, ...]:
    proven = list(s.rotation.proven)
    tried = {one.serial for one in s.seen.effects.values() if one.kind is EffectKind.PROVE_DEAD and one.succeeded}
    for serial in s.doomed:
        if serial in tried and serial not in proven:
            # By its id: one that was proven in another entry of the phase may live again since.
            done = s.seen.effects.get(effect(s, EffectKind.PROVE_DEAD, serial).id)
            if done is not None and done.succeeded:
                proven.append(serial)
    return tuple(proven)
