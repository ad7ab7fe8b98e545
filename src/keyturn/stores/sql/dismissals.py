"""Clients that an operator has declared gone."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select

from keyturn.ports.records import Dismissal
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.query import Query
from keyturn.stores.sql.tables import dismissals

_SAVE = Upsert(dismissals)
_OF = Query(select(dismissals).where(dismissals.c.credential == bindparam("wanted")).order_by(dismissals.c.client))


def add(connection: Connection, credential: str, one: Dismissal) -> None:
    row = {"credential": credential, "client": one.client, "at": one.at, "by": one.by, "why": one.why}
    _SAVE.run(connection, [row])


def of(connection: Connection, credential: str) -> Mapping[str, Dismissal]:
    found = _OF.all(connection, wanted=credential)
    return {row.client: Dismissal(client=row.client, at=row.at, by=row.by, why=row.why) for row in found}
