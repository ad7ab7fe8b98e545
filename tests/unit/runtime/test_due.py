"""When a credential is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.domain.schedule import Schedule
from keyturn.runtime.due import first_due, next_due

SUNDAY = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)


def due(cron: str, after: datetime = SUNDAY, timezone: str = "UTC") -> datetime | None:
    return next_due(Schedule(cron=cron, timezone=timezone), after, after)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 10 * * tue", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("0 10 * * 2", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("0 10 * * 0", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("0 10 * * 7", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("0 10 * * 1-5", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("0 10 * * fri-sun", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("0 10 * * 1-5/2", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("0 10 * * */2", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("30 3 1 */3 *", datetime(2027, 1, 1, 3, 30, tzinfo=UTC)),
    ],
)
def test_cron_is_read_as_crontab_reads_it(cron: str, expected: datetime) -> None:
    """Sunday is 0 and 7, names and ranges work, and the next start is the first that fits."""
    assert due(cron) == expected


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "0 10 * * 8", "0 10 1 * tue", "61 * * * *", "0 10 * * tue-", "0 10 * * tue/x"]
)
def test_a_cron_expression_that_means_nothing_is_refused(cron: str) -> None:
    """What is no expression, or an ambiguous one, is a clear error that quotes it."""
    with pytest.raises(ConfigError, match="cron"):
        due(cron)


def test_an_unknown_time_zone_is_refused() -> None:
    """A zone that IANA does not know is named in the error."""
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        due("0 10 * * tue", timezone="Mars/Olympus")


def test_local_times_survive_daylight_saving() -> None:
    """Ten in the morning in Berlin is an hour earlier in UTC once summer time has begun."""
    winter = due("0 10 * * *", datetime(2027, 3, 26, 12, tzinfo=UTC), "Europe/Berlin")
    summer = due("0 10 * * *", datetime(2027, 3, 28, 12, tzinfo=UTC), "Europe/Berlin")
    assert winter == datetime(2027, 3, 27, 9, tzinfo=UTC)
    assert summer == datetime(2027, 3, 29, 8, tzinfo=UTC)


def test_an_interval_counts_from_the_last_start_and_catches_up_once() -> None:
    """The next start is an interval after the last one, and at once, but once, when that is long past."""
    schedule = Schedule(every=timedelta(days=90))
    assert next_due(schedule, SUNDAY, SUNDAY) == SUNDAY + timedelta(days=90)
    assert next_due(schedule, SUNDAY, SUNDAY + timedelta(days=400)) == SUNDAY + timedelta(days=400)


def test_a_first_start_can_be_named() -> None:
    """`starting` says when an interval begins; without it, one interval after the credential is first seen."""
    starting = SUNDAY + timedelta(hours=3)
    assert first_due(Schedule(every=timedelta(days=1), starting=starting), SUNDAY) == starting
    assert first_due(Schedule(every=timedelta(days=1)), SUNDAY) == SUNDAY + timedelta(days=1)
    assert first_due(None, SUNDAY) is None
