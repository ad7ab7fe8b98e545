"""When a credential is next due: calendar arithmetic by APScheduler's triggers, in the schedule's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger

from keyturn.domain.errors import ConfigError
from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.schedule import Schedule
from keyturn.ports.records import Credential

CRON_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

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


def as_scheduled(
    schedule: Schedule | None, known: Credential, ended: Rotation | None, now: datetime
) -> datetime | None:
    """When a credential at rest is due by the schedule that it has now; `ended` is its last rotation. A date that this
    schedule has set stays, one that was missed too, and so does the wait after a rollback. No schedule is remembered: what
    it would have set follows from when the last rotation started and ended. Of a credential that no rotation was ever of,
    that is not known: an interval that has become longer counts from its second start on."""
    if schedule is None:
        return None
    retry = None
    if ended is not None and ended.phase is Phase.ROLLED_BACK:
        retry = after_end(schedule, ended, max(0, known.rolled_back - 1), ended.entered.at)
        if known.due_at == retry:
            return retry
    if schedule.every is not None and ended is not None:
        date = next_due(schedule, ended.started_at, ended.entered.at + timedelta(microseconds=1))
    else:
        date = first_due(schedule, now)
        if _has_set(schedule, known.due_at, date):
            date = known.due_at
    return date if date is None or retry is None else max(date, retry)


def _has_set(schedule: Schedule, due_at: datetime | None, coming: datetime | None) -> bool:
    """Whether a schedule whose next start is `coming` may have set a date before: a cron expression fires then, and not
    between now and then; an interval is not over later than one that begins now."""
    if due_at is None or coming is None or due_at > coming or schedule.starting is not None:
        return False
    return schedule.every is not None or next_due(schedule, due_at, due_at) == due_at


def zone_of(schedule: Schedule) -> ZoneInfo:
    """The schedule's IANA time zone. Raises `ConfigError` naming one that does not exist."""
    try:
        return ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"{schedule.timezone!r} is no IANA time zone, such as Europe/Berlin or UTC") from error


def trigger_of(schedule: Schedule) -> CronTrigger:
    """The cron expression as a trigger, read as crontab(5) reads it. Raises `ConfigError` saying what is wrong with it."""
    fields = (schedule.cron or "").split()
    try:
        if len(fields) != len(CRON_FIELDS):
            raise ValueError(f"{len(fields)} fields")  # noqa: TRY301 - one place says what is wrong with it
        named = dict(zip(CRON_FIELDS, fields, strict=True))
        named["day_of_week"] = ",".join(_weekdays(part) for part in named["day_of_week"].lower().split(","))
        if named["day"] != "*" and named["day_of_week"] != "*":
            # crontab(5) takes either of the two, most people mean both, and a window missed is a quarter lost.
            raise ValueError("day of month and day of week are both given; leave one of them `*`")  # noqa: TRY301
        return CronTrigger(**named, timezone=zone_of(schedule))
    except ValueError as error:
        raise ConfigError(f"cron {schedule.cron!r}: {error}; five fields are needed, such as '0 10 * * tue'") from error


def _weekdays(part: str) -> str:
    """One part of a day-of-week field by name: APScheduler counts from Monday, crontab(5) from Sunday."""
    span, slash, step = part.partition("/")
    if span == "*" and not slash:
        return "*"
    first, dash, last = span.partition("-")
    if span == "*":
        days = list(range(7))
    else:
        start = _weekday(first)
        end = _weekday(last) if dash else start
        days = [day % 7 for day in range(start, (end if end >= start else end + 7) + 1)]
    return ",".join(WEEKDAYS[day] for day in days[:: int(step) if slash else 1])


def _weekday(word: str) -> int:
    if word in WEEKDAYS:
        return WEEKDAYS.index(word)
    if word.isdecimal() and int(word) <= 7:
        return int(word) % 7
    raise ValueError(f"{word!r} is no day of the week")
