"""The fake usage source passes the kit, and lags, comes late and goes blind as told."""

from datetime import datetime, timedelta

import pytest

from keyturn.domain.errors import Transient
from keyturn.ports.usage import UsageSource
from keyturn.testing.fakes import FakeClock, FakeUsageSource, Fault
from keyturn.testing.usage import UsageHarness, UsageSourceConformance


class FakeUsageHarness(UsageHarness):
    """A source that lags by two seconds. It keeps what a real one finds at its place."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.fake = FakeUsageSource(self.clock, lag=timedelta(seconds=2))

    def source(self) -> UsageSource:
        return self.fake

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        self.clock.advance(0.3)
        return self.fake.present(key_id, client, success=success)

    def now(self) -> datetime:
        return self.clock.now()

    def wait(self) -> None:
        self.clock.advance(0.5)

    def present_ours(self, key_id: str) -> None:
        """The fake is never told of these, as a real source leaves them out."""

    def break_down(self) -> UsageSource:
        self.fake.faults.inject(Fault.LOST_REQUEST, times=None)
        self.fake.problems.append("broken: mend it")
        return self.fake


class TestFakeUsageSource(UsageSourceConformance):
    """The fake as the kit sees it."""

    @pytest.fixture
    def harness(self) -> UsageHarness:
        return FakeUsageHarness()


def test_blind_source_keeps_its_watermark() -> None:
    """A source that has stopped knows nothing new, and tells what it missed once it is back."""
    clock = FakeClock()
    source = FakeUsageSource(clock)
    watermark = source.poll(None, now=clock.now()).watermark
    source.stop()
    clock.advance(60)
    source.present("k", "c")
    batch = source.poll(None, now=clock.now())
    assert (batch.watermark, list(batch.reports)) == (watermark, [])
    source.resume()
    batch = source.poll(batch.cursor, now=clock.now())
    assert batch.watermark == clock.now()
    assert [report.successes for report in batch.reports] == [1]


def test_source_that_is_blind_to_one_verifier_tells_of_the_others() -> None:
    """What is presented elsewhere is told meanwhile, and the watermark waits."""
    clock = FakeClock()
    source = FakeUsageSource(clock)
    watermark = source.poll(None, now=clock.now()).watermark
    source.stop("one")
    clock.advance(60)
    source.present("k", "unheard", verifier="one")
    source.present("k", "heard", verifier="two")
    batch = source.poll(None, now=clock.now())
    assert batch.watermark == watermark
    assert [report.client for report in batch.reports] == ["heard"]
    source.resume("one")
    assert [report.client for report in source.poll(batch.cursor, now=clock.now()).reports] == ["unheard"]


def test_loss_is_said_to_every_cursor_from_before() -> None:
    """What happened in an outage is lost for good; the source says so until it has gone on from behind it, and waits with
    that while it is blind to another verifier."""
    clock = FakeClock()
    source = FakeUsageSource(clock)
    before = source.poll(None, now=clock.now())
    source.stop()
    clock.advance(60)
    source.present("k", "lost", verifier="one")
    source.stop("two")
    clock.advance(60)
    assert source.lose() == (before.watermark, clock.now())
    waiting = source.poll(before.cursor, now=clock.now())
    assert (waiting.watermark, waiting.complete_from, list(waiting.reports)) == (before.watermark, None, [])
    back = clock.now()
    source.present("k", "told", verifier="one")
    clock.advance(60)
    source.resume("two")
    for cursor in (before.cursor, waiting.cursor):
        batch = source.poll(cursor, now=clock.now())
        assert (batch.watermark, batch.complete_from) == (clock.now(), back)
        assert [report.client for report in batch.reports] == ["told"]
    source.present("k", "later")
    clock.advance(10)
    later = source.poll(batch.cursor, now=clock.now())
    assert source.poll(later.cursor, now=clock.now()).complete_from is None


def test_late_report_arrives_below_the_watermark() -> None:
    """What is delayed is told when the watermark has long passed it."""
    clock = FakeClock()
    source = FakeUsageSource(clock)
    source.delay(timedelta(seconds=30))
    at = source.present("k", "c", success=False, matched=True)
    clock.advance(10)
    first = source.poll(None, now=clock.now())
    assert list(first.reports) == []
    clock.advance(20)
    (report,) = source.poll(first.cursor, now=clock.now()).reports
    assert first.watermark is not None
    assert report.start <= at < first.watermark
    assert (report.failures, report.matched, report.attributable) == (1, True, True)


def test_planned_fault_hits_the_poll() -> None:
    """A poll that fails loses nothing."""
    clock = FakeClock()
    source = FakeUsageSource(clock)
    source.present("k", "c")
    source.faults.inject(Fault.LOST_RESPONSE)
    with pytest.raises(Transient):
        source.poll(None, now=clock.now())
    assert len(source.poll(None, now=clock.now()).reports) == 1
