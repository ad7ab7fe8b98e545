"""A schedule that is another after a restart."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain.errors import Transient
from keyturn.domain.phases import Phase
from keyturn.domain.schedule import Schedule

DAY = timedelta(days=1)
MONTHLY = Schedule(every=30 * DAY)
QUARTERLY = Schedule(every=90 * DAY)
FRIDAYS = Schedule(cron="0 10 * * fri")
DAILY = Schedule(cron="0 10 * * *")


def restarted(rig: Rig, schedule: Schedule | None) -> datetime | None:
    """When the credential is due after a restart with this schedule; a second restart never changes that."""
    wired = rig.registry.credentials[NAME]
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, schedule=schedule)})
    rig.restart()
    rig.second()
    found = due(rig)
    rig.restart()
    rig.clock.advance(timedelta(hours=1))
    rig.second()
    assert due(rig) == found
    return found


def due(rig: Rig) -> datetime | None:
    credential = rig.store.credential(NAME)
    assert credential is not None
    return credential.due_at


def adopted(schedule: Schedule | None) -> Rig:
    rig = Rig(schedule=schedule)
    rig.second()
    return rig


def rotated(schedule: Schedule | None, end: Phase = Phase.COMPLETED) -> Rig:
    """A credential whose first rotation has ended."""
    rig = Rig(schedule=schedule, policy=replace(QUICK, retry_after=2 * DAY))
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    if end is Phase.ROLLED_BACK:
        rig.until_phase(Phase.OVERLAP)
        rig.runtime.command(NAME, lambda rotation: replace(rotation, rollback_asked="test"), by="ada", what="rollback")
    rig.until_phase(end)
    return rig


def test_a_schedule_that_is_added_is_kept() -> None:
    """A credential in care without one gets it: the first start is an interval away."""
    rig = adopted(None)
    assert due(rig) is None
    before = rig.clock.now()
    found = restarted(rig, MONTHLY)
    assert found is not None
    assert before + 30 * DAY <= found <= rig.clock.now() + 30 * DAY


def test_a_schedule_that_is_removed_starts_nothing() -> None:
    """Only a command starts a rotation then, also when the old date has come."""
    rig = adopted(MONTHLY)
    assert restarted(rig, None) is None
    rig.clock.advance(40 * DAY)
    rig.second()
    assert rig.store.latest_of(NAME) is None


def test_an_interval_counts_from_the_last_start_when_it_has_changed() -> None:
    """Shorter, longer, or none before: one interval after the last rotation started."""
    rig = rotated(QUARTERLY)
    last = rig.store.latest_of(NAME)
    assert last is not None
    assert restarted(rig, MONTHLY) == last.started_at + 30 * DAY
    assert restarted(rig, QUARTERLY) == last.started_at + 90 * DAY
    assert restarted(rig, None) is None
    assert restarted(rig, MONTHLY) == last.started_at + 30 * DAY


def test_a_shorter_interval_counts_before_any_rotation() -> None:
    """A credential that never rotated waits no longer than the interval that it has now."""
    rig = adopted(QUARTERLY)
    found = restarted(rig, MONTHLY)
    assert found is not None
    assert found <= rig.clock.now() + 30 * DAY
    starting = rig.clock.now() + 7 * DAY
    assert restarted(rig, replace(MONTHLY, starting=starting)) == starting


def test_another_cron_expression_fires_next() -> None:
    """From every Friday to every day and back: the first time from now on at which the new one fires."""
    for rig in (adopted(FRIDAYS), rotated(FRIDAYS)):
        friday, now = due(rig), rig.clock.now()
        assert friday is not None
        assert restarted(rig, DAILY) == now.replace(hour=10, minute=0, second=0, microsecond=0)
        assert restarted(rig, FRIDAYS) == friday


@pytest.mark.parametrize("schedule", [MONTHLY, QUARTERLY, FRIDAYS, DAILY])
@pytest.mark.parametrize("end", [Phase.COMPLETED, Phase.ROLLED_BACK])
def test_a_restart_alone_moves_no_date(schedule: Schedule, end: Phase) -> None:
    """The same schedule as before: neither a date nor the wait after a rollback is another."""
    rig = rotated(schedule, end)
    before = due(rig)
    assert before is not None
    assert restarted(rig, schedule) == before
    last = rig.store.latest_of(NAME)
    assert last is not None
    if end is Phase.ROLLED_BACK:
        assert before == last.entered.at + 2 * DAY


def test_a_window_that_was_missed_is_caught_up_with() -> None:
    """The daemon was away when it was due: the restart starts the rotation, and does not wait for the next window."""
    rig = rotated(FRIDAYS)
    rig.clock.advance(9 * DAY)
    rig.restart()
    rig.second()
    live = rig.store.live_of(NAME)
    assert live is not None
    assert live.started_by == "schedule"


def test_the_wait_after_a_rollback_outlives_another_schedule() -> None:
    """Nothing is tried again before `retry_after`, however often the new schedule fires."""
    rig = rotated(None, Phase.ROLLED_BACK)
    last = rig.store.latest_of(NAME)
    assert last is not None
    found = restarted(rig, Schedule(cron="0 * * * *"))
    assert found == last.entered.at + 2 * DAY


def test_a_rotation_under_way_sets_the_date_at_its_end() -> None:
    """What is live is left alone: it ends by the schedule that there is then."""
    rig = Rig(schedule=MONTHLY)
    rig.warm_up()
    rotation = rig.runtime.start(NAME, by="ada", why="test")
    wired = rig.registry.credentials[NAME]
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, schedule=QUARTERLY)})
    rig.restart()
    rig.second()
    assert due(rig) is None
    rig.until_phase(Phase.COMPLETED)
    assert due(rig) == rotation.started_at + 90 * DAY


@pytest.mark.parametrize("call", ["rotating", "latest_of", "set_due"])
def test_a_schedule_outlives_a_store_that_fails_in_the_first_pass(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is away just when the new schedule is to be written: the next pass that it is back in writes it."""
    rig = adopted(None)
    wired = rig.registry.credentials[NAME]
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, schedule=MONTHLY)})
    rig.restart()

    def away(*_: object) -> None:
        raise Transient("the store cannot be used now")

    with monkeypatch.context() as broken, suppress(Transient):
        broken.setattr(rig.store, call, away)
        rig.second()
    assert due(rig) is None
    rig.second()
    assert due(rig) is not None
