"""Usage: buckets that add up, what is remembered of each use, and how far the sources have come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, select

from keyturn.domain.errors import Refused
from keyturn.domain.model import VersionState
from keyturn.domain.observations import Hole
from keyturn.ports.records import Pooled, SourceState, Told, UsageRow, Uses
from keyturn.stores.rules import (
    hole_of,
    moved,
    reused,
)
from keyturn.stores.sql import outbox
from keyturn.stores.sql.database import InsertOnce, Upsert
from keyturn.stores.sql.query import Query
from keyturn.stores.sql.sums import Remembered, Sums, Used
from keyturn.stores.sql.tables import batches, holes, pooled, sources, usage, versions
from keyturn.stores.sql.tables import uses as uses_table

_COUNTS = [column.name for column in usage.c if not column.primary_key]
_SEEN = InsertOnce(batches)
_DIGEST = select(batches.c.digest).where(
    batches.c.source == bindparam("wanted"), batches.c.batch == bindparam("called")
)
_FORGET = delete(batches).where(batches.c.received_at < bindparam("before"))
_HOLE = InsertOnce(holes)
_HOLES = Query(select(holes).where(holes.c.source == bindparam("wanted")).order_by(holes.c.start))
_POOLED = Query(select(pooled).where(pooled.c.credential == bindparam("wanted")))
_MOVE = Upsert(sources)
_STATES = Query(select(sources).order_by(sources.c.name))
_REMEMBERED = Query(select(uses_table).where(uses_table.c.credential == bindparam("wanted")))
_LATER = uses_table.alias("later")
_DESTROYED = select(versions.c.serial).where(
    versions.c.credential == bindparam("wanted"), versions.c.state == VersionState.DESTROYED.value
)
_FORGET_USES = delete(uses_table).where(
    uses_table.c.credential == bindparam("wanted"),
    uses_table.c.last_use < bindparam("before"),
    uses_table.c.serial.in_(_DESTROYED),
    exists().where(
        _LATER.c.credential == uses_table.c.credential,
        _LATER.c.client == uses_table.c.client,
        _LATER.c.source == uses_table.c.source,
        # Through the key, to the next version as a rule: each row costs a step, however many there are.
        _LATER.c.serial > uses_table.c.serial,
        _LATER.c.last_use >= uses_table.c.last_use,
    ),
)
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


def states(connection: Connection) -> Mapping[str, SourceState]:
    return {row.name: _state(row) for row in _STATES.all(connection)}


def add(
    connection: Connection, told: Sequence[Told], received_at: datetime, remembered: Remembered
) -> tuple[list[bool | Refused], dict[Used, Uses]]:
    """The answers, and what is written of uses once the transaction has ended well."""
    answers: list[bool | Refused] = [False] * len(told)
    states: dict[str, SourceState] = {}
    sums = Sums()
    # All writers take sources in the same order, and each source's words in the order in which they came.
    for number, one in sorted(enumerate(told), key=lambda numbered: numbered[1].source):
        if one.source not in states:
            states[one.source] = _state(_locked(connection, one.source))
        if (answer := _first_time(connection, one, received_at)) is not True:
            answers[number] = answer
            continue
        answers[number], state = True, states[one.source]
        late = sums.take(one, state.watermark)
        if (hole := hole_of(state, one.complete_from)) is not None:
            _HOLE.run(connection, {"source": one.source, "start": hole.start, "end": hole.end})
        states[one.source] = moved(state, one, late=late)
        for message, notifiers in one.alerts:
            outbox.enqueue(connection, [message], notifiers, received_at)
    uses = remembered.news(sums.uses())
    sums.write(connection, uses)
    for state in states.values():
        _write(connection, state)
    return answers, uses


def _first_time(connection: Connection, told: Told, received_at: datetime) -> bool | Refused:
    if told.batch is None:
        return True
    seen = {"source": told.source, "batch": told.batch, "received_at": received_at, "digest": told.digest}
    if _SEEN.run(connection, seen):
        return True
    before = connection.execute(_DIGEST, {"wanted": told.source, "called": told.batch}).scalar_one()
    return reused(told, before) or False


def forget_batches(connection: Connection, before: datetime) -> None:
    connection.execute(_FORGET, {"before": before})


def set_blind(connection: Connection, source: str, since: datetime | None, trouble: str) -> None:
    _write(connection, replace(_state(_locked(connection, source)), blind_since=since, trouble=trouble))


def holes_of(connection: Connection, source: str) -> Sequence[Hole]:
    return [Hole(start=row.start, end=row.end) for row in _HOLES.all(connection, wanted=source)]


def pooled_of(connection: Connection, credential: str) -> Mapping[tuple[int, str], Pooled]:
    found = _POOLED.all(connection, wanted=credential)
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
        for row in _REMEMBERED.all(connection, wanted=credential)
    }


def forget_uses(connection: Connection, credential: str, before: datetime) -> None:
    connection.execute(_FORGET_USES, {"wanted": credential, "before": before})


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
