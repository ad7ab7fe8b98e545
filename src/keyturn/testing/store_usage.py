"""Clauses: usage that adds up, sources and their watermarks, the detector's state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.domain.errors import Refused
from keyturn.domain.observations import Hole
from keyturn.ports.records import Dismissal, Pooled, SourceState, Told, UsageRow, Uses
from keyturn.ports.store import Store
from keyturn.stores.chain import first_broken
from keyturn.testing.store_samples import NAME, NOW, SECOND, Clauses, begun, line

BUCKET = timedelta(seconds=10)
SLOT = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bucket(
    number: int,
    client: str = "web",
    serial: int = 1,
    *,
    successes: int = 0,
    failures: int = 0,
    unauthenticated: int = 0,
    credential: str = NAME,
    length: timedelta = BUCKET,
) -> UsageRow:
    """One client's presentations in the bucket of this number from NOW on."""
    return UsageRow(
        credential=credential,
        serial=serial,
        client=client,
        start=NOW + number * BUCKET,
        length=length,
        successes=successes,
        failures=failures,
        unauthenticated=unauthenticated,
    )


def at(number: int) -> datetime:
    """The start of the bucket of this number."""
    return NOW + number * BUCKET


def add(
    store: Store,
    *rows: UsageRow,
    source: str = "log",
    watermark: datetime | None = None,
    cursor: str | None = None,
    batch: str | None = None,
    digest: str = "",
    complete_from: datetime | None = None,
) -> bool:
    """Add rows with what is said beside them."""
    told = Told(
        source=source,
        rows=rows,
        watermark=watermark,
        cursor=cursor,
        batch=batch,
        digest=digest,
        complete_from=complete_from,
    )
    (answer,) = store.add_usage([told], received_at=NOW)
    if isinstance(answer, Refused):
        raise answer
    return answer


