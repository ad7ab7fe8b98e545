"""The detectors of live rotations: large, and of no use to anybody once their rotation has ended."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, exists, select

from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import detectors, rotations

_SAVE = Upsert(detectors)
_FIND = Query(select(detectors.c.state).where(detectors.c.rotation == bindparam("wanted")))
_FORGET = Write(delete(detectors).where(detectors.c.rotation == bindparam("wanted")))
_LIVE = exists().where(rotations.c.id == detectors.c.rotation, rotations.c.live.is_(True))
_FORGET_ENDED = Write(delete(detectors).where(~_LIVE))


def find(connection: Connection, rotation: str) -> str | None:
    row = _FIND.first(connection, wanted=rotation)
    return None if row is None else row.state


def save(connection: Connection, rotation: str, state: str) -> None:
    _SAVE.run(connection, [{"rotation": rotation, "state": state}])


def forget(connection: Connection, rotation: str) -> None:
    _FORGET.run(connection, wanted=rotation)


def forget_ended(connection: Connection) -> None:
    _FORGET_ENDED.run(connection)
