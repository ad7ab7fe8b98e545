"""Sums what sources tell before it is written: a statement may touch each row once, and the fewer rows the better."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, or_

from keyturn.ports.records import Pooled, Told, UsageRow, Uses
from keyturn.stores.rules import is_late, is_use, joined, with_pooled, with_use
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.tables import pooled, usage, uses


def _older(there: Any, comes: Any) -> Any:
    return case((comes < there, comes), else_=there)


def _newer(there: Any, comes: Any) -> Any:
    return case((or_(there.is_(None), comes > there), comes), else_=there)


def _more(there: Any, comes: Any) -> Any:
    return there + comes


_COUNT = Upsert(usage, successes=_more, failures=_more, unauthenticated=_more)
_REMEMBER = Upsert(uses, first_use=_older, last_use=_newer, last_success=_newer, last_refusal=_newer)
_POOL = Upsert(pooled, count=_more, last=_newer)

Used = tuple[str, str, int, str]
"""Credential, client, serial, source."""
Bucket = tuple[str, datetime, str, int, timedelta, str, bool]
"""Credential, start, client, serial, length, source, whether it came late: a row's key, in the order of the columns."""


class Remembered:
    """What is known to be written of uses, so that the many reports of one bucket write it once. What is remembered of a
    use only ever grows: it is enough to know what was written by us."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._written: dict[Used, Uses] = {}

    def news(self, uses: Mapping[Used, Uses]) -> dict[Used, Uses]:
        """Those that say more than what is written."""
        return {used: use for used, use in uses.items() if not _says_all(self._written.get(used), use)}

    def written(self, uses: Mapping[Used, Uses]) -> None:
        """These are durable now."""
        if len(self._written) + len(uses) > self._limit:
            self._written.clear()
        for used, use in uses.items():
            before = self._written.get(used)
            self._written[used] = use if before is None else joined(before, use)


def _says_all(written: Uses | None, use: Uses) -> bool:
    return (
        written is not None
        and written.first_use <= use.first_use
        and written.last_use >= use.last_use
        and _as_new(written.last_success, use.last_success)
        and _as_new(written.last_refusal, use.last_refusal)
    )


def _tells(known: Uses, row: UsageRow) -> bool:
    """Whether a row says nothing new of a use: most rows of a bucket do not."""
    end = row.start + row.length
    return (
        known.first_use <= row.start
        and known.last_use >= end
        and _as_new(known.last_success, end if row.successes else None)
        and _as_new(known.last_refusal, end if row.failures else None)
    )


def _as_new(written: datetime | None, moment: datetime | None) -> bool:
    return moment is None or (written is not None and written >= moment)


class Sums:
    """Rows of one transaction."""

    def __init__(self) -> None:
        self._counts: dict[Bucket, list[int]] = {}
        self.uses: dict[Used, Uses] = {}
        self._pools: dict[tuple[str, int, str], Pooled] = {}

    def take(self, told: Told, watermark: datetime | None) -> int:
        """Add what a source tells; returns how many of its rows come late."""
        source, late = told.source, 0
        for row in told.rows:
            behind = is_late(row, watermark)
            late += behind
            key = (row.credential, row.start, row.client, row.serial, row.length, source, behind)
            counted = self._counts.get(key)
            if counted is None:
                self._counts[key] = [row.successes, row.failures, row.unauthenticated]
            else:
                counted[0] += row.successes
                counted[1] += row.failures
                counted[2] += row.unauthenticated
            if is_use(row):
                used = (row.credential, row.client, row.serial, source)
                before = self.uses.get(used)
                if before is None or not _tells(before, row):
                    self.uses[used] = with_use(before, row)
            if row.unauthenticated:
                pool = (row.credential, row.serial, source)
                self._pools[pool] = with_pooled(self._pools.get(pool), row)
        return late

    def write(self, connection: Connection, uses: Mapping[Used, Uses]) -> None:
        """All of it, of uses these alone; each table's rows in the order of their keys, as every writer has them."""
        _COUNT.run_many(connection, [(*key, *counted) for key, counted in sorted(self._counts.items())])
        _REMEMBER.run_many(
            connection,
            [
                (*used, use.first_use, use.last_use, use.last_success, use.last_refusal)
                for used, use in sorted(uses.items(), key=_key)
            ],
        )
        _POOL.run(
            connection,
            [
                {"credential": credential, "serial": serial, "source": source, "count": one.count, "last": one.last}
                for (credential, serial, source), one in sorted(self._pools.items(), key=_key)
            ],
        )


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]
