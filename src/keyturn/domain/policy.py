"""A credential's policy: the times and limits that its rotations keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from keyturn.domain.evidence import UNSEEN_LIMIT
from keyturn.domain.phases import Phase


class OnDeadline(StrEnum):
    """What happens when a phase has taken too long (promise P10)."""

    HOLD = "hold"
    """Stop there and page until an operator decides."""
    EXTEND = "extend"
    """Page, and wait the same time again."""
    FORCE = "force"
    """Go on without the silence that is missing, in the owner's name, on record."""


FORCEABLE = frozenset({Phase.MONITOR, Phase.ROLLBACK})
"""Force stands in for silence alone, and only these phases wait for silence (MACHINE.md, trace 20)."""


PAGE_EVERY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """How long a phase may take, and what then."""

    after: timedelta
    policy: OnDeadline = OnDeadline.HOLD
    owner: str | None = None


DEFAULT_DEADLINES: Mapping[Phase, Deadline] = {
    Phase.INTRODUCE: Deadline(after=timedelta(hours=1)),
    Phase.OVERLAP: Deadline(after=timedelta(days=7)),
    Phase.MONITOR: Deadline(after=timedelta(days=60)),
    Phase.RETIRE: Deadline(after=timedelta(days=60)),
    Phase.DESTROY: Deadline(after=timedelta(hours=1)),
    Phase.ROLLBACK: Deadline(after=timedelta(days=7)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How carefully one credential is rotated. A rotation keeps the policy that it started with."""

    propagation: timedelta = timedelta(minutes=1)
    """From a promote until every reader's fetch returns the new version (replicas, caches in front)."""
    client_refresh: timedelta = timedelta(hours=1)
    """The slowest client's time between two fetches."""
    pool_lifetime: timedelta = timedelta(minutes=30)
    """How long a client goes on using connections authenticated with what it fetched before."""
    minimum_overlap: timedelta = timedelta(hours=2)
    """Both versions accepted, from the last promote on, at least this long."""
    bake: timedelta = timedelta(minutes=10)
    """Watched time after each wave before the next."""
    wave_size: int = 1
    """How many targets a wave promotes at once."""
    soak: timedelta = timedelta(days=1)
    """The old version disabled but restorable, without one refused use, at least this long before it is destroyed."""
    drain: timedelta = timedelta(hours=2)
    """In a rollback: how long the failed version must be silent before it is disabled."""
    silence_floor: timedelta = timedelta(days=15)
    """The least silence that counts (EVIDENCE.md §3, W)."""
    silence_few: timedelta = timedelta(days=14)
    """The least silence for a client whose history shows one or two gaps."""
    silence_unseen: timedelta = timedelta(days=60)
    """The silence required of a client without any history."""
    unseen_share: float = UNSEEN_LIMIT
    """The chance (0 to 1) up to which it is left to silence that the next use may be by a client nobody has seen; above it
    an owner's word is waited for."""
    maximum_retreats: int = 3
    """A rotation that retreats more often than this holds for an operator."""
    retry_after: timedelta = timedelta(days=1)
    """After a rollback the next scheduled start waits this long, doubling each time."""
    grace: timedelta = timedelta(minutes=5)
    """In an emergency: how long a compromised version stays accepted after the last target's promote."""
    grace_cap: timedelta = timedelta(minutes=15)
    """The longest a compromised version stays accepted after it was reported, whatever has been promoted by then."""
    maximum_remints: int = 3
    """How many new versions in a row may fail while nothing can be restored, before a person must look."""
    drift_every: timedelta = timedelta(hours=1)
    """Between rotations: how often it is checked that everything is still as the last one left it."""
    page_every: timedelta = PAGE_EVERY
    """How often a standstill pages again."""
    deadlines: Mapping[Phase, Deadline] = field(default_factory=lambda: dict(DEFAULT_DEADLINES))

    def deadline(self, phase: Phase) -> Deadline:
        """The deadline of a phase; those the policy does not name have the default."""
        return self.deadlines.get(phase, DEFAULT_DEADLINES[phase])

    @property
    def computed_overlap(self) -> timedelta:
        """The least overlap that can be safe: every client has fetched and its pool has turned over (RFC 7583 computes
        key timing the same way, from propagation and caching times)."""
        return self.propagation + self.client_refresh + self.pool_lifetime

    @property
    def time_between_pages(self) -> timedelta:
        """`page_every`, or its default where that is nothing: no configuration may say so, but a rotation may have begun
        under one that did."""
        return self.page_every if self.page_every > timedelta(0) else PAGE_EVERY

    def predicted_length(self, targets: int) -> timedelta:
        """How long a rotation takes when nothing goes wrong, for a credential with so many targets."""
        waves = -(-targets // self.wave_size)
        silence = max(self.silence_floor, self.minimum_overlap)
        return self.bake * waves + self.minimum_overlap + silence + self.soak

    def problems(self) -> list[str]:
        """What makes this policy unsafe or meaningless, one line each with the mend."""
        found = []
        if self.minimum_overlap < self.computed_overlap:
            found.append(
                f"minimum_overlap {self.minimum_overlap} is shorter than propagation + client_refresh + pool_lifetime = "
                f"{self.computed_overlap}: raise it to at least that"
            )
        if self.grace > self.grace_cap:
            found.append(
                f"grace {self.grace} is longer than grace_cap {self.grace_cap}, which ends it: lower it, or raise the cap"
            )
        if not 0 <= self.unseen_share <= 1:
            found.append(f"unseen_share is {self.unseen_share}: it is a chance, from 0 to 1")
        if self.wave_size < 1:
            found.append(f"wave_size is {self.wave_size}: a wave promotes at least one target")
        if self.page_every <= timedelta(0):
            found.append(
                f"page_every is {self.page_every}: it is the time between two pages, longer than zero, for example 15m"
            )
        for phase, deadline in self.deadlines.items():
            if deadline.policy is OnDeadline.FORCE and phase not in FORCEABLE:
                found.append(
                    f"deadlines.{phase}: force stands in for silence, which only monitor and rollback wait for; "
                    "use hold or extend"
                )
            if deadline.policy is OnDeadline.FORCE and not deadline.owner:
                found.append(f"deadlines.{phase}: force needs an owner, a person's name that goes on record")
            if deadline.after <= timedelta(0):
                found.append(f"deadlines.{phase}: after must be longer than zero")
        return found
