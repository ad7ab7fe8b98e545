"""Usage in memory; its owner holds the lock."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keyturn.domain.observations import Hole
from keyturn.ports.records import Pooled, SourceState, UsageRow, Uses
from keyturn.stores.rules import USE_STARTS, check_batch, hole_of, is_late, is_use, moved, with_pooled, with_use

Key = tuple[str, int, timedelta, str]
"""Client, serial, length, source."""


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
        self._batches: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._holes: dict[str, list[Hole]] = defaultdict(list)
        self._pooled: dict[str, dict[tuple[int, str], Pooled]] = defaultdict(dict)
        self._rows: dict[str, _Series] = defaultdict(_Series)
        self._uses: dict[str, dict[tuple[str, int, str], Uses]] = defaultdict(dict)
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
        digest: str,
        complete_from: datetime | None,
        received_at: datetime,
    ) -> bool:
        if batch is not None:
            if (source, batch) in self._batches:
                check_batch(source, batch, self._batches[source, batch][0], digest)
                return False
            self._batches[source, batch] = digest, received_at
        state = self._sources.get(source, SourceState(name=source))
        late = [row for row in rows if is_late(row, state.watermark)]
        for row in rows:
            if not is_late(row, state.watermark):
                self._count(row, source)
            if is_use(row):
                uses, used = self._uses[row.credential], (row.client, row.serial, source)
                uses[used] = with_use(uses.get(used), row)
                self._starts[row.credential, row.client].bucket(row.start)
            if row.unauthenticated:
                pools, pool = self._pooled[row.credential], (row.serial, source)
                pools[pool] = with_pooled(pools.get(pool), row)
        if (hole := hole_of(state, complete_from)) is not None:
            self._holes[source].append(hole)
        self._sources[source] = moved(state, watermark=watermark, cursor=cursor, late=len(late))
        return True

    def forget_batches(self, before: datetime) -> None:
        self._batches = {key: known for key, known in self._batches.items() if known[1] >= before}

    def set_blind(self, source: str, since: datetime | None, trouble: str) -> None:
        state = self._sources.get(source, SourceState(name=source))
        self._sources[source] = replace(state, blind_since=since, trouble=trouble)

    def _count(self, row: UsageRow, source: str) -> None:
        bucket = self._rows[row.credential].bucket(row.start)
        key = (row.client, row.serial, row.length, source)
        bucket[key] = _sum(bucket.get(key), row)

    def rows(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None
    ) -> Sequence[UsageRow]:
        series = self._rows.get(credential, _Series())
        starts = series.starts[bisect_left(series.starts, start) : bisect_left(series.starts, end)]
        found = []
        for at in starts:
            sums: dict[tuple[str, int, timedelta], UsageRow] = {}
            for (client, serial, length, source), row in series.at[at].items():
                if sources is None or source in sources:
                    sums[client, serial, length] = _sum(sums.get((client, serial, length)), row)
            found += [row for _, row in sorted(sums.items())]
        return found

    def uses(self, credential: str) -> Mapping[tuple[str, int, str], Uses]:
        return dict(self._uses.get(credential, {}))

    def pooled(self, credential: str) -> Mapping[tuple[int, str], Pooled]:
        return dict(self._pooled.get(credential, {}))

    def holes(self, source: str) -> Sequence[Hole]:
        return list(self._holes.get(source, []))

    def starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        starts = self._starts.get((credential, client), _Series()).starts
        last = bisect_left(starts, end)
        return starts[max(0, last - USE_STARTS) : last]


def _sum(known: UsageRow | None, row: UsageRow) -> UsageRow:
    if known is None:
        return row
    return replace(
        known,
        successes=known.successes + row.successes,
        failures=known.failures + row.failures,
        unauthenticated=known.unauthenticated + row.unauthenticated,
    )
