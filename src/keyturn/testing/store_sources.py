"""Clauses: usage sources, how far they have come, what they sent twice or lost, and words on clients that stand beside
theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.domain.errors import Refused, StaleRevision
from keyturn.domain.observations import Hole
from keyturn.ports.records import Acknowledgement, Alert, Dismissal, SourceState, Told
from keyturn.ports.store import Store
from keyturn.stores.chain import first_broken
from keyturn.testing.store_samples import BUCKET, NAME, NOW, Clauses, add, at, begun, bucket, everything, line, message


class SourceClauses(Clauses):
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
        assert len(everything(store)) == 1

    def test_late_rows_are_use_but_no_evidence(self, store: Store) -> None:
        """A row of a bucket that its source had declared complete counts as use at once, stays out of the detector's
        buckets, and is counted; a bucket that was only partly complete is not late."""
        add(store, bucket(0, successes=1), watermark=at(2))
        add(store, bucket(1, failures=1), bucket(2, successes=1), bucket(1, "job", successes=1), watermark=at(4))
        assert [(row.client, row.start) for row in everything(store)] == [("web", at(0)), ("web", at(2))]
        assert store.sources()["log"].late == 2
        assert store.uses(NAME)["web", 1, "log"].last_refusal == at(2)
        assert store.uses(NAME)["job", 1, "log"].last_use == at(2)
        assert list(store.use_starts(NAME, "web", end=at(9))) == [at(0), at(1), at(2)]
        add(store, bucket(3, successes=1, length=BUCKET + timedelta(microseconds=1)))
        assert len(everything(store)) == 3

    def test_watermarks_are_each_sources_own(self, store: Store) -> None:
        """What one source declared complete makes nothing of another's late; nor do rows beside the watermark."""
        add(store, bucket(0, successes=1), watermark=at(9))
        add(store, bucket(0, successes=1), source="push", watermark=at(1))
        assert everything(store) == [bucket(0, successes=2)]
        assert {name: state.late for name, state in store.sources().items()} == {"log": 0, "push": 0}

    def test_batch_counts_once(self, store: Store) -> None:
        """A batch sent again changes nothing at all; the same id from another source is another batch."""
        assert add(store, bucket(0, successes=1), batch="b1", watermark=at(1), cursor="1")
        before = store.sources()
        assert not add(store, bucket(1, successes=1), batch="b1", watermark=at(9), cursor="9")
        assert dict(store.sources()) == dict(before)
        assert everything(store) == [bucket(0, successes=1)]
        assert set(store.uses(NAME)) == {("web", 1, "log")}
        assert add(store, bucket(0, successes=1), batch="b1", source="push")
        assert add(store, bucket(1, successes=1), batch="b2")
        assert everything(store) == [bucket(0, successes=2), bucket(1, successes=1)]

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
        assert everything(store) == [bucket(0, successes=1, failures=2), bucket(2, successes=2)]
        state = store.sources()["log"]
        assert (state.late, state.watermark, state.cursor, state.since) == (1, at(2), "c", at(1))
        assert store.uses(NAME)["web", 1, "log"].last_success == at(3)

    def test_batch_id_names_one_content(self, store: Store) -> None:
        """An id that comes again with another content is refused, as its reports would be lost in silence."""
        assert add(store, bucket(0, successes=1), batch="b1", digest="a")
        assert not add(store, bucket(0, successes=1), batch="b1", digest="a")
        with pytest.raises(Refused, match="'b1' with another content"):
            add(store, bucket(1, successes=1), batch="b1", digest="b", watermark=at(1), cursor="9")
        assert everything(store) == [bucket(0, successes=1)]
        assert store.sources()["log"] == SourceState(name="log")
        assert add(store, bucket(0, successes=1), batch="b1", digest="b", source="push")

    def test_alerts_are_queued_with_what_gave_cause_for_them(self, store: Store) -> None:
        """With a batch that is taken, once; with one that was seen before, is refused, or comes from a source that another
        replica has by now, none."""

        def told(alert: str, digest: str = "a") -> Told:
            alerts = [Alert(message(alert), ("pager", "chat"))]
            rows = [bucket(0, successes=1)]
            return Told(source="log", rows=rows, watermark=None, batch="b1", digest=digest, alerts=alerts)

        assert list(store.add_usage([told("m1"), told("m2")], received_at=NOW)) == [True, False]
        assert [isinstance(one, Refused) for one in store.add_usage([told("m3", "b")], received_at=NOW)] == [True]
        (lease,) = store.claim(["source/log"], "a", ttl=timedelta(minutes=1))
        store.release(lease)
        with pytest.raises(StaleRevision):
            store.add_usage([replace(told("m4"), batch="b2")], received_at=NOW, claim=lease)
        queued = [(item.message.id, item.notifier) for item in store.outbox(NOW)]
        assert queued == [("m1", "pager"), ("m1", "chat")]
        assert len(everything(store)) == 1

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

    # Words on clients

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

    def test_acknowledgements_are_kept_by_version(self, store: Store) -> None:
        """The newest word on each client and version of each credential counts, and each is in the trail."""
        rotation = begun(store)
        before = len(store.history(NAME))
        said = [
            Acknowledgement(client="web", serial=2, at=at(0), by="Zoë", why="moved ☃"),
            Acknowledgement(client="web", serial=3, at=at(1), by="Zoë", why="again"),
            Acknowledgement(client="job", serial=2, at=at(2), by="ada", why="moved"),
            Acknowledgement(client="web", serial=2, at=at(3), by="ada", why="moved, really"),
        ]
        for one in said:
            store.acknowledge(one, line(rotation, one.why))
        assert dict(store.acknowledgements(NAME)) == {
            ("web", 2): said[3],
            ("web", 3): said[1],
            ("job", 2): said[2],
        }
        assert dict(store.acknowledgements("other")) == {}
        assert [entry.detail for entry in store.history(NAME)[before:]] == [one.why for one in said]
        assert first_broken(store.history(NAME)) is None

    def test_words_on_clients_at_the_same_time_are_all_kept(self, store: Store, other: Store) -> None:
        """Operators who dismiss and acknowledge clients of one credential at once are all answered; the trail has a line of
        each, unbroken."""
        rotation = begun(store)
        before = len(store.history(NAME))

        def say(number: int) -> None:
            which = store if number % 2 else other
            client, why = f"client-{number}", f"word {number}"
            if number % 3:
                gone = Dismissal(client=client, at=NOW, by="ada", why=why)
                which.dismiss(gone, line(rotation, why))
            else:
                has_moved = Acknowledgement(client=client, serial=2, at=NOW, by="ada", why=why)
                which.acknowledge(has_moved, line(rotation, why))

        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(say, range(48)))) == 48
        assert {entry.detail for entry in store.history(NAME)[before:]} == {f"word {number}" for number in range(48)}
        assert len(store.dismissals(NAME)) + len(store.acknowledgements(NAME)) == 48
        assert first_broken(store.history(NAME)) is None
