"""Leases: taken by whoever finds them free, each under a higher token than the holder before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, or_, select, update

from keyturn.ports.records import Lease
from keyturn.stores.rules import NEVER, NOBODY, lost
from keyturn.stores.sql import schema
from keyturn.stores.sql.credentials import AT_ONCE
from keyturn.stores.sql.database import InsertOnce
from keyturn.stores.sql.query import Query
from keyturn.stores.sql.tables import leases

_ADD = InsertOnce(leases)
_OURS = leases.c.owner == bindparam("who")
_NAMED = leases.c.name.in_(bindparam("wanted", expanding=True))
_KNOWN = select(leases.c.name).where(_NAMED)
_FREE = (
    select(leases.c.name)
    .where(_NAMED, or_(_OURS, leases.c.expires_at <= bindparam("now")))
    # What another transaction is taking at this moment is passed over, where the database has more than one writer.
    .with_for_update(skip_locked=True)
    .cte("free")
)
_TAKE = (
    update(leases)
    .where(leases.c.name.in_(select(_FREE.c.name)))
    .values(
        owner=bindparam("who"),
        token=case((_OURS, leases.c.token), else_=leases.c.token + 1),
        expires_at=bindparam("until"),
    )
    .returning(leases, schema.REVISION)
)
_HELD_BY = select(leases.c.name).where(_NAMED, _OURS)
_RENEW = (
    update(leases)
    .where(leases.c.name == bindparam("wanted"), _OURS)
    .values(expires_at=bindparam("until"))
    .returning(leases, schema.REVISION)
)
_THIS = (
    leases.c.name == bindparam("wanted"),
    leases.c.owner == bindparam("who"),
    leases.c.token == bindparam("holding"),
)
_HELD = Query(select(leases.c.name).where(*_THIS))
# Nobody takes it before the transaction has ended.
_FENCE = Query(select(leases.c.name).where(*_THIS).with_for_update(read=True))
_RELEASE = update(leases).where(*_THIS).values(owner=NOBODY, expires_at=NEVER)
_RESIGN = update(leases).where(_OURS).values(owner=NOBODY, expires_at=NEVER)


def claim(connection: Connection, names: Sequence[str], owner: str, now: datetime, until: datetime) -> Sequence[Lease]:
    # Sorted, so that all who add rows add them in the same order.
    wanted = sorted(set(names))
    taken: list[Row[Any]] = []
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        known = set(connection.execute(_KNOWN, {"wanted": some}).scalars())
        for name in some:
            if name not in known:
                _ADD.run(connection, {"name": name, "owner": NOBODY, "token": 0, "expires_at": NEVER})
        taken += connection.execute(_TAKE, {"wanted": some, "who": owner, "now": now, "until": until}).all()
    return _checked(taken)


def passed_over(connection: Connection, names: Sequence[str], owner: str) -> Sequence[str]:
    """Of these leases those that are the owner's: what was just not taken of them, another thread of its own has locked."""
    return [
        name
        for start in range(0, len(names), AT_ONCE)
        for name in connection.execute(_HELD_BY, {"wanted": names[start : start + AT_ONCE], "who": owner}).scalars()
    ]


def renew(connection: Connection, name: str, owner: str, until: datetime) -> Sequence[Lease]:
    """The owner's lease, once whoever has locked it is done; nothing when it has passed on meanwhile."""
    return _checked(connection.execute(_RENEW, {"wanted": name, "who": owner, "until": until}).all())


def holds(connection: Connection, lease: Lease) -> bool:
    return _HELD.first(connection, **_this(lease)) is not None


def fence(connection: Connection, claim: Lease | None) -> None:
    """Raises `StaleRevision` when the claim has passed on; else it stays until the transaction ends."""
    if claim is not None and _FENCE.first(connection, **_this(claim)) is None:
        raise lost(claim)


def release(connection: Connection, lease: Lease) -> None:
    # The row stays: the next holder's token grows from it.
    connection.execute(_RELEASE, _this(lease))


def resign(connection: Connection, owner: str) -> None:
    connection.execute(_RESIGN, {"who": owner})


def _checked(taken: Sequence[Row[Any]]) -> list[Lease]:
    for row in taken:
        schema.check(row.schema)
    return sorted(map(_lease, taken), key=lambda lease: lease.name)


def _this(lease: Lease) -> dict[str, Any]:
    return {"wanted": lease.name, "who": lease.owner, "holding": lease.token}


def _lease(row: Any) -> Lease:
    return Lease(name=row.name, owner=row.owner, token=row.token, expires_at=row.expires_at)
