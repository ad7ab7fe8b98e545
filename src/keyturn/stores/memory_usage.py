"""Usage in memory; its owner holds the lock."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keyturn.domain.errors import Refused
from keyturn.domain.observations import Hole
from keyturn.ports.records import Pooled, SourceState, Told, UsageRow, Uses
from keyturn.stores.rules import (
    hole_of,
    is_late,
    is_use,
    moved,
    reused,
    slot_of,
    slot_start,
    thinned,
    with_pooled,
    with_use,
)

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
        self._slots: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)

    def sources(self) -> Mapping[str, SourceState]:
        return dict(self._sources)

    def add(self, told: Told, received_at: datetime) -> bool | Refused:
        source = told.source
        if told.batch is not None:
            before = self._batches.get((source, told.batch))
            if before is not None:
                return reused(told, before[0]) or False
            self._batches[source, told.batch] = told.digest, received_at
        state = self._sources.get(source) or SourceState(name=source)
        late = 0
        for row in told.rows:
            if is_late(row, state.watermark):
                late += 1
            else:
                self._count(row, source)
            if is_use(row):
                uses, used = self._uses[row.credential], (row.client, row.serial, source)
                end = row.start + row.length
                uses[used] = with_use(uses.get(used), row.start, end, successes=row.successes, failures=row.failures)
                self._starts[row.credential, row.client].bucket(row.start)
            if row.unauthenticated:
                pools, pool = self._pooled[row.credential], (row.serial, source)
                pools[pool] = with_pooled(pools.get(pool), row.unauthenticated, row.start + row.length)
        if (hole := hole_of(state, told.complete_from)) is not None:
            self._holes[source].append(hole)
        self._sources[source] = moved(state, told, late=late)
        return True

    def forget_batches(self, before: datetime) -> None:
        self._batches = {key: known for key, known in self._batches.items() if known[1] >= before}

    def set_blind(self, source: str, since: datetime | None, trouble: str) -> None:
        state = self._sources.get(source) or SourceState(name=source)
        self._sources[source] = replace(state, blind_since=since, trouble=trouble)

    def _count(self, row: UsageRow, source: str) -> None:
        bucket = self._rows[row.credential].bucket(row.start)
        key = (row.client, row.serial, row.length, source)
        bucket[key] = _sum(bucket.get(key), row)

    def rows(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None
    ) -> Sequence[UsageRow]:
        series = self._rows.get(credential) or _Series()
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

    def forget_uses(self, credential: str, destroyed: Collection[int], before: datetime) -> None:
        newest: dict[tuple[str, str], datetime] = {}
        for (client, serial, source), use in sorted(self._uses[credential].items(), key=_serial, reverse=True):
            later = newest.get((client, source))
            if later is None or use.last_use > later:
                newest[client, source] = use.last_use
            elif serial in destroyed and use.last_use < before:
                del self._uses[credential][client, serial, source]

    def pooled(self, credential: str) -> Mapping[tuple[int, str], Pooled]:
        return dict(self._pooled.get(credential, {}))

    def holes(self, source: str) -> Sequence[Hole]:
        return list(self._holes.get(source, []))

    def credentials(self) -> Sequence[str]:
        buckets = {name for name, series in self._rows.items() if series.starts}
        return sorted(buckets | {name for (name, _), kept in self._slots.items() if kept})

    def roll_up(self, credential: str, before: datetime) -> bool:
        buckets = self._rows.get(credential) or _Series()
        used = [series.starts for (name, _), series in self._starts.items() if name == credential]
        oldest = min([start for starts in (buckets.starts, *used) for start in starts[:1]], default=before)
        if oldest >= before:
            return False
        day, _ = slot_of(oldest)
        end = min(before, slot_start(day + 1, 0))
        for start in buckets.starts[: bisect_left(buckets.starts, end)]:
            del buckets.at[start]
        del buckets.starts[: bisect_left(buckets.starts, end)]
        for (name, client), series in self._starts.items():
            if name == credential:
                last = bisect_left(series.starts, end)
                self._slots[credential, client].update(slot_of(start) for start in series.starts[:last])
                for start in series.starts[:last]:
                    del series.at[start]
                del series.starts[:last]
        return True

    def forget_slots(self, credential: str, before: datetime) -> None:
        first, _ = slot_of(before)
        for (name, _), slots in self._slots.items():
            if name == credential:
                slots -= {slot for slot in slots if slot[0] < first}

    def starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        exact = (self._starts.get((credential, client)) or _Series()).starts
        rolled = [slot_start(*slot) for slot in self._slots.get((credential, client), ())]
        return thinned(sorted({start for start in (*rolled, *exact) if start < end}))


def _serial(used: tuple[tuple[str, int, str], Uses]) -> int:
    return used[0][1]


def _sum(known: UsageRow | None, row: UsageRow) -> UsageRow:
    if known is None:
        return row
    return UsageRow(
        *known[:5],
        known.successes + row.successes,
        known.failures + row.failures,
        known.unauthenticated + row.unauthenticated,
    )
