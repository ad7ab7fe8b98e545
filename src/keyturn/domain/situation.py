"""A rotation beside what was observed of the world: the facts that rows and guards reason with.

Everything here is three-valued where the world is: known so, known not so, unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import PERMANENT
from keyturn.domain.model import Rotation, Stamp, VersionState
from keyturn.domain.observations import (
    Acceptance,
    ClientSeen,
    Entry,
    Hole,
    Observations,
    Serving,
    ServingKind,
)
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy

UNKNOWN_SERVING = Serving(kind=ServingKind.UNKNOWN)
LISTED_AS = {
    Entry.ACTIVE: Acceptance.ACCEPTED,
    Entry.DISABLED: Acceptance.DISABLED,
    Entry.REVOKED: Acceptance.REFUSED,
    Entry.ABSENT: Acceptance.REFUSED,
    Entry.UNKNOWN: Acceptance.UNREACHABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Whether a version has been silent for long enough, and if not, who stands in the way until when."""

    known: bool
    """False when no source covers the time in question: then nothing may be concluded."""
    users: tuple[tuple[str, timedelta], ...] = ()
    """Clients whose silence is still too short, and how much is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What rows and guards are given."""

    rotation: Rotation
    seen: Observations
    now: datetime

    def beside(self, rotation: Rotation) -> Situation:
        """The same world beside another rotation."""
        return Situation(rotation=rotation, seen=self.seen, now=self.now)

    @property
    def policy(self) -> Policy:
        """The policy this rotation started with."""
        return self.rotation.policy

    @property
    def old(self) -> int:
        """The version that readers got last before this rotation."""
        return self.rotation.outgoing[0]

    @property
    def new(self) -> int:
        """The version this rotation introduces."""
        return self.rotation.incoming

    @property
    def survivor(self) -> int:
        """The version that is to be left when the rotation ends as it now stands."""
        return self.rotation.survivor

    @property
    def doomed(self) -> tuple[int, ...]:
        """Every other version of the rotation."""
        survivor = self.survivor
        return tuple([serial for serial in self.rotation.versions if serial != survivor])

    # What became of versions

    def minted(self, serial: int) -> bool:
        """Whether the version ever got a key id, so that the authority may know it."""
        return self.rotation.versions[serial].key_id is not None

    def marked(self, serial: int) -> bool:
        """Whether the version was reported compromised: it is never enabled or promoted again (promise P8)."""
        return self.rotation.versions[serial].compromised_at is not None

    @property
    def hurried(self) -> bool:
        """Whether this is an emergency: a version that readers had is compromised."""
        return any(self.marked(serial) for serial in self.rotation.outgoing)

    def cut(self, serial: int) -> datetime | None:
        """When a marked version is disabled, whatever else is under way."""
        mark = self.rotation.marks.get(serial)
        return mark.cut_at if mark is not None else None

    @property
    def restorable(self) -> bool:
        """Whether the old version can come back: it is not compromised, nothing of it was taken away for good, and its value
        is not known to be lost."""
        return self.givable(self.old) and not self.phase_is(Phase.DESTROY) and self.readable(self.old) is not False

    def kept(self, serial: int) -> bool:
        """Whether an outgoing version is to stay accepted until it is known silent. One that has no key id was another's
        value, lost before it was adopted: nobody can be asked for it."""
        force = self.rotation.forced.get(serial)
        final = force is not None and force.final
        return serial in self.rotation.served and self.minted(serial) and self.givable(serial) and not final

    def givable(self, serial: int) -> bool:
        """Whether readers may ever be given a version: it is not compromised, and nothing took it away for good."""
        return self.rotation.givable(serial)

    def lost_for_good(self, serial: int) -> bool:
        """Whether nobody has the value of what readers are to get, in a phase that makes no other."""
        return self.phase_is(Phase.DESTROY, Phase.ROLLBACK) and self.readable(serial) is False

    def sent(self, kind: EffectKind, serial: int) -> bool:
        """Whether a call of ours, of this rotation or of an earlier one that may land late, explains a difference."""
        if (kind, serial) in self.seen.late:
            return True
        return any(one.serial == serial and one.kind is kind for one in self.seen.effects.values())

    def refused_for_good(self, kind: EffectKind, serial: int) -> bool:
        """Whether a call of this rotation was refused, and is not tried again by ourselves."""
        tried = [one for one in self.seen.effects.values() if (one.kind, one.serial) == (kind, serial)]
        return any(one.failure in PERMANENT for one in tried)

    # Targets

    def serving(self, target: str) -> Serving:
        """What readers of a target get."""
        seen = self.seen.targets.get(target)
        return seen.serving if seen is not None else UNKNOWN_SERVING

    def serves(self, target: str, serial: int) -> bool:
        """Whether readers of a target are known to get a version."""
        serving = self.serving(target)
        return serving.kind is ServingKind.OURS and serving.serial == serial

    def copies(self, target: str) -> frozenset[int] | None:
        """Serials of which the rotation keeps a copy at a target; None when unknown."""
        seen = self.seen.targets.get(target)
        return seen.copies if seen is not None else None

    def stored(self, target: str) -> frozenset[int] | None:
        """Serials of which any copy of ours is at a target; None when unknown."""
        seen = self.seen.targets.get(target)
        if seen is None or seen.copies is None:
            return None
        return seen.copies | seen.left.keys() if seen.left else seen.copies

    def readable(self, serial: int) -> bool | None:
        """Whether a version's value can be read back from anywhere; None when that is unknown."""
        if serial in self.seen.lost:
            return False
        known = True
        for target in self.rotation.targets:
            held = self.stored(target)
            if self.serves(target, serial) or serial in (held or ()):
                return True
            known = known and held is not None
        return False if known else None

    def to_reassert(self, target: str) -> bool:
        """Whether an operator wants what readers of a target get now overwritten."""
        serving = self.serving(target)
        known = serving.kind is not ServingKind.UNKNOWN
        return known and self.rotation.reasserted.get(target) == (serving.id or "")

    def came_late(self, target: str) -> bool:
        """Whether readers of a target get a version of ours that the phase does not call for, by our own late promote."""
        serving = self.serving(target)
        if serving.kind is not ServingKind.OURS or serving.serial is None or serving.serial in self.explained(target):
            return False
        return self.sent(EffectKind.PROMOTE, serving.serial)

    def explained(self, target: str) -> frozenset[int]:
        """What readers of a target may get, by our own doing."""
        rotation = self.rotation
        if rotation.phase.is_end or target in rotation.promoted:
            return frozenset({self.survivor})
        # What one hand gave to several targets is adopted at all of them.
        begun = rotation.adopting is not None or (target, self.new) in rotation.promised
        given = {serial for _, serial in rotation.promised}
        older = [v for v in rotation.outgoing if v in given or rotation.versions[v].state is not VersionState.PENDING]
        return frozenset({*older, self.new} if begun else older)

    def called_for(self, target: str) -> int:
        """What readers of a target are to get by this phase."""
        given_up = self.old in self.rotation.waived or self.old in self.rotation.revoked
        moving = self.phase_is(Phase.OVERLAP) and (target in self.rotation.promoted or self.hurried)
        staying = self.phase_is(Phase.INTRODUCE, Phase.OVERLAP) and not (moving or given_up)
        return self.old if staying else self.survivor

    def waves(self) -> list[tuple[str, ...]]:
        """The targets in the order and groups in which they are promoted; in an emergency all at once."""
        targets = self.rotation.targets
        size = len(targets) if self.hurried else max(1, self.policy.wave_size)
        return [targets[i : i + size] for i in range(0, len(targets), size)]

    # Verifiers

    def acceptance(self, verifier: str, serial: int) -> Acceptance:
        """How a verifier treats a version; what was not asked counts as unreachable, which is unknown. Of one whose value
        is lost, or waived by an operator, the authority's listing speaks."""
        seen = self.seen.verifiers.get(verifier)
        if seen is not None and (found := seen.acceptance.get(serial)) is not None:
            return found
        if seen is not None and (serial in self.rotation.waived or self.readable(serial) is False):
            return LISTED_AS[self.entry(verifier, serial)]
        return Acceptance.UNREACHABLE

    def unasked(self, verifier: str, serial: int) -> bool:
        """Whether this tick has not tried a version at a verifier, as when it was only just made or its value is away."""
        return serial not in self.seen.verifiers[verifier].acceptance

    def entry(self, verifier: str, serial: int) -> Entry:
        """What the authority lists for a version at a verifier."""
        seen = self.seen.verifiers.get(verifier)
        return seen.entries.get(serial, Entry.UNKNOWN) if seen is not None else Entry.UNKNOWN

    def left_out(self, verifier: str) -> bool:
        """Whether a verifier cannot be reached, and an emergency goes on without it."""
        return self.hurried and self.acceptance(verifier, self.new) is Acceptance.UNREACHABLE

    def verifiers(self, serial: int, *states: Acceptance) -> tuple[str, ...]:
        """The verifiers that treat a version in one of these ways, in a steady order."""
        return tuple([v for v in sorted(self.seen.verifiers) if self.acceptance(v, serial) in states])

    def still(self, serial: int, *states: Acceptance) -> tuple[str, ...]:
        """The same for a version that is to be taken away: where its value cannot be tried, the listing speaks."""

        def treats(verifier: str) -> Acceptance:
            if self.unasked(verifier, serial):
                return LISTED_AS[self.entry(verifier, serial)]
            return self.acceptance(verifier, serial)

        return tuple([v for v in sorted(self.seen.verifiers) if treats(v) in states])

    def behind_our_back(self, serial: int) -> tuple[str, ...]:
        """Verifiers that had agreed, were never away, and refuse a version now. A disable by name, if we ever asked for
        one, is our own call come late."""
        refusing = [v for v in self.verifiers(serial, Acceptance.REFUSED, Acceptance.DISABLED) if v in self.rotation.up]
        if refusing and self.sent(EffectKind.DISABLE, serial):
            refusing = [v for v in refusing if self.acceptance(v, serial) is Acceptance.REFUSED]
        return tuple(refusing)

    # Time and use

    def last_promote(self, targets: Iterable[str] | None = None) -> Stamp | None:
        """When the last of these targets (all by default) was seen to serve what this entry promotes."""
        names = self.rotation.targets if targets is None else targets
        stamps = [self.rotation.promoted[t] for t in names if t in self.rotation.promoted]
        return max(stamps, key=lambda stamp: stamp.at) if stamps else None

    def watched(self, since: Stamp, span: timedelta, watermark: datetime | None) -> bool:
        """Whether `span` of the rotation's own time after `since` lies below a watermark, what is lost left out."""
        if watermark is None:
            return False
        stopped = self.rotation.stopped_after(since, self.now)
        return watermark >= since.at + stopped + span + _within(self.seen.usage.lost, since.at, watermark)

    def silence(self, client: ClientSeen, last: datetime, watermark: datetime) -> timedelta:
        """How long a client has been silent for certain since it was last seen. What a source has lost stops the clock;
        a loss longer than the client ever paused starts it anew (EVIDENCE.md §3)."""
        for hole in client.lost:
            if hole.end > last and hole.end - hole.start > client.largest_gap:
                last = hole.end
        return watermark - last - _within(client.lost, last, watermark)

    def quiet(self, serial: int, *, since: datetime | None, least: timedelta | None = None) -> Quiet:
        """Whether a version is known silent: for every client, from its last use (and not before `since`) up to the
        watermark, for the client's required silence, or for `least` where that is given (EVIDENCE.md §3). An owner's word
        that a client has moved is no silence (promise P2)."""
        usage = self.seen.usage
        start = max((t for t in (usage.since, since) if t is not None), default=None)
        if usage.watermark is None or usage.since is None or start is None:
            return Quiet(known=False)
        users = []
        nobody = ClientSeen(required_silence=self.policy.silence_unseen, lost=usage.lost)
        for name, client in sorted((usage.clients or {"(no client seen yet)": nobody}).items()):
            if client.dismissed and least is None:
                continue
            needed = client.required_silence if least is None else least
            last = max(start, client.last_use.get(serial, start))
            missing = needed - self.silence(client, last, usage.watermark)
            if missing > timedelta(0):
                users.append((name, missing))
        return Quiet(known=True, users=tuple(users))

    def laggards(self) -> tuple[str, ...]:
        """Known clients that have not succeeded with the new version when last seen on it, and are neither gone nor
        vouched for."""
        return tuple(name for name, client in sorted(self.seen.usage.clients.items()) if not self._moved(client))

    def _moved(self, client: ClientSeen) -> bool:
        ours = [serial for serial in client.last_use if serial in self.rotation.versions]
        # Whoever has presented nothing but what is compromised or given up is not awaited: it may be a thief.
        given_up = bool(ours) and not any(serial == self.new or self.kept(serial) for serial in ours)
        if client.acknowledged or client.dismissed or given_up:
            return True
        success = client.last_success.get(self.new)
        refusal = client.last_refusal.get(self.new)
        if success is not None and (refusal is None or success >= refusal):
            return True
        watermark = self.seen.usage.watermark
        promoted = self.last_promote()
        if watermark is None or promoted is None:
            return False
        last = max([*client.last_use.values(), promoted.at])
        return self.silence(client, last, watermark) >= client.required_silence

    def refused_users(self, serial: int) -> tuple[str, ...]:
        """Clients that really hold a version we disabled and were refused since."""
        since = self.rotation.disabled_at.get(serial)
        if since is None and self.rotation.soak is not None:
            since = self.rotation.soak.at
        if since is None:
            return ()
        return tuple(
            name
            for name, client in sorted(self.seen.usage.clients.items())
            if client.last_refusal.get(serial, since) > since
        )

    def phase_is(self, *phases: Phase) -> bool:
        """Whether the rotation is in one of these phases."""
        return self.rotation.phase in phases


def _within(lost: Iterable[Hole], start: datetime, end: datetime) -> timedelta:
    return sum((hole.within(start, end) for hole in lost), timedelta(0))
