"""The conformance suite of `keyturn.ports.usage.UsageSource`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from keyturn.domain.errors import Denied, Transient
from keyturn.domain.observations import SourceKind
from keyturn.ports.usage import UsageBatch, UsageReport, UsageSource
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEY = "kid7"
CLIENTS = ("client-1", "client-2")


class UsageHarness(ABC):
    """One place that sees credentials used, and a back door to use them there."""

    clients: tuple[str, str] = CLIENTS
    """Two clients as the source will name them."""

    @abstractmethod
    def source(self) -> UsageSource:
        """A new instance of the plugin for the same place, as after a restart: it remembers nothing."""

    @abstractmethod
    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        """A client presents a key, now; returns when that was."""

    @abstractmethod
    def now(self) -> datetime:
        """The present, by the clock that the place itself uses."""

    def key_of(self, report: UsageReport) -> str | None:
        """Which key a report is about, in the words of `present`: a source of store reads has its backend's own."""
        return report.key_id

    def wait(self) -> None:
        """Let a little time pass at the place."""
        time.sleep(0.05)

    def present_ours(self, key_id: str) -> None:
        """keyturn itself presents a key, marked as its own."""
        pytest.skip(f"this harness cannot present {key_id} as keyturn")

    def break_down(self) -> UsageSource:
        """A new instance of the plugin for a place that cannot be read."""
        pytest.skip("this harness cannot break the place")

    def secret_value(self) -> str:
        """A value that was presented at the place and must show nowhere."""
        pytest.skip("no values are presented at this place")


