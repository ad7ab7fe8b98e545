"""Rotations: begun, found, and moved by compare-and-swap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from keyturn.domain.errors import Refused, StaleRevision
from keyturn.domain.model import Rotation
from keyturn.ports.records import Commit, HistoryEntry
from keyturn.stores.codec import ROTATION
from keyturn.stores.rules import check_serial, check_successor, rolled_back
from keyturn.stores.sql import credentials, detectors, journal, outbox, trail
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import credentials as credential_rows
from keyturn.stores.sql.tables import rotations

_DOCUMENTS = select(rotations.c.id, rotations.c.document)
_LIVE = _DOCUMENTS.where(rotations.c.live.is_(True))
_ALL_LIVE = _LIVE.order_by(rotations.c.number)
_ROTATING = select(rotations.c.credential).where(rotations.c.live.is_(True)).order_by(rotations.c.number)
_BY_ID = Query(_DOCUMENTS.where(rotations.c.id == bindparam("wanted")))
_REVISION = Query(select(rotations.c.revision).where(rotations.c.id == bindparam("wanted")))
_LIVE_OF = Query(_LIVE.where(rotations.c.credential == bindparam("wanted")))
_LATEST_OF = Query(
    _DOCUMENTS.where(rotations.c.credential == bindparam("wanted")).order_by(rotations.c.number.desc()).limit(1)
)
_MOVE = Write(
    update(rotations)
    .where(
        rotations.c.id == bindparam("wanted"),
        rotations.c.revision == bindparam("expected"),
        rotations.c.live.is_(True),
    )
    .values(
        revision=bindparam("revision"), live=bindparam("live"), phase=bindparam("phase"), document=bindparam("document")
    )
)
_KEEP = Write(
    update(rotations)
    .where(
        rotations.c.id == bindparam("wanted"),
        rotations.c.revision == bindparam("expected"),
        rotations.c.live.is_(False),
        rotations.c.phase == bindparam("end"),
    )
    .values(revision=bindparam("revision"), document=bindparam("document"))
)
_BEGIN = Write(insert(rotations), [column.name for column in rotations.c if not column.primary_key])
_BEGUN = Write(
    update(credential_rows)
    .where(credential_rows.c.name == bindparam("wanted"))
    .values(next_serial=bindparam("next_serial"), due_at=None, check_at=None)
)
_ENDED = Write(
    update(credential_rows)
    .where(credential_rows.c.name == bindparam("wanted"))
    .values(due_at=bindparam("due_at"), check_at=bindparam("check_at"), rolled_back=bindparam("rolled_back"))
)


def begin(connection: Connection, rotation: Rotation, entry: HistoryEntry | None) -> None:
    name = rotation.credential
    known = credentials.registered(connection, name)
    under_way = live_of(connection, name)
    if under_way is not None:
        raise Refused(f"a rotation of {name} is under way: {under_way.id}")
    if find(connection, rotation.id) is not None:
        raise Refused(f"there was a rotation {rotation.id} already; give each an id of its own")
    check_serial(rotation, known.next_serial)
    _BEGUN.run(connection, wanted=name, next_serial=rotation.incoming + 1)
    credentials.put_versions(connection, name, rotation.versions)
    _BEGIN.run(connection, id=rotation.id, credential=name, **_columns(rotation))
    trail.append(connection, [] if entry is None else [entry])


def commit(connection: Connection, commit: Commit, now: datetime) -> Rotation:
    before = commit.rotation
    credentials.lock(connection, before.credential)
    after = replace(before, revision=before.revision + 1)
    row = {"wanted": before.id, "expected": before.revision, **_columns(after)}
    moved = _MOVE.run(connection, **row) == 1
    kept = {"wanted": before.id, "expected": before.revision, "end": after.phase}
    kept |= {"revision": row["revision"], "document": row["document"]}
    resting = not after.live and live_of(connection, after.credential) is None
    if not moved and not (resting and _KEEP.run(connection, **kept) == 1):
        raise StaleRevision(f"rotation {before.id} has moved since revision {before.revision}: read it again")
    credentials.put_versions(connection, after.credential, after.versions)
    journal.open_attempts(connection, after, commit.intents, now)
    outbox.enqueue(connection, commit.messages, commit.notifiers, now)
    trail.append(connection, commit.history)
    if not moved:
        credentials.set_check(connection, after.credential, commit.check_at)
    elif not after.live:
        _end(connection, after, commit)
    if commit.successor is not None:
        check_successor(after, commit.successor)
        begin(connection, commit.successor, commit.successor_entry)
    return after


def _end(connection: Connection, rotation: Rotation, commit: Commit) -> None:
    name = rotation.credential
    before = credentials.registered(connection, name).rolled_back
    told = rolled_back(before, rotation.phase)
    _ENDED.run(connection, wanted=name, due_at=commit.due_at, check_at=commit.check_at, rolled_back=told)
    detectors.forget(connection, rotation.id)


def live(connection: Connection) -> Sequence[Rotation]:
    return [_read(row) for row in connection.execute(_ALL_LIVE)]


def rotating(connection: Connection) -> Sequence[str]:
    return connection.execute(_ROTATING).scalars().all()


def find(connection: Connection, id: str) -> Rotation | None:
    return _one(connection, _BY_ID, id)


def revision(connection: Connection, id: str) -> int | None:
    row = _REVISION.first(connection, wanted=id)
    return None if row is None else row.revision


def live_of(connection: Connection, credential: str) -> Rotation | None:
    return _one(connection, _LIVE_OF, credential)


def latest_of(connection: Connection, credential: str) -> Rotation | None:
    return _one(connection, _LATEST_OF, credential)


def _one(connection: Connection, query: Query, wanted: str) -> Rotation | None:
    row = query.first(connection, wanted=wanted)
    return None if row is None else _read(row)


def _read(row: Any) -> Rotation:
    return ROTATION.read(row.document, f"rotation {row.id}")


def _columns(rotation: Rotation) -> dict[str, Any]:
    return {
        "revision": rotation.revision,
        "live": rotation.live,
        "phase": rotation.phase,
        "document": ROTATION.write(rotation),
    }
