"""When a credential is next due: calendar arithmetic by APScheduler's triggers, in the schedule's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger

from keyturn.domain.errors import ConfigError
from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.schedule import Schedule

DOUBLINGS = 6
"""After that many rollbacks in a row the wait grows no further."""


def first_due(schedule: Schedule | None, now: datetime) -> datetime | None:
    """When a credential that was just seen for the first time is due; None without a schedule."""
    if schedule is None:
        return None
    if schedule.every is not None and schedule.starting is not None:
        return schedule.starting
    return next_due(schedule, now, now)


def next_due(schedule: Schedule | None, started: datetime, now: datetime) -> datetime | None:
    """The next start after a rotation that started at `started`, not before `now`: what was missed is caught up once.

    Raises `ConfigError` for an expression or a time zone that means nothing.
    """
    if schedule is None:
        return None
    if schedule.every is not None:
        return max(now, started + schedule.every)
    zone = zone_of(schedule)
    fires: datetime | None = trigger_of(schedule).get_next_fire_time(None, now.astimezone(zone))
    return None if fires is None else fires.astimezone(UTC)


def after_end(schedule: Schedule | None, ended: Rotation, rolled_back: int, now: datetime) -> datetime | None:
    """When a credential whose rotation has just ended is due again. After a rollback the next scheduled start waits for
    the policy's `retry_after`, doubling with each rollback in a row; without a schedule only a command starts one."""
    if schedule is None:
        return None
    if ended.phase is Phase.ROLLED_BACK:
        return now + ended.policy.retry_after * 2.0 ** min(rolled_back, DOUBLINGS)
    return next_due(schedule, ended.started_at, now + timedelta(microseconds=1))


def zone_of(schedule: Schedule) -> ZoneInfo:
    """The schedule's IANA time zone. Raises `ConfigError` naming one that does not exist."""
    try:
        return ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"{schedule.timezone!r} is no IANA time zone, such as Europe/Berlin or UTC") from error


def trigger_of(schedule: Schedule) -> CronTrigger:
    """The cron expression as a trigger. Raises `ConfigError` saying what is wrong with it."""
    try:
        return CronTrigger.from_crontab(schedule.cron or "", timezone=zone_of(schedule))
    except ValueError as error:
        raise ConfigError(f"cron {schedule.cron!r}: {error}; five fields are needed, such as '0 10 * * tue'") from error
