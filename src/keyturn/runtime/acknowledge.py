"""An owner's word that all instances of a client have moved to the new version, or that every client is known."""

from __future__ import annotations

from datetime import datetime

from keyturn.domain.errors import Refused
from keyturn.domain.observations import UNSEEN
from keyturn.ports.records import Acknowledgement
from keyturn.ports.store import Store
from keyturn.runtime.dismiss import check_client
from keyturn.runtime.evidence import WATCHED
from keyturn.runtime.registry import Registry
from keyturn.runtime.trail import commanded


def acknowledge(
    store: Store,
    registry: Registry,
    name: str,
    client: str | None,
    *,
    serial: int | None,
    by: str,
    why: str,
    now: datetime,
    dry_run: bool,
) -> int:
    """Take the word that a client has moved to the version that a live rotation introduces, and return which one that is.
    It stands for having been seen to succeed there, until the client is seen on an outgoing version again; it never stands
    for silence of those (promise P2). Without a client: the word that none uses the credential but those that were seen,
    where the history is too thin to show that. Raises `Refused` for a client that nobody knows, for another version, and
    where no rotation waits for clients."""
    if client is not None:
        check_client(store, registry, name, client)
    whom = "those never seen" if client is None else client
    rotation = store.live_of(name)
    if rotation is None:
        raise Refused(f"no rotation of {name} is under way: acknowledge for {whom} when one waits for it")
    if serial is not None and serial != rotation.incoming:
        raise Refused(
            f"{rotation.id} brings clients of {name} to v{rotation.incoming}, not to v{serial}: look at "
            f"`keyturn status {name}`"
        )
    if rotation.phase not in WATCHED:
        raise Refused(
            f"{rotation.id} is in {rotation.phase}, where it waits for no client to move to v{rotation.incoming}: look at "
            f"`keyturn status {name}`"
        )
    if not dry_run:
        what = f"acknowledge v{rotation.incoming} for {whom}: {why}"
        entry = commanded(name, rotation, what, by=by, now=now)
        store.acknowledge(
            Acknowledgement(client=client or UNSEEN, serial=rotation.incoming, at=now, by=by, why=why), entry
        )
    return rotation.incoming
