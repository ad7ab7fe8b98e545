"""Credentials, their versions and the backends' names for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, select, update

from keyturn.domain.errors import Refused
from keyturn.domain.model import Version, VersionState
from keyturn.domain.own_key import check_own_key
from keyturn.ports.records import Credential
from keyturn.stores.rules import check_marks
from keyturn.stores.sql import schema
from keyturn.stores.sql.database import InsertOnce, Upsert
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import bindings, credentials, rotations, versions

AT_ONCE = 500
"""Keys looked up with one statement: databases limit how many parameters one may have."""

_ADD = InsertOnce(credentials)
_PUT = Upsert(versions)
_BIND = Upsert(bindings)
_CREDENTIAL = select(credentials).where(credentials.c.name == bindparam("wanted"))
_BY_NAME = Query(_CREDENTIAL)
# What is written of one credential comes one after another, where the database has more than one writer.
_LOCKED = Query(_CREDENTIAL.add_columns(schema.REVISION).with_for_update(key_share=True))
_THIS = update(credentials).where(credentials.c.name == bindparam("wanted"))
_SET_DUE = Write(_THIS.values(due_at=bindparam("due_at")))
_SET_CHECK = Write(_THIS.values(check_at=bindparam("check_at")))
# Sorted by name only once it is read: databases do not agree on the order of text.
_DUE = select(credentials.c.due_at, credentials.c.name).where(
    credentials.c.due_at.is_not(None), credentials.c.due_at <= bindparam("now")
)
_TO_CHECK = select(credentials.c.check_at, credentials.c.name).where(
    credentials.c.check_at.is_not(None),
    credentials.c.check_at <= bindparam("now"),
    # A check that was under way when the rotation began may have set its next date since.
    ~exists().where(rotations.c.credential == credentials.c.name, rotations.c.live.is_(True)),
)
_UNCONFIRMED = select(credentials.c.name).where(credentials.c.restored_at.is_not(None))
_DUE_DATES = Query(select(credentials.c.name, credentials.c.due_at).where(credentials.c.due_at.is_not(None)))
# From the newest version down to the first that is current, a credential: what came before is not looked at.
_NEWEST_CURRENT = (
    select(versions.c.serial)
    .where(versions.c.credential == credentials.c.name, versions.c.state == VersionState.CURRENT.value)
    .order_by(versions.c.serial.desc())
    .limit(1)
    .scalar_subquery()
)
_CURRENT = select(credentials.c.name, _NEWEST_CURRENT)
_BOUND = Query(select(bindings).where(bindings.c.credential == bindparam("wanted")))
_VERSIONS = select(versions).where(versions.c.credential == bindparam("wanted"))
_VERSIONS_OF = Query(_VERSIONS)
_WITH_KEY = Query(select(versions).where(versions.c.key_id == bindparam("key_id")).order_by(versions.c.serial))
_MARKED_OF = Query(_VERSIONS.where(versions.c.compromised_at.is_not(None)))


def register(
    connection: Connection,
    name: str,
    version: Version,
    due_at: datetime | None,
    others: Sequence[Version],
    apart_from: Collection[str],
) -> bool:
    """Whether the credential was not known before."""
    if apart_from and connection.dialect.name == "postgresql":
        # One after another: of two that have one key the second sees the first. Nobody else waits; SQLite has one writer.
        connection.exec_driver_sql("LOCK TABLE credentials IN SHARE UPDATE EXCLUSIVE MODE")
    known = {one.serial: one for one in (*others, version)}
    row = {"name": name, "next_serial": max(known) + 1, "due_at": due_at, "rolled_back": 0}
    added = _ADD.run(connection, row)
    if added:
        same = [] if version.key_id is None else _WITH_KEY.all(connection, key_id=version.key_id)
        check_own_key(name, version, [(row.credential, _version(row)) for row in same if row.credential in apart_from])
        put_versions(connection, name, known)
    return added


def restored(connection: Connection, at: datetime) -> None:
    connection.execute(update(credentials).values(restored_at=at))


def unconfirmed(connection: Connection) -> Sequence[str]:
    return sorted(connection.execute(_UNCONFIRMED).scalars())


def found(connection: Connection, name: str, shown: Sequence[Version]) -> None:
    row = registered(connection, name)
    known = {one.serial for one in _VERSIONS_OF.all(connection, wanted=name)}
    new = {one.serial: one for one in shown if one.serial not in known}
    if not new:
        return
    beyond = max(row.next_serial, max(new) + 1)
    connection.execute(update(credentials).where(credentials.c.name == name).values(next_serial=beyond))
    put_versions(connection, name, new)


def confirm(connection: Connection, name: str) -> None:
    connection.execute(update(credentials).where(credentials.c.name == name).values(restored_at=None))


def find(connection: Connection, name: str) -> Credential | None:
    row = _BY_NAME.first(connection, wanted=name)
    if row is None:
        return None
    return _credential(row, _VERSIONS_OF.all(connection, wanted=name))


def registered(connection: Connection, name: str) -> Any:
    """The credential's row, locked; `Refused` when there is none."""
    row = lock(connection, name)
    if row is None:
        raise Refused(f"no credential {name} is registered")
    return row


