"""Clauses: usage that adds up, what is remembered of it, and the detector's state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keyturn.domain.model import VersionState
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, Pooled, Uses
from keyturn.ports.store import Store
from keyturn.testing.store_samples import (
    BUCKET,
    NAME,
    SECOND,
    Clauses,
    add,
    at,
    begun,
    bucket,
    ended,
    everything,
    version,
)

SLOT = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UsageClauses(Clauses):
    # Rows

    def test_usage_adds_up(self, store: Store) -> None:
        """What is told of one bucket is summed, within a batch, over batches and over sources."""
        add(store, bucket(0, successes=1), bucket(0, successes=2, failures=1))
        add(store, bucket(0, failures=3, unauthenticated=1))
        add(store, bucket(0, successes=10, unauthenticated=5), source="push")
        assert everything(store) == [bucket(0, successes=13, failures=4, unauthenticated=6)]

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
        found = [(row.start, row.client, row.serial) for row in everything(store)]
        assert found == sorted((row.start, row.client, row.serial) for row in rows)

    def test_usage_from_start_until_before_end(self, store: Store) -> None:
        """The bucket that starts at `start` is given, the one that starts at `end` is not; nor another credential's."""
        add(store, *(bucket(number, successes=1) for number in range(4)), bucket(1, credential="other", successes=1))
        found = store.usage(NAME, start=at(1), end=at(3))
        assert [row.start for row in found] == [at(1), at(2)]
        assert {row.credential for row in found} == {NAME}

    def test_usage_of_the_unknown_is_empty(self, store: Store) -> None:
        """Nothing told is nothing found, and no error."""
        assert everything(store) == []
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

    def test_old_uses_of_destroyed_versions_are_forgotten(self, store: Store) -> None:
        """Where the client was seen to use a later version since. Each client's newest use, each source that has told of it,
        and what is recent or not destroyed stay: what is read at each tick does not grow with every rotation."""
        dead = [version(serial, state=VersionState.DESTROYED) for serial in (1, 2, 3, 5)]
        store.register(NAME, version(6), due_at=None, others=[*dead, version(4, state=VersionState.DISABLED)])
        store.register("other", version(2, name="other"), due_at=None, others=[replace(dead[0], key_id="o")])
        for serial in (1, 2, 3, 4, 5, 6):
            add(store, bucket(serial, "web", serial, successes=1))
        add(store, bucket(1, "gone", 1, failures=1), bucket(2, "gone", 2, failures=1))
        add(store, bucket(1, "web", 1, successes=1), bucket(2, "web", 2, successes=1), source="push")
        add(store, bucket(3, "back", 3, successes=1), bucket(2, "back", 5, failures=1))
        add(store, bucket(1, credential="other", successes=1), bucket(2, serial=2, credential="other", successes=1))
        other = dict(store.uses("other"))
        store.forget_uses(NAME, at(4))
        web = {("web", serial, "log") for serial in (3, 4, 5, 6)}
        others = {("gone", 2, "log"), ("web", 2, "push"), ("back", 3, "log"), ("back", 5, "log")}
        assert set(store.uses(NAME)) == web | others
        store.forget_uses(NAME, at(100))
        assert set(store.uses(NAME)) == web - {("web", 3, "log"), ("web", 5, "log")} | others
        assert dict(store.uses("other")) == other

    def test_use_of_what_was_forgotten_is_remembered_anew(self, store: Store) -> None:
        """Whoever comes back with a version that is long destroyed is seen again."""
        store.register(NAME, version(2), due_at=None, others=[version(state=VersionState.DESTROYED)])
        add(store, bucket(0, successes=1), bucket(1, serial=2, successes=1))
        store.forget_uses(NAME, at(9))
        assert set(store.uses(NAME)) == {("web", 2, "log")}
        add(store, bucket(20, failures=1))
        assert store.uses(NAME)["web", 1, "log"] == Uses(
            first_use=at(20), last_use=at(21), last_success=None, last_refusal=at(21)
        )

    def test_pooled_refusals_are_nobodys_use(self, store: Store) -> None:
        """Refusals that prove nothing about who sent them are counted, and are no use of the named client's."""
        add(store, bucket(0, unauthenticated=7), bucket(1))
        assert [row.unauthenticated for row in everything(store)] == [7, 0]
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
        assert {row.start for row in everything(store)} == {at(2 * day), at(3 * day)}
        assert dict(store.uses(NAME)) == uses
        expected = {at(number) - (at(number) - EPOCH) % SLOT for number in (0, 1, 40, day)}
        for client in ("web", "job"):
            starts = list(store.use_starts(NAME, client, end=at(9 * day)))
            assert starts == [*sorted(expected), at(2 * day), at(3 * day)]
        assert len(store.use_starts(NAME, "late", end=at(9 * day))) == 1
        assert len(everything(store, "other")) == 1
        assert list(store.use_starts(NAME, "web", end=at(0))) == sorted(expected)[:1]

    def test_late_use_of_a_day_that_was_rolled_up_joins_it(self, store: Store) -> None:
        """What was kept of a day is not lost when more of it comes."""
        add(store, bucket(0, successes=1))
        assert store.roll_up(NAME, at(9))
        add(store, bucket(-60, successes=1))
        assert store.roll_up(NAME, at(9))
        assert not store.roll_up(NAME, at(9))
        assert list(store.with_usage()) == [NAME]
        assert len(store.use_starts(NAME, "web", end=at(9))) == 2

    def test_credentials_with_usage_are_named(self, store: Store) -> None:
        """Each once, in order, whether its usage is still in buckets or rolled up; one that nobody used is none of them."""
        assert list(store.with_usage()) == []
        for name in ("c", "a", "b"):
            store.register(name, version(name=name), due_at=None)
            add(store, bucket(0, successes=1, credential=name), bucket(1, "job", failures=1, credential=name))
        store.register("idle", version(name="idle"), due_at=None)
        store.roll_up("b", at(9))
        assert list(store.with_usage()) == ["a", "b", "c"]
        store.forget_slots("b", at(90 * int(timedelta(days=1) / BUCKET)))
        assert list(store.with_usage()) == ["a", "c"]

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

    # At once

    def test_usage_from_threads_adds_up(self, store: Store) -> None:
        """Nothing is lost or counted twice when many threads report the same bucket, each batch sent twice."""

        def report(number: int) -> int:
            return sum(add(store, bucket(0, successes=1), batch=f"b{number % 20}") for _ in range(2))

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(report, range(40))) == 20
        assert everything(store) == [bucket(0, successes=20)]

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

    def test_detector_goes_with_its_rotation(self, store: Store) -> None:
        """Once a rotation has ended nobody reads its detector, which would be kept for ever; another's stays."""
        rotation = begun(store)
        begun(store, id="r2", name="other")
        store.save_detector("r1", "one")
        store.save_detector("r2", "other")
        moved = store.commit(Commit(rotation=rotation))
        assert store.detector("r1") == "one"
        ended(store, moved, Phase.COMPLETED)
        assert store.detector("r1") is None
        assert store.detector("r2") == "other"

    def test_detectors_of_what_has_ended_are_forgotten(self, store: Store) -> None:
        """What came after the end, or was left by an older release, goes; a live rotation's stays."""
        ended(store, begun(store), Phase.SUPERSEDED)
        begun(store, id="r2")
        for rotation in ("r1", "r2", "never"):
            store.save_detector(rotation, "state")
        store.forget_detectors()
        assert [store.detector(rotation) for rotation in ("r1", "r2", "never")] == [None, "state", None]

    def test_rows_of_odd_lengths_stand_apart(self, store: Store) -> None:
        """Buckets of one start and different lengths are different buckets."""
        add(store, bucket(0, successes=1), bucket(0, successes=1, length=SECOND))
        assert [row.length for row in everything(store)] == [SECOND, BUCKET]
