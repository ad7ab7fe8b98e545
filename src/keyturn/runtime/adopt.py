"""Takes a credential into care, and starts its rotations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from keyturn.domain.errors import Refused
from keyturn.domain.model import Adopting, Rotation, Version, VersionState
from keyturn.domain.own_key import check_own_key
from keyturn.domain.succession import begin
from keyturn.ports.records import Credential, HistoryEntry, Lease
from keyturn.ports.store import Store
from keyturn.runtime.due import first_due
from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.survey import Rebuilt, rebuild, survey


class Report(Protocol):
    """Puts the report of a compromised version into a rotation."""

    def __call__(self, rotation: Rotation, *, serial: int) -> Rotation: ...


LEFT = frozenset({VersionState.PREVIOUS, VersionState.DISABLED})
"""What a rotation that ended leaves nothing in; but an adoption may find some."""


def check_confirmed(credential: Credential) -> None:
    """Raises `Refused` for a credential whose memory is from a backup, as long as nobody has confirmed it."""
    if credential.restored_at is not None:
        raise Refused(
            f"the store was restored from a backup at {credential.restored_at:%Y-%m-%d %H:%M:%S} UTC, and nothing is done "
            f"for {credential.name} until `keyturn adopt {credential.name}` has shown what is different and you confirm it"
        )


def adopt(store: Store, registry: Registry, name: str, fingerprint_key: bytes, now: datetime) -> None:
    """Register a credential that is seen for the first time with what its readers get now.

    Nothing outside is changed. A mark that stands beside the secret is taken over (promise P8). Raises `Refused` when a
    target is empty, when two targets hold different values, when another credential of the configuration has the same
    key, and when copies of ours tell that a store was lost; and `Transient` or `Denied` when something cannot be read.
    """
    wired = registry.credential(name)
    remember(store, registry, wired, _first_look(wired, fingerprint_key, now), now)


def in_care(
    store: Store, registry: Registry, name: str, fingerprint_key: bytes, now: datetime, *, dry_run: bool
) -> Credential | None:
    """A credential as the store remembers it, adopted now where it does not. On a dry run nothing is written: then it is
    what the store would remember. Raises as `adopt` does."""
    known = store.credential(name)
    if known is not None:
        return known
    if not dry_run:
        adopt(store, registry, name, fingerprint_key, now)
        return store.credential(name)
    rebuilt = _first_look(registry.credential(name), fingerprint_key, now)
    check_apart(store, registry, name, rebuilt.current)
    versions = {version.serial: version for version in (*rebuilt.others, rebuilt.current)}
    return Credential(name=name, versions=versions, next_serial=max(versions) + 1)


def _first_look(wired: WiredCredential, fingerprint_key: bytes, now: datetime) -> Rebuilt:
    """What is to be remembered of a credential that no keyturn has had yet. Raises as `adopt` does."""
    found = survey(wired, fingerprint_key)
    if found.copies:
        left = ", ".join(f"v{serial}" for serial in sorted(set(found.copies.values())))
        raise Refused(
            f"copies of {left} of {wired.name} are at its targets, and this store knows nothing of them: a store was lost, "
            f"or another keyturn has it in care; look at `keyturn adopt {wired.name}`"
        )
    if not found.plain:
        raise Refused(
            f"the targets of {wired.name} hold different values: make them one before keyturn takes over, or look at "
            f"`keyturn adopt {wired.name}`"
        )
    return rebuild(found, now)


def check_apart(store: Store, registry: Registry, name: str, current: Version) -> None:
    """Raises `Refused` as `remember` does when another credential of the configuration has the same key."""
    same = store.key_ids([current.key_id]).get(current.key_id, ()) if current.key_id is not None else ()
    others = registry.credentials.keys() - {name}
    known = [(store.credential(other), serial) for other, serial in same if other in others]
    check_own_key(name, current, [(one.name, one.versions[serial]) for one, serial in known if one is not None])


def remember(
    store: Store,
    registry: Registry,
    wired: WiredCredential,
    rebuilt: Rebuilt,
    now: datetime,
    history: Sequence[HistoryEntry] = (),
) -> None:
    """Take what was rebuilt into the store, with these lines of its trail. Raises `Refused` when another credential of the
    configuration has the same key; one that is not configured any more may: it was renamed."""
    store.register(
        wired.name,
        rebuilt.current,
        due_at=first_due(wired.schedule, now),
        others=rebuilt.others,
        history=history,
        apart_from=registry.credentials.keys() - {wired.name},
    )
    known, current = store.credential(wired.name), rebuilt.current
    there = None if known is None else known.versions.get(current.serial)
    if there is None or there.fingerprint != current.fingerprint:
        return  # another replica came first, and a hand was between the two
    for (target, backend_id), serial in rebuilt.bindings.items():
        store.bind(wired.name, target, backend_id, serial)


def begin_rotation(
    store: Store, wired: WiredCredential, *, by: str, why: str, now: datetime, claim: Lease | None = None
) -> Rotation:
    """Start a rotation of a registered credential. Raises `Refused` when one is live already, and `StaleRevision` when the
    claim has passed on."""
    rotation = plan_rotation(store, wired, by=by, now=now)
    store.begin(rotation, started(rotation, why=why, now=now), claim=claim)
    return rotation


def begin_emergency(
    store: Store,
    wired: WiredCredential,
    report: Report,
    *,
    serial: int | None,
    by: str,
    why: str,
    now: datetime,
    dry_run: bool,
    known: Credential | None = None,
) -> Rotation:
    """Start a rotation away from a compromised version, which `report` puts into it. None: the one that readers get. The
    credential is as it is `known`, or else as the store remembers it. Raises `Refused` as `plan_rotation` does, and for a
    version that is not accepted any more."""
    rotation = plan_rotation(store, wired, by=by, now=now, known=known)
    current = rotation.outgoing[0]
    if serial is not None and serial not in rotation.outgoing:
        raise Refused(
            f"readers of {wired.name} get v{current}; v{serial} is not accepted any more, and cannot come back"
        )
    reported = current if serial is None else serial
    rotation = report(rotation, serial=reported)
    if not dry_run:
        store.begin(rotation, started(rotation, why=f"emergency v{reported}: {why}", now=now))
    return rotation


def plan_rotation(
    store: Store,
    wired: WiredCredential,
    *,
    by: str,
    now: datetime,
    adopting: Adopting | None = None,
    unconfirmed: bool = False,
    known: Credential | None = None,
) -> Rotation:
    """The rotation that would start now, not begun yet; of the credential as it is `known`, or else as the store remembers
    it. Raises `Refused` when it is not known, has not one current version, or was restored from a backup and nobody has
    confirmed it, unless it is planned for that."""
    credential = known or store.credential(wired.name)
    if credential is None:
        raise Refused(f"{wired.name} has not been read yet")
    if not unconfirmed:
        check_confirmed(credential)
    current = [version for version in credential.versions.values() if version.state is VersionState.CURRENT]
    if len(current) != 1:
        raise Refused(f"{wired.name} has {len(current)} current versions: see `keyturn history {wired.name}`")
    return begin(
        id=_new_id(wired.name, credential.next_serial, now),
        credential=wired.name,
        policy=wired.policy,
        targets=tuple(wired.targets),
        current=current[0],
        others=[one for one in credential.versions.values() if one.key_id is not None and one.state in LEFT],
        incoming=credential.next_serial,
        adopting=adopting,
        now=now,
        by=by,
    )


def _new_id(name: str, serial: int, now: datetime) -> str:
    """Another than any before it, one of a store that was lost included; and the same when the same run is repeated."""
    return f"{name}-{hashlib.blake2b(f'{serial} {now.isoformat()}'.encode(), digest_size=6).hexdigest()}"


def started(rotation: Rotation, *, why: str, now: datetime) -> HistoryEntry:
    """The first line of a rotation's trail."""
    return HistoryEntry(
        at=now,
        credential=rotation.credential,
        rotation=rotation.id,
        phase=rotation.phase,
        kind="started",
        reason="started",
        detail=why,
        by=rotation.started_by,
    )
