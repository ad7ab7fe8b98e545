"""What one tick knows of the world. Unknown is a value of its own everywhere, and never reads as zero (promise P4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.evidence import Finding


class ServingKind(StrEnum):
    """What readers of a target get."""

    OURS = "ours"
    FOREIGN = "foreign"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What readers of one target get: `serial` when it is ours, `id` as the backend names it when it is known."""

    kind: ServingKind
    serial: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something of another's at a target or authority that an introduction must not run over."""

    what: str
    id: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeen:
    """One target as this tick found it."""

    serving: Serving
    copies: frozenset[int] | None
    """Serials of which the rotation keeps a readable copy here; None when the target could not be read, and what it serves
    is unknown too."""
    left: Mapping[int, str] = field(default_factory=dict)
    """By serial: the token of a readable copy that another rotation has left here, or that came late."""
    obstacles: tuple[Obstacle, ...] = ()
    marked: frozenset[int] = frozenset()
    """Serials of which it is written here that they are compromised."""


class Acceptance(StrEnum):
    """How one verifier treats one version."""

    ACCEPTED = "accepted"
    DISABLED = "disabled"
    REFUSED = "refused"
    UNSETTLED = "unsettled"
    """The newest rules are loaded, but something that serves older ones is still there."""
    UNREACHABLE = "unreachable"


class Entry(StrEnum):
    """What the authority's listing at one verifier says of one version."""

    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSeen:
    """One verifier as this tick found it, by serial. A serial that is missing was not asked about: unknown."""

    acceptance: Mapping[int, Acceptance]
    entries: Mapping[int, Entry] = field(default_factory=dict)
    risen: frozenset[int] = frozenset()
    """Versions that earlier rotations destroyed, and that are listed here as alive: the verifier has come back with an
    older table."""


class SourceKind(StrEnum):
    """How directly a source sees a use, strongest first; where sources disagree the stronger decides."""

    AUTHENTICATION = "authentication"
    CLIENT_REPORT = "client_report"
    STORE_READ = "store_read"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSeen:
    """One usage source's standing."""

    kind: SourceKind
    watermark: datetime | None
    sees_failures: bool
    blind_since: datetime | None = None
    """Since when it has stopped, lags or answers nonsense; None while all is well."""
    trouble: str = ""
    """What is wrong with it, and the mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A stretch of time of which a source's data is lost for good."""

    start: datetime
    end: datetime

    def within(self, start: datetime, end: datetime) -> timedelta:
        """How much of it lies between these two."""
        return max(timedelta(0), min(self.end, end) - max(self.start, start))


AUTHORITY = "authority"
"""Where an obstacle stands that is at no target."""

UNMAPPED = "unmapped"
"""The one client that every presentation counts for which no source's rule maps."""

UNSEEN = ""
"""In the place of a client's name: all those that were never seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSeen:
    """One known client's use of the versions of this rotation, by serial, as far as the sources have told."""

    last_use: Mapping[int, datetime] = field(default_factory=dict)
    """End of the newest bucket with any use, refused ones too."""
    last_success: Mapping[int, datetime] = field(default_factory=dict)
    last_refusal: Mapping[int, datetime] = field(default_factory=dict)
    """End of the newest bucket with a refused use that is this client's beyond doubt (DESIGN §6)."""
    required_silence: timedelta
    largest_gap: timedelta = timedelta(0)
    """The longest that its history has it silent between two uses."""
    lost: tuple[Hole, ...] = ()
    """What of it no source can tell any more, one after another."""
    acknowledged: bool = False
    """The client's owner says that all its instances have moved to the new version, and it was not seen on an outgoing one
    since."""
    dismissed: bool = False
    """An operator has declared it gone, and it was not seen since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSeen:
    """What the usage sources have told, and up to when it is complete."""

    sources: Mapping[str, SourceSeen] = field(default_factory=dict)
    since: datetime | None = None
    """From when on the sources' data is complete; None when there is none."""
    clients: Mapping[str, ClientSeen] = field(default_factory=dict)
    finding: Finding | None = None
    """The detector's word on the last bucket that it has seen."""
    unauthenticated: int = 0
    """Refused presentations of this rotation's versions that prove nothing about who sent them."""
    lost: tuple[Hole, ...] = ()
    """What no source can tell any more of somebody, be it of one who was never seen; one after another."""
    unseen: float = 0.0
    """The chance (0 to 1) that the next use is by a client that nobody has seen, by the uses before the rotation; 0 where an
    owner has said that there is none."""

    @property
    def watermark(self) -> datetime | None:
        """Up to when every source's data is complete: the slowest decides, and one that is silent leaves it unknown."""
        marks = [source.watermark for source in self.sources.values()]
        known = [mark for mark in marks if mark is not None]
        return min(known) if known and len(known) == len(marks) else None

    @property
    def failure_watermark(self) -> datetime | None:
        """The same over the sources that can see failures, which is what the detector follows."""
        marks = [source.watermark for source in self.sources.values() if source.sees_failures]
        known = [mark for mark in marks if mark is not None]
        return min(known) if known and len(known) == len(marks) else None


class EffectSeen(NamedTuple):
    """The journal's word on one effect: tried how often, and how the last try went. A tuple, which is made in a quarter of
    the time: every tick makes one of each line of the journal."""

    kind: EffectKind
    serial: int
    attempts: int
    succeeded: bool
    target: str | None = None
    at: datetime | None = None
    """When the last try's outcome was known; None while it is not."""
    failure: FailureKind | None = None
    message: str = ""
    retry_at: datetime | None = None
    """Not before then; None when it may be tried at once."""
    key_id: str | None = None
    """What a mint made."""
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Everything a decision may use."""

    targets: Mapping[str, TargetSeen]
    verifiers: Mapping[str, VerifierSeen]
    lost: frozenset[int] = frozenset()
    """Versions of which copies are there, and each was read and holds another value."""
    compromised: frozenset[int] = frozenset()
    """Versions of earlier rotations that are compromised."""
    usage: UsageSeen = UsageSeen()
    effects: Mapping[str, EffectSeen] = field(default_factory=dict)
    """By effect id, of this rotation."""
    late: frozenset[tuple[EffectKind, int]] = frozenset()
    """Calls of earlier rotations of the credential that may still land, or have landed late: their outcome is not known,
    or they took more than one attempt."""
    found: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """By serial: key id and fingerprint of a version that was not known to be made, but whose copy is at a target."""
    strangers: tuple[Obstacle, ...] = ()
    """Keys that the authority holds for this credential and that no version knows, as far as that was asked."""
    orphans: tuple[Obstacle, ...] = ()
    """The same, of those that are proven our own: a mint that came late made them, and nobody has their secret."""
    room: int | None = None
    """How many more keys of this credential the authority takes; None: no limit is known."""
