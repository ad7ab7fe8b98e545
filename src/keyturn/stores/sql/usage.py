"""Usage: buckets that add up, what is remembered of each use, and how far the sources have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, or_, select

from keyturn.ports.records import SourceState, UsageRow, Uses
from keyturn.stores.rules import USE_STARTS, is_late, is_use, moved, with_use
from keyturn.stores.sql.database import InsertOnce, Upsert
from keyturn.stores.sql.tables import batches, detectors, sources, usage, uses


def _older(there: Any, comes: Any) -> Any:
    return case((comes < there, comes), else_=there)


def _newer(there: Any, comes: Any) -> Any:
    return case((or_(there.is_(None), comes > there), comes), else_=there)


_KEYS = [column.name for column in usage.primary_key]
_COUNTS = [column.name for column in usage.c if not column.primary_key]
_SEEN = InsertOnce(batches)
_MOVE = Upsert(sources)
_SAVE = Upsert(detectors)
_COUNT = Upsert(usage, **dict.fromkeys(_COUNTS, lambda there, more: there + more))
_REMEMBER = Upsert(uses, first_use=_older, last_use=_newer, last_success=_newer, last_refusal=_newer)
_STATES = select(sources).order_by(sources.c.name)
_REMEMBERED = select(uses).where(uses.c.credential == bindparam("wanted"))
_DETECTOR = select(detectors.c.state).where(detectors.c.rotation == bindparam("wanted"))
_STATE = select(sources).where(sources.c.name == bindparam("wanted")).with_for_update()
_FIRST = InsertOnce(sources)
_SUMS = [func.sum(usage.c[name], type_=usage.c[name].type).label(name) for name in _COUNTS]
_ROWS = (
    select(usage.c.start, usage.c.client, usage.c.serial, usage.c.length, *_SUMS)
    .where(
        usage.c.credential == bindparam("wanted"),
        usage.c.start >= bindparam("first"),
        usage.c.start < bindparam("end"),
        usage.c.late.is_(False),
    )
    .group_by(usage.c.start, usage.c.client, usage.c.serial, usage.c.length)
)
_STARTS = (
    select(usage.c.start)
    .distinct()
    .where(
        usage.c.credential == bindparam("wanted"),
        usage.c.client == bindparam("who"),
        usage.c.start < bindparam("end"),
        or_(usage.c.successes > 0, usage.c.failures > 0),
    )
    .order_by(usage.c.start.desc())
    .limit(USE_STARTS)
)


def states(connection: Connection) -> Mapping[str, SourceState]:
    return {row.name: _state(row) for row in connection.execute(_STATES)}


def add(
    connection: Connection,
    source: str,
    rows: Sequence[UsageRow],
    *,
    watermark: datetime | None,
    cursor: str | None,
    batch: str | None,
    received_at: datetime,
) -> bool:
    known = _locked(connection, source)
    if batch is not None:
        seen = {"source": source, "batch": batch, "received_at": received_at}
        if not _SEEN.run(connection, seen):
            return False
    state = _state(known)
    late = [is_late(row, state.watermark) for row in rows]
    _count(connection, source, rows, late)
    _remember(connection, [row for row in rows if is_use(row)])
    after = moved(state, watermark=watermark, cursor=cursor, late=sum(late))
    row = {
        "name": source,
        "cursor": after.cursor,
        "watermark": after.watermark,
        "since": after.since,
        "late": after.late,
    }
    _MOVE.run(connection, [row])
    return True


def _locked(connection: Connection, source: str) -> Row[Any]:
    """The source's row, made when there is none: what is written of one source comes one after another."""
    known = connection.execute(_STATE, {"wanted": source}).one_or_none()
    if known is not None:
        return known
    _FIRST.run(connection, {"name": source, "cursor": None, "watermark": None, "since": None, "late": 0})
    return connection.execute(_STATE, {"wanted": source}).one()


def _count(connection: Connection, source: str, rows: Sequence[UsageRow], late: Sequence[bool]) -> None:
    # Summed and sorted first: a statement may touch each row once, and all writers touch rows in the same order.
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row, is_behind in zip(rows, late, strict=True):
        key = (row.credential, row.start, row.client, row.serial, row.length, source, is_behind)
        counted = sums.setdefault(key, [0, 0, 0])
        counted[0] += row.successes
        counted[1] += row.failures
        counted[2] += row.unauthenticated
    _COUNT.run(
        connection,
        [dict(zip([*_KEYS, *_COUNTS], [*key, *counted], strict=True)) for key, counted in sorted(sums.items())],
    )


def _remember(connection: Connection, rows: Sequence[UsageRow]) -> None:
    summed: dict[tuple[str, str, int], Uses] = {}
    for row in rows:
        key = (row.credential, row.client, row.serial)
        summed[key] = with_use(summed.get(key), row)
    _REMEMBER.run(
        connection,
        [
            {
                "credential": credential,
                "client": client,
                "serial": serial,
                "first_use": use.first_use,
                "last_use": use.last_use,
                "last_success": use.last_success,
                "last_refusal": use.last_refusal,
            }
            for (credential, client, serial), use in sorted(summed.items())
        ],
    )


def rows(connection: Connection, credential: str, start: datetime, end: datetime) -> Sequence[UsageRow]:
    found = connection.execute(_ROWS, {"wanted": credential, "first": start, "end": end})
    return [
        UsageRow(
            credential=credential,
            serial=serial,
            client=client,
            start=at,
            length=length,
            successes=successes,
            failures=failures,
            unauthenticated=unauthenticated,
        )
        for at, client, serial, length, successes, failures, unauthenticated in sorted(tuple(row) for row in found)
    ]


def remembered(connection: Connection, credential: str) -> Mapping[tuple[str, int], Uses]:
    return {
        (row.client, row.serial): Uses(
            first_use=row.first_use,
            last_use=row.last_use,
            last_success=row.last_success,
            last_refusal=row.last_refusal,
        )
        for row in connection.execute(_REMEMBERED, {"wanted": credential})
    }


def starts(connection: Connection, credential: str, client: str, end: datetime) -> Sequence[datetime]:
    newest = connection.execute(_STARTS, {"wanted": credential, "who": client, "end": end}).scalars().all()
    return newest[::-1]


def detector(connection: Connection, rotation: str) -> str | None:
    return connection.execute(_DETECTOR, {"wanted": rotation}).scalar_one_or_none()


def save_detector(connection: Connection, rotation: str, state: str) -> None:
    _SAVE.run(connection, [{"rotation": rotation, "state": state}])


def _state(row: Any) -> SourceState:
    return SourceState(name=row.name, cursor=row.cursor, watermark=row.watermark, since=row.since, late=row.late)
