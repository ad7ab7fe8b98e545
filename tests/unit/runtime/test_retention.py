"""What is kept of usage, and for how long."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.runtime.rig import NAME, SECOND, Rig

from keyturn.domain.phases import Phase
from keyturn.ports.records import Told, UsageRow
from keyturn.runtime.usage import BATCHES_KEPT

DAY = timedelta(days=1)


def used(rig: Rig, *, days_ago: float) -> None:
    """The gateway tells of a use of long ago."""
    start = rig.clock.now() - days_ago * DAY
    row = UsageRow(credential=NAME, serial=1, client="weekly", start=start, length=SECOND, successes=1, failures=0)
    rig.store.add_usage([Told(source="gateway", rows=[row], watermark=None)], received_at=rig.clock.now())


def test_buckets_are_rolled_up_and_history_forgotten() -> None:
    """After a week a bucket leaves its slot, after ninety days nothing; batches are forgotten with their reports."""
    rig = Rig()
    for days in (100, 60, 8, 6):
        used(rig, days_ago=days)
    rig.second()
    old = Told(source="gateway", rows=[], watermark=None, batch="old")
    rig.store.add_usage([old], received_at=rig.clock.now() - BATCHES_KEPT - SECOND)
    for _ in range(3):
        rig.clock.advance(timedelta(hours=1))
        rig.second()
    now = rig.clock.now()
    rows = rig.store.usage(NAME, start=now - 200 * DAY, end=now - DAY)
    assert len(rows) == 1
    starts = rig.store.use_starts(NAME, "weekly", end=now - DAY)
    assert [round((now - start) / DAY) for start in starts] == [60, 8, 6]
    assert rig.store.add_usage([old], received_at=now) == [True]


def test_buckets_that_the_detector_has_not_read_are_kept() -> None:
    """While a source is away, what it told last is not rolled up from under the detector."""
    rig = Rig()
    for _ in range(5):
        rig.second()
    rig.reporting = False
    before = len(rig.store.usage(NAME, start=rig.clock.now() - DAY, end=rig.clock.now()))
    start = rig.clock.now()
    for _ in range(20):
        rig.clock.advance(DAY)
        rig.second()
    assert len(rig.store.usage(NAME, start=start - DAY, end=start)) == before > 0


def test_silence_is_judged_by_what_was_rolled_up() -> None:
    """A weekly job is still awaited by its weekly pauses when its buckets are long gone."""
    rig = Rig()
    for week in range(1, 12):
        used(rig, days_ago=7 * week)
    rig.second()
    for _ in range(8):
        rig.clock.advance(timedelta(hours=1))
        rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    required = rig.runtime.look(NAME).usage.clients["weekly"].required_silence
    assert 13 * DAY < required < 15 * DAY
