"""Clients that have moved to a version, by their owners' word."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select

from keyturn.ports.records import Acknowledgement
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.query import Query
from keyturn.stores.sql.tables import acknowledgements

_SAVE = Upsert(acknowledgements)
_OF = Query(select(acknowledgements).where(acknowledgements.c.credential == bindparam("wanted")))


def add(connection: Connection, credential: str, one: Acknowledgement) -> None:
    row = {
        "credential": credential,
        "client": one.client,
        "serial": one.serial,
        "at": one.at,
        "by": one.by,
        "why": one.why,
    }
    _SAVE.run(connection, [row])


def of(connection: Connection, credential: str) -> Mapping[tuple[str, int], Acknowledgement]:
    found = _OF.all(connection, wanted=credential)
    return {
        (row.client, row.serial): Acknowledgement(
            client=row.client, serial=row.serial, at=row.at, by=row.by, why=row.why
        )
        for row in found
    }
