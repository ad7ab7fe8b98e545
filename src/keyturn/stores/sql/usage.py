"""Usage: buckets that add up, what is remembered of each use, and how far the sources have come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, or_, select

from keyturn.domain.observations import Hole
from keyturn.ports.records import Pooled, SourceState, UsageRow, Uses
from keyturn.stores.rules import (
    USE_STARTS,
    check_batch,
    hole_of,
    is_late,
    is_use,
    moved,
    with_pooled,
    with_use,
)
from keyturn.stores.sql.database import InsertOnce, Upsert
from keyturn.stores.sql.tables import batches, detectors, holes, pooled, sources, usage, uses


def _older(there: Any, comes: Any) -> Any:
    return case((comes < there, comes), else_=there)


def _newer(there: Any, comes: Any) -> Any:
    return case((or_(there.is_(None), comes > there), comes), else_=there)


_KEYS = [column.name for column in usage.primary_key]
_COUNTS = [column.name for column in usage.c if not column.primary_key]
_SEEN = InsertOnce(batches)
_DIGEST = select(batches.c.digest).where(
    batches.c.source == bindparam("wanted"), batches.c.batch == bindparam("called")
)
_FORGET = delete(batches).where(batches.c.received_at < bindparam("before"))
_HOLE = InsertOnce(holes)
_HOLES = select(holes).where(holes.c.source == bindparam("wanted")).order_by(holes.c.start)
_POOL = Upsert(pooled, count=lambda there, more: there + more, last=_newer)
_POOLED = select(pooled).where(pooled.c.credential == bindparam("wanted"))
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
_ROWS_OF = _ROWS.where(usage.c.source.in_(bindparam("told_by", expanding=True)))
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
    digest: str,
    complete_from: datetime | None,
    received_at: datetime,
) -> bool:
    known = _locked(connection, source)
    if batch is not None:
        seen = {"source": source, "batch": batch, "received_at": received_at, "digest": digest}
        if not _SEEN.run(connection, seen):
            before = connection.execute(_DIGEST, {"wanted": source, "called": batch}).scalar_one()
            check_batch(source, batch, before, digest)
            return False
    state = _state(known)
    late = [is_late(row, state.watermark) for row in rows]
    _count(connection, source, rows, late)
    _remember(connection, source, [row for row in rows if is_use(row)])
    _pool(connection, source, [row for row in rows if row.unauthenticated])
    if (hole := hole_of(state, complete_from)) is not None:
        _HOLE.run(connection, {"source": source, "start": hole.start, "end": hole.end})
    _write(connection, moved(state, watermark=watermark, cursor=cursor, late=sum(late)))
    return True


def forget_batches(connection: Connection, before: datetime) -> None:
    connection.execute(_FORGET, {"before": before})


def set_blind(connection: Connection, source: str, since: datetime | None, trouble: str) -> None:
    _write(connection, replace(_state(_locked(connection, source)), blind_since=since, trouble=trouble))


def holes_of(connection: Connection, source: str) -> Sequence[Hole]:
    return [Hole(start=row.start, end=row.end) for row in connection.execute(_HOLES, {"wanted": source})]


def pooled_of(connection: Connection, credential: str) -> Mapping[tuple[int, str], Pooled]:
    found = connection.execute(_POOLED, {"wanted": credential})
    return {(serial, source): Pooled(count=count, last=last) for _, serial, source, count, last in found}


def _write(connection: Connection, state: SourceState) -> None:
    row = {
        "name": state.name,
        "cursor": state.cursor,
        "watermark": state.watermark,
        "since": state.since,
        "late": state.late,
        "blind_since": state.blind_since,
        "trouble": state.trouble,
    }
    _MOVE.run(connection, [row])


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


def _remember(connection: Connection, source: str, rows: Sequence[UsageRow]) -> None:
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
                "source": source,
                "first_use": use.first_use,
                "last_use": use.last_use,
                "last_success": use.last_success,
                "last_refusal": use.last_refusal,
            }
            for (credential, client, serial), use in sorted(summed.items())
        ],
    )


def _pool(connection: Connection, source: str, rows: Sequence[UsageRow]) -> None:
    summed: dict[tuple[str, int], Pooled] = {}
    for row in rows:
        summed[row.credential, row.serial] = with_pooled(summed.get((row.credential, row.serial)), row)
    _POOL.run(
        connection,
        [
            {"credential": credential, "serial": serial, "source": source, "count": one.count, "last": one.last}
            for (credential, serial), one in sorted(summed.items())
        ],
    )


def rows(
    connection: Connection, credential: str, start: datetime, end: datetime, told_by: Collection[str] | None
) -> Sequence[UsageRow]:
    wanted = {"wanted": credential, "first": start, "end": end}
    if told_by is None:
        found = connection.execute(_ROWS, wanted)
    else:
        found = connection.execute(_ROWS_OF, {**wanted, "told_by": sorted(told_by)})
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


def remembered(connection: Connection, credential: str) -> Mapping[tuple[str, int, str], Uses]:
    return {
        (row.client, row.serial, row.source): Uses(
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
    return SourceState(
        name=row.name,
        cursor=row.cursor,
        watermark=row.watermark,
        since=row.since,
        late=row.late,
        blind_since=row.blind_since,
        trouble=row.trouble or "",
    )
