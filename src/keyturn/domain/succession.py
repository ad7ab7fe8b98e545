"""How rotations begin: one after rest, or one that takes over from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.domain.model import Adopting, Force, Mark, Rotation, Stamp, Version, VersionState
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.rows import REFUSING
from keyturn.domain.situation import Situation
from keyturn.domain.transitions import final


def begin(
    *,
    id: str,
    credential: str,
    policy: Policy,
    targets: tuple[str, ...],
    current: Version,
    incoming: int,
    now: datetime,
    by: str,
    others: Sequence[Version] = (),
    adopting: Adopting | None = None,
) -> Rotation:
    """A new rotation that leads from `current`, and `others` that are not dead, to a version with the serial `incoming`:
    newly made, or what another's hand has put where `adopting` says."""
    stamp = Stamp(at=now, active=timedelta(0))
    outgoing = (current, *sorted(others, key=lambda one: one.serial, reverse=True))
    marked = [one.serial for one in outgoing if one.compromised_at is not None]
    return Rotation(
        id=id,
        credential=credential,
        policy=policy,
        targets=targets,
        versions={
            **{one.serial: one for one in outgoing},
            incoming: Version(serial=incoming, state=VersionState.PENDING),
        },
        outgoing=tuple(one.serial for one in outgoing),
        incoming=incoming,
        adopting=adopting,
        # What was disabled by somebody is in nobody's use; whatever is not, may be.
        served=frozenset(one.serial for one in outgoing if one.state is not VersionState.DISABLED),
        marks={serial: found_marked(policy, now) for serial in marked},
        started_at=now,
        started_by=by,
        entered=stamp,
        first_entered={Phase.INTRODUCE: stamp},
    )


def found_marked(policy: Policy, now: datetime) -> Mark:
    """The report that a mark beside a secret stands for, where nobody remembers who made it."""
    return Mark(
        at=now, by="keyturn", why="it is marked so beside the secret", grace=policy.grace, cut_at=now + policy.grace_cap
    )


def with_keys(rotation: Rotation, known: Mapping[int, tuple[str, str]]) -> Rotation:
    """A rotation in which versions that were not known to be made have the key ids and fingerprints that are known now."""
    versions = dict(rotation.versions)
    for serial, (key_id, fingerprint) in known.items():
        if serial in versions and versions[serial].key_id is None:
            versions[serial] = replace(versions[serial], key_id=key_id, fingerprint=fingerprint)
    return replace(rotation, versions=versions)


def taken_in(rotation: Rotation, found: Sequence[Version], now: datetime) -> Rotation:
    """A rotation with versions besides its own that the world has shown, so that the one that takes over leads all of them
    to their end. What the authority does not accept any more counts as proven dead."""
    serials = [one.serial for one in found]
    dead = [one.serial for one in found if one.state is VersionState.DESTROYED]
    marked = [one.serial for one in found if one.compromised_at is not None]
    in_use = {one.serial for one in found if one.state not in (VersionState.DESTROYED, VersionState.DISABLED)}
    return replace(
        rotation,
        versions={**rotation.versions, **{one.serial: one for one in found}},
        outgoing=(*rotation.outgoing, *serials),
        served=rotation.served | in_use,
        revoked=rotation.revoked | set(dead),
        proven=(*rotation.proven, *dead),
        marks={**rotation.marks, **{serial: found_marked(rotation.policy, now) for serial in marked}},
    )


