"""The history that silence is judged by, long after its buckets are gone: a bit for each five minutes of a day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Select, bindparam, delete, func, or_, select

from keyturn.stores.rules import EXACT, SLOTS_A_DAY, slot_of, slot_start, thinned
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.tables import slots, usage


def _names(column: Column[str]) -> Select[Any]:
    """The column's values, from one to the next through the index: what it costs follows how many there are of them, and
    not how many rows have each."""
    walk = select(func.min(column).label("name")).cte("names", recursive=True)
    beyond = select(func.min(column)).where(column > walk.c.name).scalar_subquery()
    walk = walk.union_all(select(beyond).where(walk.c.name.is_not(None)))
    return select(walk.c.name).where(walk.c.name.is_not(None))


AT_ONCE = 50_000
"""So many buckets are rolled up in one transaction, which is to end long before a database cancels its statements: of
thousands of clients a day has millions."""
DAY = timedelta(days=1)
BYTES = SLOTS_A_DAY // 8
_WITH_BUCKETS, _WITH_SLOTS = _names(usage.c.credential), _names(slots.c.credential)
_USED = or_(usage.c.successes > 0, usage.c.failures > 0)
_OLDEST = select(func.min(usage.c.start, type_=usage.c.start.type)).where(usage.c.credential == bindparam("wanted"))
_BEYOND = (
    select(usage.c.start)
    .where(usage.c.credential == bindparam("wanted"), usage.c.start > bindparam("first"))
    .order_by(usage.c.start)
    .offset(bindparam("rows"))
    .limit(1)
)
_OF_SPAN = (
    usage.c.credential == bindparam("wanted"),
    usage.c.start >= bindparam("first"),
    usage.c.start < bindparam("end"),
)
_TAKE_OUT = delete(usage).where(*_OF_SPAN).returning(usage.c.client, usage.c.start, _USED)
_KNOWN = select(slots.c.client, slots.c.used).where(
    slots.c.credential == bindparam("wanted"),
    slots.c.day == bindparam("when"),
    slots.c.client.in_(bindparam("who", expanding=True)),
)
_SAVE = Upsert(slots)
_FORGET = delete(slots).where(slots.c.credential == bindparam("wanted"), slots.c.day < bindparam("when"))
_STARTS = (
    select(usage.c.start)
    .distinct()
    .where(
        usage.c.credential == bindparam("wanted"),
        usage.c.client == bindparam("who"),
        usage.c.start < bindparam("end"),
        _USED,
    )
    .order_by(usage.c.start)
)
_DAYS = (
    select(slots.c.day, slots.c.used)
    .where(
        slots.c.credential == bindparam("wanted"), slots.c.client == bindparam("who"), slots.c.day <= bindparam("when")
    )
    .order_by(slots.c.day)
)


def credentials(connection: Connection) -> Sequence[str]:
    return sorted({name for names in (_WITH_BUCKETS, _WITH_SLOTS) for name in connection.execute(names).scalars()})


def roll_up(connection: Connection, credential: str, before: datetime) -> bool:
    oldest = connection.execute(_OLDEST, {"wanted": credential}).scalar_one()
    if oldest is None or oldest >= before:
        return False
    day, _ = slot_of(oldest)
    # All that start together go together, so that there is an end to it.
    beyond = connection.execute(_BEYOND, {"wanted": credential, "first": oldest, "rows": AT_ONCE}).scalar_one_or_none()
    ends = [end for end in (before, slot_start(day + 1, 0), beyond) if end is not None]
    span = {"wanted": credential, "first": oldest, "end": min(ends)}
    used: dict[str, int] = defaultdict(int)
    # What is taken out and nothing else: what a source adds meanwhile is left for the next time.
    for client, start, was_used in connection.execute(_TAKE_OUT, span):
        if was_used:
            used[client] |= 1 << slot_of(start)[1]
    for client, bits in connection.execute(_KNOWN, {"wanted": credential, "when": day, "who": sorted(used)}):
        used[client] |= int.from_bytes(bits, "little")
    rows = [
        {"credential": credential, "client": client, "day": day, "used": bits.to_bytes(BYTES, "little")}
        for client, bits in sorted(used.items())
    ]
    _SAVE.run(connection, rows)
    return True


def forget(connection: Connection, credential: str, before: datetime) -> None:
    connection.execute(_FORGET, {"wanted": credential, "when": slot_of(before)[0]})


def starts(connection: Connection, credential: str, client: str, end: datetime) -> Sequence[datetime]:
    exact = list(connection.execute(_STARTS, {"wanted": credential, "who": client, "end": end}).scalars())
    wanted = {"wanted": credential, "who": client, "when": slot_of(end)[0]}
    rolled = [start for day, bits in connection.execute(_DAYS, wanted) for start in _starts(day, bits) if start < end]
    found = sorted({*rolled, *exact})
    return found if len(found) <= EXACT else thinned(found)


def _starts(day: int, bits: bytes) -> Iterator[datetime]:
    used = int.from_bytes(bits, "little")
    return (slot_start(day, slot) for slot in range(SLOTS_A_DAY) if used >> slot & 1)