class UsageSourceConformance:
    """What every usage source promises. Override `harness`."""

    known_within: ClassVar[float] = 15.0
    """Seconds, of this machine's clock, within which a use must be in a batch and below the watermark."""

    @pytest.fixture
    def harness(self) -> UsageHarness:
        """The plugin at a place where nothing was presented yet."""
        raise NotImplementedError("override the fixture `harness`")

    @pytest.fixture
    def source(self, harness: UsageHarness) -> UsageSource:
        return harness.source()

    def follow(
        self, harness: UsageHarness, source: UsageSource, cursor: str | None, until: datetime
    ) -> list[UsageBatch]:
        """Poll as the daemon does, each time from the last cursor, until the watermark has passed `until`."""
        deadline = time.monotonic() + self.known_within
        batches: list[UsageBatch] = []
        while True:
            batches.append(source.poll(cursor, now=harness.now()))
            cursor = batches[-1].cursor
            watermark = batches[-1].watermark
            if watermark is not None and watermark > until:
                return batches
            assert time.monotonic() < deadline, f"the watermark {watermark} has not passed {until}"
            harness.wait()

    def counted(self, harness: UsageHarness, batches: list[UsageBatch]) -> Counter[tuple[str | None, str, bool]]:
        """How often each client presented each key with each outcome."""
        total: Counter[tuple[str | None, str, bool]] = Counter()
        for report in (report for batch in batches for report in batch.reports):
            total[harness.key_of(report), report.client, True] += report.successes
            total[harness.key_of(report), report.client, False] += report.failures
        return +total

    def test_says_what_it_is(self, source: UsageSource) -> None:
        """Kind, resolution and lag are what the machine reckons with."""
        assert source.kind in SourceKind
        assert source.resolution > timedelta(0)
        assert source.lag >= timedelta(0)
        assert all(isinstance(line, str) for line in source.check())

    def test_every_use_is_told_once(self, harness: UsageHarness, source: UsageSource) -> None:
        """Following the cursors, each presentation is counted once, under its key, client and outcome, in the bucket of
        its time."""
        used: Counter[tuple[str | None, str, bool]] = Counter()
        last = harness.now()
        batches = [source.poll(None, now=harness.now())]
        for number in range(12):
            client, success = harness.clients[number % 2], number % 3 != 0 or not source.sees_failures
            last = harness.present(KEY, client, success=success)
            used[KEY, client, success] += 1
            if number % 4 == 3:
                batches.append(source.poll(batches[-1].cursor, now=harness.now()))
        batches += self.follow(harness, source, batches[-1].cursor, last)
        assert self.counted(harness, batches) == used
        for report in (report for batch in batches for report in batch.reports):
            assert (report.start - EPOCH) % source.resolution == timedelta(0)
            assert report.start <= last < harness.now() + source.resolution

    def test_unheard_silence_becomes_known(self, harness: UsageHarness, source: UsageSource) -> None:
        """Where nothing is presented the watermark goes on, so that silence can be told from not knowing; it never runs
        ahead of the present, and never back."""
        (*batches, last) = self.follow(harness, source, None, harness.now())
        assert self.counted(harness, [*batches, last]) == Counter()
        marks = [batch.watermark for batch in (*batches, last) if batch.watermark is not None]
        assert marks == sorted(marks)
        assert marks[-1] <= harness.now()

    def test_same_cursor_gives_the_same_reports_again(self, harness: UsageHarness, source: UsageSource) -> None:
        """A batch whose cursor was never kept is told again, by this instance and by a new one."""
        start = source.poll(None, now=harness.now()).cursor
        moment = harness.present(KEY, harness.clients[0], success=True)
        told = self.counted(harness, self.follow(harness, source, start, moment))
        assert told == Counter({(KEY, harness.clients[0], True): 1})
        assert self.counted(harness, self.follow(harness, source, start, moment)) == told
        assert self.counted(harness, self.follow(harness, harness.source(), start, moment)) == told

    def test_restart_loses_and_repeats_nothing(self, harness: UsageHarness) -> None:
        """A new instance for each poll, going on from the cursor that was kept, counts every use once."""
        cursor = harness.source().poll(None, now=harness.now()).cursor
        batches = []
        moment = harness.now()
        for client in harness.clients * 3:
            moment = harness.present(KEY, client, success=True)
            batches.append(harness.source().poll(cursor, now=harness.now()))
            cursor = batches[-1].cursor
        batches += self.follow(harness, harness.source(), cursor, moment)
        assert self.counted(harness, batches) == Counter({(KEY, client, True): 3 for client in harness.clients})

    def test_late_reports_never_move_the_watermark_back(self, harness: UsageHarness, source: UsageSource) -> None:
        """From one poll to the next the watermark stays or goes on."""
        marks: list[datetime] = []
        cursor = None
        for _ in range(5):
            harness.present(KEY, harness.clients[0], success=True)
            batch = source.poll(cursor, now=harness.now())
            cursor = batch.cursor
            marks += [batch.watermark] if batch.watermark is not None else []
            harness.wait()
        assert marks == sorted(marks)

    def test_our_own_presentations_are_left_out(self, harness: UsageHarness, source: UsageSource) -> None:
        """keyturn's probes are nobody's use."""
        start = source.poll(None, now=harness.now()).cursor
        harness.present_ours(KEY)
        moment = harness.present(KEY, harness.clients[1], success=True)
        told = self.counted(harness, self.follow(harness, source, start, moment))
        assert told == Counter({(KEY, harness.clients[1], True): 1})

    def test_broken_place_is_never_silence(self, harness: UsageHarness) -> None:
        """A place that cannot be read raises, or leaves the watermark where nothing is known; `check` names it."""
        broken = harness.break_down()
        try:
            watermark = broken.poll(None, now=harness.now()).watermark
        except (Transient, Denied):
            watermark = None
        assert watermark is None
        assert broken.check()

    def test_values_show_nowhere(self, harness: UsageHarness) -> None:
        """What was presented is in no report, cursor, repr, error or log record."""
        value = harness.secret_value()
        harness.present(KEY, harness.clients[0], success=True)
        with logs_recorded() as logs:
            source = harness.source()
            texts = [repr(source), *attempt(lambda: source.poll(None, now=harness.now()))]
        assert find_leaks([value], texts + logs) == []