def succeed(s: Situation, *, failed: bool) -> Rotation:
    """The rotation that takes over from `s.rotation`: its outgoing versions are all that may still be alive anywhere,
    the failed incoming included. What readers ever got, what was promised, marked and revoked, and since when, goes with
    them, and so does an operator's pause; no clock of a mark starts anew."""
    before = s.rotation
    home, dead = _home(s), buried(s)
    outgoing = (home, *sorted((v for v in before.versions if v != home and v not in dead), reverse=True))
    incoming = max(before.versions) + 1
    stamp = Stamp(at=s.now, active=timedelta(0))
    versions = {serial: before.versions[serial] for serial in outgoing}
    versions[incoming] = Version(serial=incoming, state=VersionState.PENDING)
    _, _, generation = before.id.partition("~")
    taken_over = Rotation(
        id=f"{before.root}~{int(generation or 1) + 1}",
        credential=before.credential,
        policy=before.policy,
        targets=before.targets,
        versions=versions,
        outgoing=outgoing,
        incoming=incoming,
        adopting=before.accepted,
        supersedes=before.id,
        started_at=s.now,
        started_by=before.started_by,
        entered=stamp,
        first_entered={Phase.INTRODUCE: stamp},
        promised=before.promised,
        served=before.served,
        marks={serial: mark for serial, mark in before.marks.items() if serial in outgoing},
        failed=before.failed | {before.incoming} if failed else before.failed,
        disabled_at={serial: at for serial, at in before.disabled_at.items() if serial in outgoing},
        revoked=frozenset(serial for serial in outgoing if serial in before.revoked or _revoked(s, serial)),
        proven=tuple(serial for serial in before.proven if serial in outgoing),
        waived={serial: who for serial, who in before.waived.items() if serial in outgoing},
        passed=before.passed,
        forced=_forced(s, home),
        pause=before.pause,
        cause=before.cause,
    )
    if versions[home].state in (VersionState.PREVIOUS, VersionState.PENDING):
        taken_over = taken_over.with_version(home, VersionState.CURRENT)
    for serial in outgoing[1:]:
        if versions[serial].state is VersionState.CURRENT:
            taken_over = taken_over.with_version(serial, VersionState.PREVIOUS)
    return taken_over


def _promised(rotation: Rotation) -> bool:
    """Whether the rotation ever set out to give its new version to readers."""
    return any(serial == rotation.incoming for _, serial in rotation.promised)


def _refused(s: Situation) -> bool:
    """Whether every verifier is known to refuse the new version."""
    return bool(s.seen.verifiers) and len(s.verifiers(s.new, *REFUSING)) == len(s.seen.verifiers)


def _forced(s: Situation, home: int) -> dict[int, Force]:
    """The words that go with the versions: those that nothing undoes, and that of whoever gave up what was adopted and is
    accepted by nobody: there are no users of it to be waited for."""
    rotation = s.rotation
    forced = {serial: force for serial, force in final(rotation.forced).items() if serial != home}
    if rotation.adopting is not None and rotation.abandoned is not None and not _promised(rotation) and _refused(s):
        forced[s.new] = Force(by=rotation.started_by, why=rotation.abandoned, final=True)
    return forced


def buried(s: Situation) -> frozenset[int]:
    """What a rotation that takes over from `s.rotation` need not take with it: its end is proven, and nothing is left of
    it."""
    home = _home(s)
    return frozenset(serial for serial in s.rotation.versions if serial != home and _buried(s, serial))


def _home(s: Situation) -> int:
    """What readers got last: what the rotation was giving them, if it had begun to. What is known to be lost is nobody's
    way back."""
    rotation = s.rotation
    adopted = any(s.serves(target, rotation.incoming) for target in rotation.targets) and s.minted(rotation.incoming)
    began = _promised(rotation) or (adopted and not _refused(s))
    last = [serial for serial in (rotation.restoring, rotation.incoming if began else None) if serial is not None]
    return next((serial for serial in last if s.readable(serial) is not False), rotation.outgoing[0])


def _revoked(s: Situation, serial: int) -> bool:
    """Whether somebody revoked it: there is no way back from that, whoever did it."""
    return any(s.entry(verifier, serial) is Entry.REVOKED for verifier in s.seen.verifiers)


def _buried(s: Situation, serial: int) -> bool:
    """Revoked, proven dead, and known to be without a stored copy; and, if it is compromised, marked so at every target."""
    seen = [s.seen.targets.get(target) for target in s.rotation.targets]
    if s.marked(serial) and not all(target is not None and serial in target.marked for target in seen):
        return False
    stored = [s.stored(target) for target in s.rotation.targets]
    return serial in s.rotation.proven and all(held is not None and serial not in held for held in stored)