def lock(connection: Connection, name: str) -> Any | None:
    """Let nobody else write of the credential until the transaction ends. Its row, or None when there is none."""
    row = _LOCKED.first(connection, wanted=name)
    if row is not None:
        schema.check(row.schema)
    return row


def all_of_them(connection: Connection) -> Mapping[str, Credential]:
    issued: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(select(versions)):
        issued[row.credential].append(row)
    rows = connection.execute(select(credentials).order_by(credentials.c.name))
    return {row.name: _credential(row, issued[row.name]) for row in rows}


def due_dates(connection: Connection) -> Mapping[str, datetime]:
    return {row.name: row.due_at for row in _DUE_DATES.all(connection)}


def current(connection: Connection) -> Mapping[str, int]:
    return {name: serial for name, serial in connection.execute(_CURRENT) if serial is not None}


def set_due(connection: Connection, name: str, due_at: datetime | None) -> None:
    _SET_DUE.run(connection, wanted=name, due_at=due_at)


def set_check(connection: Connection, name: str, check_at: datetime | None) -> None:
    _SET_CHECK.run(connection, wanted=name, check_at=check_at)


def to_check(connection: Connection, now: datetime) -> Sequence[str]:
    return [name for _, name in sorted(tuple(row) for row in connection.execute(_TO_CHECK, {"now": now}))]


def due(connection: Connection, now: datetime) -> Sequence[str]:
    return [name for _, name in sorted(tuple(row) for row in connection.execute(_DUE, {"now": now}))]


def key_ids(connection: Connection, wanted: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for start in range(0, len(wanted), AT_ONCE):
        statement = select(versions.c.key_id, versions.c.credential, versions.c.serial)
        statement = statement.where(versions.c.key_id.in_(wanted[start : start + AT_ONCE]))
        # Sorted here: databases do not agree on the order of text.
        for row in sorted(connection.execute(statement), key=lambda row: (row.credential, row.serial)):
            found[row.key_id].append((row.credential, row.serial))
    return dict(found)


def put_versions(connection: Connection, name: str, of_it: Mapping[int, Version]) -> None:
    """Raises `Refused` when the mark of a compromised version would go."""
    marked = _MARKED_OF.all(connection, wanted=name)
    check_marks(name, {row.serial: _version(row) for row in marked}, of_it)
    rows = [
        {
            "credential": name,
            "serial": version.serial,
            "state": version.state,
            "key_id": version.key_id,
            "fingerprint": version.fingerprint,
            "compromised_at": version.compromised_at,
        }
        for version in of_it.values()
    ]
    _PUT.run(connection, rows)


def bind(connection: Connection, credential: str, target: str, backend_id: str, serial: int) -> None:
    registered(connection, credential)
    row = {"credential": credential, "target": target, "backend_id": backend_id, "serial": serial}
    _BIND.run(connection, [row])


def bound(connection: Connection, credential: str) -> Mapping[tuple[str, str], int]:
    rows = _BOUND.all(connection, wanted=credential)
    return {(row.target, row.backend_id): row.serial for row in rows}


def _credential(row: Row[Any], issued: Iterable[Row[Any]]) -> Credential:
    return Credential(
        name=row.name,
        versions={one.serial: _version(one) for one in sorted(issued, key=lambda one: one.serial)},
        next_serial=row.next_serial,
        due_at=row.due_at,
        rolled_back=row.rolled_back,
        check_at=row.check_at,
        restored_at=row.restored_at,
    )


def _version(row: Row[Any]) -> Version:
    return Version(
        serial=row.serial,
        state=VersionState(row.state),
        key_id=row.key_id,
        fingerprint=row.fingerprint,
        compromised_at=row.compromised_at,
    )
