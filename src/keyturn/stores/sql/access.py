"""Leases, and the digests of access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from keyturn.ports.records import AccessToken, Lease
from keyturn.stores.rules import NEVER, leased
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.tables import leases, tokens

_HOLD = Upsert(leases)
_PUT = Upsert(tokens)
_HELD = select(leases).where(leases.c.name == bindparam("wanted"))


def acquire(connection: Connection, wanted: Lease, now: datetime) -> Lease | None:
    row = connection.execute(_HELD, {"wanted": wanted.name}).one_or_none()
    held = None if row is None else Lease(name=row.name, owner=row.owner, token=row.token, expires_at=row.expires_at)
    lease = leased(held, wanted, now)
    if lease is not None:
        values = {"name": lease.name, "owner": lease.owner, "token": lease.token, "expires_at": lease.expires_at}
        _HOLD.run(connection, [values])
    return lease


def release(connection: Connection, lease: Lease) -> None:
    # The row stays: the next holder's token grows from it.
    connection.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.owner == lease.owner, leases.c.token == lease.token)
        .values(expires_at=NEVER)
    )


def all_tokens(connection: Connection) -> Sequence[AccessToken]:
    rows = connection.execute(select(tokens).order_by(tokens.c.name))
    return [AccessToken(name=row.name, role=row.role, source=row.source, digest=row.digest) for row in rows]


def add_token(connection: Connection, token: AccessToken) -> None:
    row = {"name": token.name, "role": token.role, "source": token.source, "digest": token.digest}
    _PUT.run(connection, [row])
