"""Sums what sources tell before it is written: a statement may touch each row once, and the fewer rows the better."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, or_

from keyturn.ports.records import Pooled, Told, Uses
from keyturn.stores.rules import is_late, joined, with_pooled, with_use
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
    use only ever grows, until it is old and forgotten: it is enough to know what was written by us."""

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


def _as_new(written: datetime | None, moment: datetime | None) -> bool:
    return moment is None or (written is not None and written >= moment)


class Sums:
    """Rows of one transaction."""

    def __init__(self) -> None:
        self._counts: dict[Bucket, list[int]] = {}

    def take(self, told: Told, watermark: datetime | None) -> int:
        """Add what a source tells; returns how many of its rows come late."""
        source, counts, late = told.source, self._counts, 0
        for row in told.rows:
            behind = is_late(row, watermark)
            late += behind
            key = (row.credential, row.start, row.client, row.serial, row.length, source, behind)
            counted = counts.get(key)
            if counted is None:
                counts[key] = [row.successes, row.failures, row.unauthenticated]
            else:
                counted[0] += row.successes
                counted[1] += row.failures
                counted[2] += row.unauthenticated
        return late

    def uses(self) -> dict[Used, Uses]:
        """What the rows say of each use: of many sources' reports of one bucket it is the same as of their sum."""
        uses: dict[Used, Uses] = {}
        for (credential, start, client, serial, length, source, _), (successes, failures, _) in self._counts.items():
            if successes or failures:
                used = (credential, client, serial, source)
                uses[used] = with_use(uses.get(used), start, start + length, successes=successes, failures=failures)
        return uses

    def _pools(self) -> dict[tuple[str, int, str], Pooled]:
        pools: dict[tuple[str, int, str], Pooled] = {}
        for (credential, start, _, serial, length, source, _), (_, _, count) in self._counts.items():
            if count:
                pool = (credential, serial, source)
                pools[pool] = with_pooled(pools.get(pool), count, start + length)
        return pools

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
                for (credential, serial, source), one in sorted(self._pools().items(), key=_key)
            ],
        )


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]
