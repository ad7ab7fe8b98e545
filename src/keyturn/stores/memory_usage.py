"""Usage in memory; its owner holds the lock."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keyturn.ports.records import SourceState, UsageRow, Uses
from keyturn.stores.rules import USE_STARTS, is_late, is_use, moved, with_use

Key = tuple[str, int, timedelta]


@dataclass(slots=True)
class _Series:
    """Values by time, in order of time."""

    starts: list[datetime] = field(default_factory=list)
    at: dict[datetime, dict[Key, UsageRow]] = field(default_factory=dict)

    def bucket(self, start: datetime) -> dict[Key, UsageRow]:
        if start not in self.at:
            insort(self.starts, start)
            self.at[start] = {}
        return self.at[start]


class MemoryUsage:
    """Rows, what is remembered of uses, and how far the sources have come."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceState] = {}
        self._batches: set[tuple[str, str]] = set()
        self._rows: dict[str, _Series] = defaultdict(_Series)
        self._uses: dict[str, dict[tuple[str, int], Uses]] = defaultdict(dict)
        self._starts: dict[tuple[str, str], _Series] = defaultdict(_Series)

    def sources(self) -> Mapping[str, SourceState]:
        return dict(self._sources)

    def add(
        self,
        source: str,
        rows: Sequence[UsageRow],
        *,
        watermark: datetime | None,
        cursor: str | None,
        batch: str | None,
    ) -> bool:
        if batch is not None:
            if (source, batch) in self._batches:
                return False
            self._batches.add((source, batch))
        state = self._sources.get(source, SourceState(name=source))
        late = [row for row in rows if is_late(row, state.watermark)]
        for row in rows:
            if not is_late(row, state.watermark):
                self._count(row)
            if is_use(row):
                uses = self._uses[row.credential]
                uses[row.client, row.serial] = with_use(uses.get((row.client, row.serial)), row)
                self._starts[row.credential, row.client].bucket(row.start)
        self._sources[source] = moved(state, watermark=watermark, cursor=cursor, late=len(late))
        return True

    def _count(self, row: UsageRow) -> None:
        bucket = self._rows[row.credential].bucket(row.start)
        key = (row.client, row.serial, row.length)
        known = bucket.get(key)
        if known is not None:
            row = replace(
                known,
                successes=known.successes + row.successes,
                failures=known.failures + row.failures,
                unauthenticated=known.unauthenticated + row.unauthenticated,
            )
        bucket[key] = row

    def rows(self, credential: str, *, start: datetime, end: datetime) -> Sequence[UsageRow]:
        series = self._rows.get(credential, _Series())
        starts = series.starts[bisect_left(series.starts, start) : bisect_left(series.starts, end)]
        return [row for at in starts for _, row in sorted(series.at[at].items())]

    def uses(self, credential: str) -> Mapping[tuple[str, int], Uses]:
        return dict(self._uses.get(credential, {}))

    def starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        starts = self._starts.get((credential, client), _Series()).starts
        last = bisect_left(starts, end)
        return starts[max(0, last - USE_STARTS) : last]
