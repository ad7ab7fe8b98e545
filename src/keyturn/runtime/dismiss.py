"""An operator's word that a client is gone."""

from __future__ import annotations

from datetime import datetime

from keyturn.domain.errors import Refused
from keyturn.ports.records import Dismissal
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry
from keyturn.runtime.trail import commanded


def dismiss(
    store: Store, registry: Registry, name: str, client: str, *, by: str, why: str, now: datetime, dry_run: bool
) -> None:
    """Declare a client of a credential gone: rotations do not wait for it any more, until it is seen again. Raises
    `Refused` for one that nobody knows, and before the credential's first rotation, which is what it concerns."""
    check_client(store, registry, name, client)
    rotation = store.latest_of(name)
    if rotation is None:
        raise Refused(f"no rotation of {name} has run yet: dismiss {client} when one waits for it")
    if not dry_run:
        entry = commanded(name, rotation, f"dismiss {client}: {why}", by=by, now=now)
        store.dismiss(Dismissal(client=client, at=now, by=by, why=why), entry)


def check_client(store: Store, registry: Registry, name: str, client: str) -> None:
    """Raises `Refused` for a client of a credential that was neither declared nor ever seen, naming those that were."""
    known = sorted(registry.credential(name).clients | {seen for seen, _, _ in store.uses(name)})
    if client not in known:
        raise Refused(f"{name} has no client {client!r}; known are: {', '.join(known) or 'none'}")
