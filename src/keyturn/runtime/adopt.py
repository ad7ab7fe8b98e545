"""Takes a credential into care, and starts its rotations."""

from __future__ import annotations

import uuid
from datetime import datetime

from keyturn.domain.errors import Absent, Refused
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.succession import begin
from keyturn.ports.records import HistoryEntry, Lease
from keyturn.ports.store import Store
from keyturn.runtime.due import first_due
from keyturn.runtime.registry import WiredCredential


def adopt(store: Store, wired: WiredCredential, fingerprint_key: bytes, now: datetime) -> None:
    """Register a credential that is seen for the first time with what its readers get now, as version 1.

    Nothing outside is changed. A mark that stands beside the secret is taken over (promise P8). Raises `Refused` when a
    target is empty or two targets hold different values, and `Transient` or `Denied` when one cannot be read.
    """
    held = {}
    for name, target in wired.targets.items():
        try:
            backend_id, value = target.read()
        except Absent:
            raise Refused(
                f"target {name} of {wired.name} holds nothing: put the credential's present value there first"
            ) from None
        held[name] = (backend_id, value.fingerprint(fingerprint_key), wired.issuer.key_id(value))
    prints = {fingerprint for _, fingerprint, _ in held.values()}
    if len(prints) != 1:
        raise Refused(f"the targets of {wired.name} hold different values: make them one before keyturn takes over")
    fingerprint = prints.pop()
    key_id = next(iter(held.values()))[2]
    marked = any(key_id in target.view().marked for target in wired.targets.values())
    version = Version(
        serial=1,
        state=VersionState.CURRENT,
        key_id=key_id,
        fingerprint=fingerprint,
        compromised_at=now if marked else None,
    )
    store.register(wired.name, version, due_at=first_due(wired.schedule, now))
    for name, (backend_id, _, _) in held.items():
        store.bind(wired.name, name, backend_id, version.serial)


def begin_rotation(
    store: Store, wired: WiredCredential, *, by: str, why: str, now: datetime, claim: Lease | None = None
) -> Rotation:
    """Start a rotation of a registered credential. Raises `Refused` when one is live already, and `StaleRevision` when the
    claim has passed on."""
    rotation = plan_rotation(store, wired, by=by, now=now)
    store.begin(rotation, started(rotation, why=why, now=now), claim=claim)
    return rotation


def plan_rotation(store: Store, wired: WiredCredential, *, by: str, now: datetime) -> Rotation:
    """The rotation that would start now, not begun yet. Raises `Refused` when the credential is not known, or has not
    one current version."""
    credential = store.credential(wired.name)
    if credential is None:
        raise Refused(f"{wired.name} has not been read yet")
    current = [version for version in credential.versions.values() if version.state is VersionState.CURRENT]
    if len(current) != 1:
        raise Refused(f"{wired.name} has {len(current)} current versions: see `keyturn history {wired.name}`")
    return begin(
        id=f"{wired.name}-{uuid.uuid4().hex[:12]}",
        credential=wired.name,
        policy=wired.policy,
        targets=tuple(wired.targets),
        current=current[0],
        incoming=credential.next_serial,
        now=now,
        by=by,
    )


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
