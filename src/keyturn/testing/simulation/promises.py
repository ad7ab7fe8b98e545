"""Looks on at every call and every step, and says which promise was broken.

The promises are held against the world's own truth: what verifiers accept, what readers get, what clients met, what people
were told. Of the store only that is used which a promise speaks of: a rotation's phase, a person's word.

A tick that sees the world as it is, and is not interrupted, must do no harm at all (`at_once`). A call that arrives late
may do some, which the ticks that follow must find and undo (promise P7): such a harm may stand for so long (`standing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.domain.model import VersionState
from keyturn.domain.observations import Acceptance
from keyturn.domain.policy import Policy
from keyturn.ports.records import Lease
from keyturn.testing.fakes import FakeUsageSource
from keyturn.testing.simulation import at_once
from keyturn.testing.simulation.clients import THIEF, Use
from keyturn.testing.simulation.faults import Disturbance
from keyturn.testing.simulation.losses import Losses
from keyturn.testing.simulation.regions import Region
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.truth import ALIVE, accepts, ever_accepts

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World

UseTold = tuple[str, str, float, bool]
"""Of a use: key id, client, when, and whether any was refused."""
STANDS = 120.0
"""Seconds for which a harm may stand that a late call has done: the longest backoff, and some ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that did not hold."""

    promise: str
    text: str
    at: float

    def __str__(self) -> str:
        return f"{self.promise} at t+{self.at:.1f}: {self.text}"


class Promises:
    """What was seen so far of what a promise speaks of."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.told: dict[str, float] = {}
        """By source: the watermark that it has given out."""
        self.told_use: dict[tuple[str, str], float] = {}
        """(key id, client) → the newest use that a source has told of."""
        self.told_refusal: dict[tuple[str, str], float] = {}
        """The same of those that were refused, although the client really holds the key."""
        self.refused_at: dict[tuple[str, str], float] = {}
        """(key id, client) → when it was refused last, told or not."""
        self.told_success: dict[tuple[str, str], float] = {}
        self.messages: dict[str, tuple[str, float]] = {}
        """Every message that a commit promised to people, by id, with its topic and when."""
        self.joined: dict[str, float] = {}
        """When a verifier came that was not there from the start, or had left."""
        self.revoked_at: dict[str, float] = {}
        """By key id: when a replica revoked it first."""
        self.grace_over: set[str] = set()
        """Ids of compromised keys that were disabled in their time: no later promote gives them another."""
        self.tried_dead: set[tuple[str, str]] = set()
        """(verifier, key id) of what is revoked, that a replica has presented there, and seen to be refused."""
        self.alarms: list[tuple[Key, float, FakeUsageSource]] = []
        """Destroyed versions that a thief presented, when, and who should tell of it."""
        self.lost = Losses()
        self.committed: dict[tuple[str, str], tuple[str, int, Lease]] = {}
        """(replica, credential) → the rotation and revision that it acts on, and the lease that it acts under."""
        self.hands: dict[tuple[str, str], Key] = {}
        """(verifier, key id) that another's hand has changed, and nobody has mended."""
        self.dismissed: dict[str, float] = {}
        """Clients that an operator has said to be gone, and when."""
        self.acknowledged: dict[tuple[str, int], float] = {}
        """(client, serial) → when an owner said that the one has moved to the other."""
        self.differing: set[tuple[str, str]] = set()
        """(verifier, credential) where keyturn has reported that somebody has changed a key."""
        self.asked_back: dict[str, Key | None] = {}
        """Rotations that an operator was told would be rolled back, and the key that was to come back."""
        self.next_is_bad: dict[str, Disturbance] = {}
        """By credential: what is to befall its next version."""
        self.being_reported: dict[str, Callable[[Sequence[int]], None]] = {}
        """By credential: takes note of the versions that somebody has set out to report compromised."""
        self._polled: dict[tuple[str, str], tuple[float, Sequence[UseTold]]] = {}
        """(replica, source) → the watermark and uses that it was told of, and has not written down yet."""
        self._late_until = -1.0
        self._excused: set[str] = set()

    def check(self, found: Iterable[tuple[str, str]]) -> None:
        """The first of these (promise, what is wrong) ends the run."""
        for promise, text in found:
            self.violations.append(Violation(promise=promise, text=text, at=self.world.timeline.now))
            self.world.timeline.tell(f"BROKEN {promise}: {text}")
            self.world.timeline.ended = True
            return

    # What promises ask

    def policy(self, credential: str) -> Policy:
        """The policy of a credential."""
        return next(one.policy for one in self.world.shape.credentials if one.name == credential)

    def is_destroyed(self, key: Key) -> bool:
        """Whether keyturn says that a version is gone for good."""
        known = self.world.store.credential(key.credential)
        version = known.versions.get(key.serial or 0) if known is not None else None
        return (
            version is not None
            and version.state is VersionState.DESTROYED
            and self.world.key_of(key.credential, version.serial) is key
        )

    def strict(self, replica: Replica) -> bool:
        """Whether what a replica does now may do no harm: it has seen the world as it is, and nothing came between."""
        return replica.undisturbed and not self.world.landing_late

    @property
    def after_late(self) -> bool:
        """Whether a late call may have done harm that is not undone yet."""
        return self._late_until > self.world.timeline.now

    def excused(self, verifier: str) -> bool:
        """Whether a verifier has come back or joined, is said to differ, or was left out by name, and was not seen to be as
        it should since. How long that may last is not asked here, but where harms that stand are watched."""
        return verifier in self._excused

    def excuse(self, verifier: str) -> None:
        """A verifier comes back, or joins, or is said to differ, or is left out."""
        self._excused.add(verifier)

    def settle(self) -> None:
        """Whoever accepts by now what it should is no longer excused."""
        self._excused -= {verifier for verifier in self._excused if self._as_it_should_be(verifier)}

    def _as_it_should_be(self, verifier: str) -> bool:
        node = self.world.authority.nodes.get(verifier)
        if node is None or node.away or verifier in self.world.ill:
            return False
        for shape in self.world.shape.credentials:
            rotation = self.world.store.live_of(shape.name)
            kept = (
                sorted(rotation.served - rotation.revoked - set(rotation.disabled_at)) if rotation is not None else []
            )
            keys = [self.world.key_of(shape.name, serial) for serial in kept]
            keys += [self.world.by_value.get(one.value or "") for one in self.world.regions[shape.name].values()]
            if any(key is not None and key.reported is None and not accepts(node, key) for key in keys):
                return False
        # What is dead may have risen there, until it is buried again.
        return not any(self._is_dead(key) and ever_accepts(node, key) for key in self.world.keys.values())

    def _is_dead(self, key: Key) -> bool:
        """Whether it is said to be destroyed, or to be proven dead, which it will be said to be next."""
        rotation = self.world.store.live_of(key.credential)
        return self.is_destroyed(key) or (rotation is not None and key.serial in rotation.proven)

    def said_to_differ(self, verifier: str, credential: str) -> bool:
        """Whether keyturn has reported that somebody has changed a key there, which it leaves to a person to mend, and
        stands since, if by now for a stronger reason."""
        return (verifier, credential) in self.differing

    @property
    def watermark(self) -> float:
        """Up to when every use is known to the product."""
        marks = [self.told.get(name) for name in self.world.sources]
        return -1.0 if None in marks else min(mark for mark in marks if mark is not None)

    def known_since(self, moment: float) -> float:
        """For how many seconds after a moment every use is known to the product: what is lost for good is not."""
        return self.watermark - moment - self.lost.within(moment, self.watermark)

    # What is looked at

    def polled(self, replica: Replica, source: str, watermark: float, uses: Sequence[UseTold]) -> None:
        """A source has told a replica of uses, which are known once they are in the store."""
        self._polled[replica.name, source] = watermark, uses

    def known(self, replica: Replica) -> None:
        """What a replica was told is in the store."""
        for (name, source), (watermark, uses) in list(self._polled.items()):
            if name != replica.name:
                continue
            del self._polled[name, source]
            self.told[source] = max(self.told.get(source, watermark), watermark)
            for key_id, client, when, refused in uses:
                use = key_id, client
                for told in (self.told_use, self.told_refusal if refused else self.told_success):
                    if told.get(use, when) <= when:
                        told[use] = when

    def sending(self, replica: Replica, credential: str, method: str) -> None:
        """A replica begins a call that cannot be undone."""
        if not self.world.landing_late:
            self.check(at_once.sending(self, replica, credential, method))

    def minted(self, replica: Replica, key: Key) -> None:
        """A replica has had a value made."""
        if self.strict(replica):
            self.check(at_once.minted(self, replica, key))

    def promoted(self, replica: Replica, region: Region) -> None:
        """Readers of a region get what a replica has promoted."""
        if region.touched:
            region.touched, region.answered = False, self.world.timeline.now
        if self.strict(replica):
            self.check(at_once.promoted(self, replica, region))
        else:
            self._came_late()

    def joins(self, verifier: str) -> None:
        """A verifier is there from now on."""
        self.joined[verifier] = self.world.timeline.now
        self.excuse(verifier)

    def tried(self, verifier: str, key_id: str, found: Acceptance) -> None:
        """A replica has presented a key at a verifier, and got an answer."""
        node = self.world.authority.nodes.get(verifier)
        dead = node is not None and node.entries().get(key_id) not in ALIVE
        if dead and key_id in self.revoked_at and found is Acceptance.REFUSED:
            self.tried_dead.add((verifier, key_id))

    def at_authority(self, replica: Replica, method: str, key_id: str) -> None:
        """A replica is about to change a key at verifiers."""
        if method == "revoke":
            self.revoked_at.setdefault(key_id, self.world.timeline.now)
        if not self.strict(replica):
            self._came_late()
        elif (key := self.world.keys.get(key_id)) is not None:
            self.check(at_once.at_authority(self, replica, method, key))

    def removing(self, replica: Replica, region: Region, token: str) -> None:
        """A replica is about to remove a copy."""
        if self.strict(replica):
            self.check(at_once.removing(self, replica, region, token))

    def told_of_refusal(self, key: Key, client: str) -> float:
        """When a client, or a thief, was refused with a key last, if a source has told of it: it tells of a bucket, not of
        when."""
        use = (key.id, client)
        bucket = max(source.resolution for source in self.world.sources.values()).total_seconds()
        at = self.refused_at.get(use, -1.0)
        return at if self.told_refusal.get(use, -bucket) + bucket > at else -1.0

    def refused(self, use: Use) -> None:
        """A client was refused with what it read."""
        self.refused_at[use.key.id, use.client.name] = self.world.timeline.now
        self.check(at_once.refused(self, use))

    def stolen(self, key: Key, verifier: str, *, accepted: bool) -> None:
        """A thief has presented a version that is destroyed, compromised or disabled."""
        if not accepted:
            self.refused_at[key.id, THIEF] = self.world.timeline.now
        if key.serial is None or not self.is_destroyed(key):
            return
        self.alarms.append((key, self.world.timeline.now, self.world.source_of(verifier)))
        if accepted and not (self.excused(verifier) or self.after_late):
            self.check([("P11", f"{verifier} accepts {key} from a thief, and it is said to be destroyed")])

    def held_up(self, seconds: float) -> None:
        """Whoever was to undo what came late is dead, and keeps the others from it for so long."""
        if self.after_late:
            self._late_until += seconds

    def _came_late(self) -> None:
        self._late_until = self.world.timeline.now + STANDS
