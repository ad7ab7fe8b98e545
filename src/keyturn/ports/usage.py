"""A usage source: tells who authenticated with which version, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keyturn.domain.observations import SourceKind


@dataclass(frozen=True, slots=True)
class StoreRead:
    """A version of a secret, as its backend names the place and the version."""

    location: str
    """As `Target.location` has it."""
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Presentations of one key by one client within one bucket of time."""

    key_id: str | None
    """The public id in what was presented; None when nothing readable was, or when `read` names the version."""
    read: StoreRead | None = None
    """In place of a key id, where a backend tells which version of a secret it gave out."""
    client: str
    """The client as the source's own rule names it; `unmapped` when no rule maps it."""
    start: datetime
    """The bucket's start; buckets are as long as the source's `resolution`, aligned to the epoch."""
    successes: int
    failures: int
    matched: bool
    """The verifier matched the whole value to an entry, active or disabled: the presenter really holds the key."""
    identified: bool
    """The client is known by something that does not come from the key: certificate, entity, mapped address."""

    @property
    def attributable(self) -> bool:
        """Whether refusals count as this client's: a key id alone is public and proves nothing (DESIGN §6)."""
        return self.matched or self.identified


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBatch:
    """What a source has learned since `cursor`: applied whole or not at all, together with the new cursor."""

    reports: Sequence[UsageReport]
    watermark: datetime | None
    """The source's data is complete up to here; None when nothing is known yet. Never goes back."""
    cursor: str
    """Where to go on. Opaque; kept beside the reports in one transaction, so that nothing is lost or counted twice."""
    complete_from: datetime | None = None
    """Where the data goes on, when some of what followed the last watermark is lost for good; None: nothing is."""


class UsageSource(Protocol):
    """One place that sees credentials used.

    `poll` may raise `Transient` or `Denied`; the watermark then stays where it was and everything that needs silence
    waits (promise P4). keyturn's own presentations are left out by the source.
    """

    kind: SourceKind
    sees_failures: bool
    resolution: timedelta
    lag: timedelta
    """How far behind the present the watermark runs when all is well."""

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        """What is new since `cursor` (None: from the oldest that is still there). The same cursor gives at least the
        same reports again."""

    def check(self) -> Sequence[str]:
        """What keeps this source from seeing, one line each with the mend."""

    def close(self) -> None:
        """Give files and connections back."""
