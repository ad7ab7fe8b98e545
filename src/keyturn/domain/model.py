"""Versions and rotations: everything that is remembered from one tick to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.reasons import Reason


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
    serial: int
    final: bool = False


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
    """Newest first: the first is what readers got before this rotation."""
    incoming: int
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
    promoted: Mapping[str, Stamp] = field(default_factory=dict)
    """By target: when the survivor's promote was first seen done; starts anew in ROLLBACK."""
    up: frozenset[str] = frozenset()
    """Verifiers seen to meet every post-condition; one that is away leaves, and is mended before it is back."""
    disabled_at: Mapping[int, datetime] = field(default_factory=dict)
    """By serial: when the intent to disable it was committed; refused uses count from here."""
    soak: Stamp | None = None
    """When every outgoing version was first seen refused everywhere."""
    revoking: bool = False
    """The first revoke intent is committed: nothing can be restored any more, its outcome unknown or not."""
    proven: tuple[int, ...] = ()
    """Serials whose death was proven on every verifier."""
    restoring: int | None = None
    """In ROLLBACK: the version that readers get back."""
    retreats: int = 0
    extensions: int = 0
    deadline_spent: bool = False
    """A deadline's force was tried and retreated from: from now on it only holds."""
    force: Force | None = None
    rollback_asked: str | None = None
    pause: Pause | None = None
    hold: Hold | None = None
    halted: Hold | None = None
    reminded: int = 0
    cause: Reason = Reason.STARTED
    """Why the rotation is in this phase."""

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
    def live(self) -> bool:
        """Whether it counts as the credential's one rotation (promise P7)."""
        return not self.phase.is_end


def begin(
    *,
    id: str,
    credential: str,
    policy: Policy,
    targets: tuple[str, ...],
    current: Version,
    incoming: int,
    now: datetime,
    by: str,
) -> Rotation:
    """A new rotation that leads from `current` to a version with the serial `incoming`."""
    stamp = Stamp(at=now, active=timedelta(0))
    return Rotation(
        id=id,
        credential=credential,
        policy=policy,
        targets=targets,
        versions={current.serial: current, incoming: Version(serial=incoming, state=VersionState.PENDING)},
        outgoing=(current.serial,),
        incoming=incoming,
        started_at=now,
        started_by=by,
        entered=stamp,
        first_entered={Phase.INTRODUCE: stamp},
    )
