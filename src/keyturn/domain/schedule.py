"""When a credential is due. The arithmetic of calendars is a library's (see `keyturn.runtime.due`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Either `every` or `cron`, in an IANA time zone."""

    every: timedelta | None = None
    starting: datetime | None = None
    """With `every`: the first start; without it, one interval after the credential is first seen."""
    cron: str | None = None
    """Five fields: minute, hour, day of month, month, day of week (as in crontab(5), names allowed)."""
    timezone: str = "UTC"