class UsageClauses(Clauses):
    def everything(self, store: Store, credential: str = NAME) -> list[UsageRow]:
        return list(store.usage(credential, start=at(-100_000), end=at(100_000)))

    # Rows

    def test_usage_adds_up(self, store: Store) -> None:
        """What is told of one bucket is summed, within a batch, over batches and over sources."""
        add(store, bucket(0, successes=1), bucket(0, successes=2, failures=1))
        add(store, bucket(0, failures=3, unauthenticated=1))
        add(store, bucket(0, successes=10, unauthenticated=5), source="push")
        assert self.everything(store) == [bucket(0, successes=13, failures=4, unauthenticated=6)]

    def test_usage_of_some_sources(self, store: Store) -> None:
        """Where sources are named, what others told is left out."""
        add(store, bucket(0, successes=1))
        add(store, bucket(0, successes=10), source="push")
        add(store, bucket(0, successes=100), source="audit")
        for told_by, successes in ((["log"], 1), (["push", "log"], 11), (["nobody"], 0), ([], 0)):
            found = store.usage(NAME, start=at(0), end=at(1), sources=told_by)
            assert [row.successes for row in found] == [successes] * bool(successes)

    def test_rows_come_by_start_and_client(self, store: Store) -> None:
        """Rows come ordered by start, then client, whatever order they came in."""
        rows = [
            bucket(1, "a", successes=1),
            bucket(0, "b", 2, successes=1),
            bucket(0, "b", 1, successes=1),
            bucket(-1, "z", successes=1),
            bucket(0, "Ä", successes=1),
            bucket(0, "B", successes=1),
        ]
        add(store, *rows)
        found = [(row.start, row.client, row.serial) for row in self.everything(store)]
        assert found == sorted((row.start, row.client, row.serial) for row in rows)

    def test_usage_from_start_until_before_end(self, store: Store) -> None:
        """The bucket that starts at `start` is given, the one that starts at `end` is not; nor another credential's."""
        add(store, *(bucket(number, successes=1) for number in range(4)), bucket(1, credential="other", successes=1))
        found = store.usage(NAME, start=at(1), end=at(3))
        assert [row.start for row in found] == [at(1), at(2)]
        assert {row.credential for row in found} == {NAME}

    def test_usage_of_the_unknown_is_empty(self, store: Store) -> None:
        """Nothing told is nothing found, and no error."""
        assert self.everything(store) == []
        assert dict(store.uses(NAME)) == {}
        assert list(store.use_starts(NAME, "web", end=at(9))) == []
        assert dict(store.sources()) == {}

    # What is remembered of uses

    def test_uses_remember_the_newest(self, store: Store) -> None:
        """A use is remembered by its first start and its newest ends, for successes and refusals apart, whatever order
        the rows come in."""
        add(store, bucket(5, successes=1), bucket(2, failures=1))
        add(store, bucket(7, failures=1))
        add(store, bucket(3, successes=1), bucket(0, failures=1))
        assert dict(store.uses(NAME)) == {
            ("web", 1, "log"): Uses(first_use=at(0), last_use=at(8), last_success=at(6), last_refusal=at(8))
        }

    def test_uses_stand_apart_by_client_version_and_source(self, store: Store) -> None:
        """Each client's use of each version is remembered on its own, as each source tells it; what never happened is
        None."""
        add(store, bucket(0, "web", 1, successes=1), bucket(1, "web", 2, failures=1), bucket(2, "job", 1, successes=1))
        add(store, bucket(3, credential="other", successes=1))
        add(store, bucket(4, "web", 1, successes=1), source="push")
        uses = store.uses(NAME)
        assert set(uses) == {("web", 1, "log"), ("web", 1, "push"), ("web", 2, "log"), ("job", 1, "log")}
        assert uses["web", 1, "log"].last_refusal is None
        assert uses["web", 2, "log"].last_success is None
        assert uses["job", 1, "log"].last_use == at(3)
        assert uses["web", 1, "push"].first_use == at(4)

    def test_pooled_refusals_are_nobodys_use(self, store: Store) -> None:
        """Refusals that prove nothing about who sent them are counted, and are no use of the named client's."""
        add(store, bucket(0, unauthenticated=7), bucket(1))
        assert [row.unauthenticated for row in self.everything(store)] == [7, 0]
        assert dict(store.uses(NAME)) == {}
        assert list(store.use_starts(NAME, "web", end=at(9))) == []

    def test_pools_add_up(self, store: Store) -> None:
        """Pooled refusals are counted by version and source, late ones too, with the end of the newest bucket."""
        add(store, bucket(3, unauthenticated=2), bucket(1, "job", unauthenticated=1), bucket(4, successes=1))
        add(store, bucket(0, unauthenticated=4), bucket(0, serial=2, unauthenticated=1), watermark=at(9))
        add(store, bucket(5, unauthenticated=8))
        add(store, bucket(2, unauthenticated=1), bucket(2, credential="other", unauthenticated=1), source="push")
        assert dict(store.pooled(NAME)) == {
            (1, "log"): Pooled(count=15, last=at(6)),
            (2, "log"): Pooled(count=1, last=at(1)),
            (1, "push"): Pooled(count=1, last=at(3)),
        }

    def test_use_starts_are_the_clients_history(self, store: Store) -> None:
        """Starts of used buckets of any version come ascending and once each, those before the end alone."""
        add(store, bucket(3, serial=2, successes=1), bucket(1, failures=1), bucket(1, serial=2, successes=1))
        add(store, bucket(1, successes=1), source="push")
        add(store, bucket(2, "job", successes=1), bucket(4, successes=1))
        assert list(store.use_starts(NAME, "web", end=at(4))) == [at(1), at(3)]
        assert list(store.use_starts(NAME, "web", end=at(4) + timedelta(microseconds=1)))[-1] == at(4)

    def test_long_history_is_told_by_slots(self, store: Store) -> None:
        """Of a long history the newest 2,000 starts are given, and what came before them by five-minute slots."""
        add(store, *(bucket(number, successes=1) for number in range(2_500)))
        starts = list(store.use_starts(NAME, "web", end=at(20_000)))
        assert starts[-2_000:] == [at(number) for number in range(500, 2_500)]
        slots = starts[:-2_000]
        assert all((start - EPOCH) % SLOT == timedelta(0) for start in slots)
        assert slots == sorted({at(number) - (at(number) - EPOCH) % SLOT for number in range(500)})

    def test_rolled_up_buckets_leave_slots(self, store: Store) -> None:
        """Day by day, the buckets go, late ones too, and which slots each client used stays; pooled refusals leave none.
        What is remembered of uses stays as it was."""
        day = int(timedelta(days=1) / BUCKET)
        for number in (0, 1, 40, day, 2 * day, 3 * day):
            add(store, bucket(number, successes=1), bucket(number, "job", failures=1))
        add(store, bucket(200, unauthenticated=1), bucket(7, credential="other", successes=1), watermark=at(50))
        add(store, bucket(41, "late", successes=1))
        uses = dict(store.uses(NAME))
        while store.roll_up(NAME, at(2 * day)):
            pass
        assert {row.start for row in self.everything(store)} == {at(2 * day), at(3 * day)}
        assert dict(store.uses(NAME)) == uses
        expected = {at(number) - (at(number) - EPOCH) % SLOT for number in (0, 1, 40, day)}
        for client in ("web", "job"):
            starts = list(store.use_starts(NAME, client, end=at(9 * day)))
            assert starts == [*sorted(expected), at(2 * day), at(3 * day)]
        assert len(store.use_starts(NAME, "late", end=at(9 * day))) == 1
        assert len(self.everything(store, "other")) == 1
        assert list(store.use_starts(NAME, "web", end=at(0))) == sorted(expected)[:1]

    def test_late_use_of_a_day_that_was_rolled_up_joins_it(self, store: Store) -> None:
        """What was kept of a day is not lost when more of it comes."""
        add(store, bucket(0, successes=1))
        assert store.roll_up(NAME, at(9))
        add(store, bucket(-60, successes=1))
        assert store.roll_up(NAME, at(9))
        assert not store.roll_up(NAME, at(9))
        assert len(store.use_starts(NAME, "web", end=at(9))) == 2

    def test_old_slots_are_forgotten(self, store: Store) -> None:
        """Whole days, of one credential."""
        day = int(timedelta(days=1) / BUCKET)
        for name in (NAME, "other"):
            add(store, *(bucket(number * day, successes=1, credential=name) for number in range(4)))
            while store.roll_up(name, at(9 * day)):
                pass
        store.forget_slots(NAME, at(2 * day))
        assert len(store.use_starts(NAME, "web", end=at(9 * day))) == 2
        assert len(store.use_starts("other", "web", end=at(9 * day))) == 4

    # Sources

    def test_sources_state(self, store: Store) -> None:
        """A source is known from its first report on; its first watermark is remembered, and None changes nothing."""
        add(store)
        assert dict(store.sources()) == {"log": SourceState(name="log")}
        add(store, watermark=at(3), cursor="17")
        add(store, watermark=at(5), cursor="23")
        add(store)
        assert store.sources()["log"] == SourceState(name="log", cursor="23", watermark=at(5), since=at(3))

    def test_watermark_never_goes_back(self, store: Store) -> None:
        """An older watermark is ignored, while its cursor and rows are taken."""
        add(store, watermark=at(5), cursor="5")
        add(store, bucket(6, successes=1), watermark=at(2), cursor="2")
        assert store.sources()["log"] == SourceState(name="log", cursor="2", watermark=at(5), since=at(5))
        assert len(self.everything(store)) == 1

    def test_late_rows_are_use_but_no_evidence(self, store: Store) -> None:
        """A row of a bucket that its source had declared complete counts as use at once, stays out of the detector's
        buckets, and is counted; a bucket that was only partly complete is not late."""
        add(store, bucket(0, successes=1), watermark=at(2))
        add(store, bucket(1, failures=1), bucket(2, successes=1), bucket(1, "job", successes=1), watermark=at(4))
        assert [(row.client, row.start) for row in self.everything(store)] == [("web", at(0)), ("web", at(2))]
        assert store.sources()["log"].late == 2
        assert store.uses(NAME)["web", 1, "log"].last_refusal == at(2)
        assert store.uses(NAME)["job", 1, "log"].last_use == at(2)
        assert list(store.use_starts(NAME, "web", end=at(9))) == [at(0), at(1), at(2)]
        add(store, bucket(3, successes=1, length=BUCKET + timedelta(microseconds=1)))
        assert len(self.everything(store)) == 3

    def test_watermarks_are_each_sources_own(self, store: Store) -> None:
        """What one source declared complete makes nothing of another's late; nor do rows beside the watermark."""
        add(store, bucket(0, successes=1), watermark=at(9))
        add(store, bucket(0, successes=1), source="push", watermark=at(1))
        assert self.everything(store) == [bucket(0, successes=2)]
        assert {name: state.late for name, state in store.sources().items()} == {"log": 0, "push": 0}

    def test_batch_counts_once(self, store: Store) -> None:
        """A batch sent again changes nothing at all; the same id from another source is another batch."""
        assert add(store, bucket(0, successes=1), batch="b1", watermark=at(1), cursor="1")
        before = store.sources()
        assert not add(store, bucket(1, successes=1), batch="b1", watermark=at(9), cursor="9")
        assert dict(store.sources()) == dict(before)
        assert self.everything(store) == [bucket(0, successes=1)]
        assert set(store.uses(NAME)) == {("web", 1, "log")}
        assert add(store, bucket(0, successes=1), batch="b1", source="push")
        assert add(store, bucket(1, successes=1), batch="b2")
        assert self.everything(store) == [bucket(0, successes=2), bucket(1, successes=1)]

    def test_what_is_told_together_is_as_if_told_in_turn(self, store: Store) -> None:
        """Several words of several sources in one transaction: each taken, repeated or refused on its own, late by what its
        own source had said just before."""
        told = [
            Told(source="log", rows=[bucket(0, successes=1)], watermark=at(1), batch="a", digest="1"),
            Told(source="push", rows=[bucket(0, failures=2)], watermark=None),
            Told(source="log", rows=[bucket(0, successes=4), bucket(2, successes=1)], watermark=at(2), cursor="c"),
            Told(source="log", rows=[bucket(3, successes=8)], watermark=at(9), batch="a", digest="1"),
            Told(source="log", rows=[bucket(3, successes=8)], watermark=at(9), batch="a", digest="2"),
            Told(source="log", rows=[bucket(2, successes=1)], watermark=None, batch="b"),
        ]
        answers = store.add_usage(told, received_at=NOW)
        assert answers[:4] == [True, True, True, False]
        assert isinstance(answers[4], Refused)
        assert answers[5] is True
        assert self.everything(store) == [bucket(0, successes=1, failures=2), bucket(2, successes=2)]
        state = store.sources()["log"]
        assert (state.late, state.watermark, state.cursor, state.since) == (1, at(2), "c", at(1))
        assert store.uses(NAME)["web", 1, "log"].last_success == at(3)

    def test_batch_id_names_one_content(self, store: Store) -> None:
        """An id that comes again with another content is refused, as its reports would be lost in silence."""
        assert add(store, bucket(0, successes=1), batch="b1", digest="a")
        assert not add(store, bucket(0, successes=1), batch="b1", digest="a")
        with pytest.raises(Refused, match="'b1' with another content"):
            add(store, bucket(1, successes=1), batch="b1", digest="b", watermark=at(1), cursor="9")
        assert self.everything(store) == [bucket(0, successes=1)]
        assert store.sources()["log"] == SourceState(name="log")
        assert add(store, bucket(0, successes=1), batch="b1", digest="b", source="push")

    def test_batches_are_forgotten(self, store: Store) -> None:
        """Ids older than told are forgotten, the others not: a batch sent again then counts again."""
        for number in range(3):
            told = Told(source="log", rows=[], watermark=None, batch=f"b{number}")
            store.add_usage([told], received_at=at(number))
        store.forget_batches(at(1))
        assert [add(store, batch=f"b{number}") for number in range(3)] == [True, False, False]

    def test_holes_are_remembered(self, store: Store) -> None:
        """What a source has lost lies between its watermark and where its data goes on; before its first watermark
        nothing was known anyway."""
        add(store, complete_from=at(1), watermark=at(2))
        add(store, complete_from=at(2), watermark=at(3))
        add(store, complete_from=at(5), watermark=at(7))
        add(store, complete_from=at(6), watermark=at(8))
        add(store, complete_from=at(9), watermark=at(9), source="push")
        add(store, complete_from=at(10), watermark=at(12))
        assert list(store.holes("log")) == [Hole(start=at(3), end=at(5)), Hole(start=at(8), end=at(10))]
        assert list(store.holes("push")) == []

    def test_blind_source_is_remembered(self, store: Store) -> None:
        """Since when a source is blind, and why, stays until it sees again, whatever it tells meanwhile; a source that
        never reported can be blind too."""
        store.set_blind("mute", at(1), "no word")
        add(store, watermark=at(1), cursor="7")
        store.set_blind("log", at(2), "stopped: start it")
        add(store, watermark=at(3))
        assert store.sources()["mute"] == SourceState(name="mute", blind_since=at(1), trouble="no word")
        log = store.sources()["log"]
        assert (log.blind_since, log.trouble, log.watermark, log.cursor) == (at(2), "stopped: start it", at(3), "7")
        store.set_blind("log", None, "")
        assert store.sources()["log"] == SourceState(name="log", cursor="7", watermark=at(3), since=at(1))

    # Clients that are gone

    def test_dismissals_are_kept_with_a_line_in_the_trail(self, store: Store) -> None:
        """The newest word on each client of each credential counts, and each is in the trail."""
        rotation = begun(store)
        before = len(store.history(NAME))
        first, second = (
            Dismissal(client="web", at=at(number), by="Zoë", why=f"gone {number} ☃") for number in range(2)
        )
        other = Dismissal(client="job", at=at(3), by="ada", why="gone")
        for one in (first, other, second):
            store.dismiss(one, line(rotation, one.why))
        assert dict(store.dismissals(NAME)) == {"web": second, "job": other}
        assert dict(store.dismissals("other")) == {}
        assert [entry.detail for entry in store.history(NAME)[before:]] == ["gone 0 ☃", "gone", "gone 1 ☃"]
        assert first_broken(store.history(NAME)) is None

    def test_usage_from_threads_adds_up(self, store: Store) -> None:
        """Nothing is lost or counted twice when many threads report the same bucket, each batch sent twice."""

        def report(number: int) -> int:
            return sum(add(store, bucket(0, successes=1), batch=f"b{number % 20}") for _ in range(2))

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(report, range(40))) == 20
        assert self.everything(store) == [bucket(0, successes=20)]

    # The detector

    def test_detector_state_is_kept(self, store: Store) -> None:
        """A rotation's detector state is what was saved last; another rotation's is its own."""
        assert store.detector("r1") is None
        store.save_detector("r1", "one")
        store.save_detector("r2", "other")
        store.save_detector("r1", '{"e": 1.5, "☃": "' + "x" * 100_000 + '"}')
        saved = store.detector("r1")
        assert saved is not None
        assert saved.endswith('x"}')
        assert store.detector("r2") == "other"

    def test_rows_of_odd_lengths_stand_apart(self, store: Store) -> None:
        """Buckets of one start and different lengths are different buckets."""
        add(store, bucket(0, successes=1), bucket(0, successes=1, length=SECOND))
        assert [row.length for row in self.everything(store)] == [SECOND, BUCKET]
