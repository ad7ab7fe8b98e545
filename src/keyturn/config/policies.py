"""A policy and a schedule as the configuration writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from keyturn.domain.phases import Phase
from keyturn.domain.policy import DEFAULT_DEADLINES, Deadline, OnDeadline, Policy
from keyturn.domain.schedule import Schedule
from keyturn.plugins.options import Duration, Options

_DEFAULT = Policy()


class DeadlineOptions(Options):
    """How long a phase may take, and what then."""

    after: Duration | None = None
    policy: OnDeadline = OnDeadline.HOLD
    owner: str | None = Field(default=None, min_length=1)


class PolicyOptions(Options):
    """The fields of `keyturn.domain.policy.Policy`, with its defaults."""

    propagation: Duration = _DEFAULT.propagation
    client_refresh: Duration = _DEFAULT.client_refresh
    pool_lifetime: Duration = _DEFAULT.pool_lifetime
    minimum_overlap: Duration = _DEFAULT.minimum_overlap
    bake: Duration = _DEFAULT.bake
    wave_size: int = Field(default=_DEFAULT.wave_size, strict=True)
    soak: Duration = _DEFAULT.soak
    drain: Duration = _DEFAULT.drain
    silence_floor: Duration = _DEFAULT.silence_floor
    silence_few: Duration = _DEFAULT.silence_few
    silence_unseen: Duration = _DEFAULT.silence_unseen
    unseen_share: float = Field(default=_DEFAULT.unseen_share, strict=True)
    maximum_retreats: int = Field(default=_DEFAULT.maximum_retreats, ge=0, strict=True)
    retry_after: Duration = _DEFAULT.retry_after
    grace: Duration = _DEFAULT.grace
    grace_cap: Duration = _DEFAULT.grace_cap
    maximum_remints: int = Field(default=_DEFAULT.maximum_remints, ge=0, strict=True)
    drift_every: Duration = _DEFAULT.drift_every
    page_every: Duration = _DEFAULT.page_every
    deadlines: dict[Phase, DeadlineOptions] = Field(default_factory=dict)

    @field_validator("deadlines")
    @classmethod
    def _of_real_phases(cls, deadlines: dict[Phase, DeadlineOptions]) -> dict[Phase, DeadlineOptions]:
        for phase in deadlines:
            if phase.is_end:
                raise ValueError(f"{phase} is an end, which no deadline can be set for")
        return deadlines

    def policy(self) -> Policy:
        """As the machine reads it."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "deadlines"}
        deadlines = dict(DEFAULT_DEADLINES)
        for phase, options in self.deadlines.items():
            after = options.after if options.after is not None else DEFAULT_DEADLINES[phase].after
            deadlines[phase] = Deadline(after=after, policy=options.policy, owner=options.owner)
        return Policy(**given, deadlines=deadlines)


class ScheduleOptions(Options):
    """When a credential is due: `every` so long, or by `cron`."""

    every: Duration | None = None
    starting: datetime | None = None
    cron: str | None = None
    timezone: str = "UTC"

    def schedule(self) -> Schedule:
        """As the runtime reads it. A start without an offset is in the schedule's time zone."""
        starting = self.starting
        if starting is not None:
            local = starting if starting.tzinfo is not None else starting.replace(tzinfo=ZoneInfo(self.timezone))
            starting = local.astimezone(UTC)
        return Schedule(every=self.every, starting=starting, cron=self.cron, timezone=self.timezone)
