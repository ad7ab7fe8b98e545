"""Versions and rotations: everything that is remembered from one tick to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.domain.phases import ENDS, Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Evidence


class VersionState(StrEnum):
    """What a version is to readers and verifiers."""

    PENDING = "pending"
    CURRENT = "current"
    PREVIOUS = "previous"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One generation of a credential. Its value is known by key id and fingerprint only (promise P6)."""

    serial: int
    state: VersionState
    key_id: str | None = None
    """The issuer's public id; None until it is minted."""
    fingerprint: str | None = None
    compromised_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A moment, by the wall and by the rotation's own clock, which stands still under holds and pauses."""

    at: datetime
    active: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a rotation stands still and pages. A latched hold stays until an operator ends it."""

    reason: Reason
    since: datetime
    latched: bool
    detail: str = ""
    evidence: Evidence = field(default_factory=dict)
    """What it was ruled on: a latched hold outlives its cause."""
    pages: int = 0
    """How often it has paged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """An operator's pause; it expires, and pages from then on."""

    by: str
    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """Somebody's word in the place of silence, for one named version."""

    by: str
    why: str
    final: bool = False
    """A refused use does not bring it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A report that a version is compromised, and until when it may still be used. Its clock is the wall's: no pause,
    hold or successor restarts it."""

    at: datetime
    by: str
    why: str
    grace: timedelta
    """From the last target's promote of the version that takes its place."""
    cut_at: datetime
    """When it is disabled at the latest, served or not. Only ever moves earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopting:
    """A value that another's hand gave to readers, and that is to become the credential's next version."""

    target: str
    id: str
    """The backend's id of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One credential on its way from its outgoing versions to an incoming one."""

    id: str
    credential: str
    revision: int = 0
    policy: Policy
    targets: tuple[str, ...]
    """In the order in which they are promoted."""
    versions: Mapping[int, Version]
    """Every version this rotation concerns, by serial: outgoing ∪ {incoming}."""
    outgoing: tuple[int, ...]
    """The first is what readers got last before this rotation, the only one that a rollback restores."""
    incoming: int
    adopting: Adopting | None = None
    """Where the incoming version's value is found; None: it is made."""
    supersedes: str | None = None
    """The rotation that this one took over from."""
    started_at: datetime
    started_by: str
    phase: Phase = Phase.INTRODUCE
    entry: int = 0
    """How many times a phase was entered; part of effect ids."""
    entered: Stamp
    """When this phase was entered."""
    first_entered: Mapping[Phase, Stamp] = field(default_factory=dict)
    """First entries: a retreat does not restart MONITOR's deadline."""
    stopped_since: datetime | None = None
    stopped_for: timedelta = timedelta(0)
    """How long holds and pauses have stopped the rotation's clock, all in all."""
    promised: frozenset[tuple[str, int]] = frozenset()
    """(target, serial) of every promote whose intent was ever committed, sent or not."""
    served: frozenset[int] = frozenset()
    """Versions that readers may ever have got: promised to them, or seen to be served, whoever did it."""
    marks: Mapping[int, Mark] = field(default_factory=dict)
    """By serial: who reported it compromised, and when it is cut off."""
    failed: frozenset[int] = frozenset()
    """Versions that failed when nothing could be restored, of the rotations that this one took over from."""
    promoted: Mapping[str, Stamp] = field(default_factory=dict)
    """By target: when the survivor's promote was first seen done; starts anew in ROLLBACK."""
    up: frozenset[str] = frozenset()
    """Verifiers seen to meet every post-condition; one that is away leaves, and is mended before it is back."""
    disabled_at: Mapping[int, datetime] = field(default_factory=dict)
    """By serial: when the intent to disable it was committed; refused uses count from here."""
    soak: Stamp | None = None
    """When every outgoing version was first seen refused everywhere."""
    revoked: frozenset[int] = frozenset()
    """Versions for which a revoke intent was ever committed: they cannot come back, its outcome unknown or not."""
    proven: tuple[int, ...] = ()
    """Serials whose death was proven on every verifier."""
    restoring: int | None = None
    """In ROLLBACK: the version that readers get back."""
    retreats: int = 0
    extensions: int = 0
    deadline_spent: bool = False
    """A deadline's force was tried and retreated from: from now on it only holds."""
    forced: Mapping[int, Force] = field(default_factory=dict)
    """By serial: whose word stands in for silence."""
    waived: Mapping[int, str] = field(default_factory=dict)
    """By serial: who goes on without a value that is lost, and why."""
    passed: frozenset[str] = frozenset()
    """Ids of obstacles that an operator lets an emergency run past."""
    reasserted: Mapping[str, str] = field(default_factory=dict)
    """By target: the backend's id ("" for none) of what an operator wants overwritten with what the phase calls for."""
    rollback_asked: str | None = None
    abandoned: str | None = None
    accepted: Adopting | None = None
    """What an operator wants adopted, by a rotation that takes over."""
    pause: Pause | None = None
    hold: Hold | None = None
    halted: Hold | None = None
    reminded: int = 0
    cause: Reason = Reason.STARTED
    """Why the rotation is in this phase."""

    @property
    def root(self) -> str:
        """The id of the first of the rotations that took over from one another up to this one."""
        return self.id.partition("~")[0]

    def active(self, now: datetime) -> timedelta:
        """The rotation's own time: since its start, without what holds and pauses took."""
        stopped = self.stopped_for
        if self.stopped_since is not None:
            stopped += now - self.stopped_since
        return now - self.started_at - stopped

    def stamp(self, now: datetime) -> Stamp:
        """This moment, on both clocks."""
        return Stamp(at=now, active=self.active(now))

    def elapsed(self, since: Stamp, now: datetime) -> timedelta:
        """How much of the rotation's own time has passed since a stamp."""
        return self.active(now) - since.active

    def stopped_after(self, since: Stamp, now: datetime) -> timedelta:
        """How long the rotation's clock has stood still since a stamp."""
        return (now - since.at) - self.elapsed(since, now)

    def with_version(self, serial: int, state: VersionState) -> Rotation:
        """The same rotation with one version in another state."""
        versions = dict(self.versions)
        versions[serial] = replace(versions[serial], state=state)
        return replace(self, versions=versions)

    @property
    def one_way(self) -> bool:
        """Whether nothing leads back: what readers got before is compromised, or was taken away for good."""
        return not self.givable(self.outgoing[0])

    def givable(self, serial: int) -> bool:
        """Whether readers may ever be given a version: it is not compromised, and nothing took it away for good."""
        return self.versions[serial].compromised_at is None and serial not in self.revoked

    @property
    def survivor(self) -> int:
        """The version that is to be left when the rotation ends as it now stands."""
        return self.incoming if self.restoring is None else self.restoring

    @property
    def live(self) -> bool:
        """Whether it counts as the credential's one rotation (promise P7)."""
        return self.phase not in ENDS
