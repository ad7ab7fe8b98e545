"""Makes happen what the plan says goes wrong, and mends it all when the time for that has come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keyturn.domain.observations import Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.testing.fakes import FakeUsageSource, FakeVerifier, KvPlace, LabelledPlace
from keyturn.testing.fakes.usage import EVERYWHERE
from keyturn.testing.simulation.faults import AT_VERIFIERS, JOINING, LOSSY, VOUCHED, Disturbance
from keyturn.testing.simulation.plan import MOST_SKEW
from keyturn.testing.simulation.regions import Region
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.truth import seconds_of

if TYPE_CHECKING:
    from keyturn.testing.simulation.people import People
    from keyturn.testing.simulation.world import World

LATE = 25.0
"""Seconds by which reports come late after the time they are about was declared complete."""


class Director:
    """Sees to it that the disturbances of the plan happen."""

    def __init__(self, world: World, people: People) -> None:
        self.world = world
        self.people = people
        self._mending: list[Callable[[], None]] = []
        self._strangers = 0
        for one in world.plan.disturbances:
            world.timeline.at(one.at, self._happening(one))

    def _happening(self, one: Disturbance) -> Callable[[], None]:
        def happens() -> None:
            self.world.timeline.tell(f"! {one}")
            HAPPENING[one.fault](self, one)

        return happens

    def heal(self) -> None:
        """Nothing is disturbed from now on, and nothing is scheduled any more: the daemons start anew without that."""
        self.world.timeline.tell("! all is healed")
        self.world.healed = True
        for mend in self._mending:
            mend()
        self._mending.clear()
        for replica in self.world.replicas:
            replica.armed.clear()
            replica.restart()
        for shape in self.world.shape.credentials:
            if shape.scheduled and self.world.store.latest_of(shape.name) is not None:
                self.world.store.set_due(shape.name, None)

    def _for(self, lasting: float, mend: Callable[[], None]) -> None:
        """Undo it after so long, or when all is healed."""
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                mend()

        self._mending.append(once)
        self.world.timeline.at(self.world.timeline.now + lasting, once)

    def arm(self, one: Disturbance) -> None:
        """Have it meet the first fitting call of its replica."""
        for replica in self.world.replicas:
            if replica.name == one.who:
                replica.armed.append(one)

    def partition(self, one: Disturbance) -> None:
        """Cut one pair off from each other."""
        world = self.world
        if one.who in world.sources:
            source = world.sources[one.who]
            world.happened(one)
            if one.where == "late":
                source.delay(timedelta(seconds=LATE))
                self._for(one.lasting, lambda: source.delay(timedelta(0)))
            else:
                blind_to = EVERYWHERE if one.where == "verifiers" else one.where
                source.stop(blind_to)
                back = (
                    partial(self._lose, source, blind_to) if one.choice == LOSSY else partial(source.resume, blind_to)
                )
                self._for(one.lasting, back)
            return
        for client in world.clients:
            if client.name == one.who:
                world.happened(one)
                client.cut.add(one.where)
                self._for(one.lasting, partial(client.cut.discard, one.where))
                return
        for replica in world.replicas:
            if replica.name == one.who:
                self._cut(replica, one)

    def _lose(self, source: FakeUsageSource, blind_to: str) -> None:
        """A source hears again, and what it did not hear is lost for good."""
        lost = source.lose(blind_to)
        if lost is not None:
            self.world.promises.lost.add(source, seconds_of(lost[0]), seconds_of(lost[1]))

    def _cut(self, replica: Replica, one: Disturbance) -> None:
        replica.cut[one.where] = one

        def mended() -> None:
            if replica.cut.get(one.where) is one:
                del replica.cut[one.where]

        self._for(one.lasting, mended)

    def clock_skew(self, one: Disturbance) -> None:
        for replica in self.world.replicas:
            if replica.name == one.who:
                self.world.happened(one)
                replica.clock.skew = {"fast": MOST_SKEW / 2, "slow": -MOST_SKEW / 2}.get(one.choice, 0.0)

    def full_disk(self, one: Disturbance) -> None:
        self.world.disk_full = one

        def freed() -> None:
            self.world.disk_full = None

        self._for(one.lasting, freed)

    def authority_outage(self, one: Disturbance) -> None:
        world = self.world
        world.happened(one)
        if one.choice == "joins":
            if JOINING not in world.authority.nodes:
                world.authority.nodes[JOINING] = FakeVerifier(
                    JOINING, world.clock, lag=world.lag, held_lag=world.held_lag
                )
                world.promises.joins(JOINING)
            return
        names = world.shape.verifiers if one.where == "all" else (one.where,)
        for name in names:
            node = world.authority.nodes.get(name)
            if node is None:
                continue
            if one.choice == "ill":
                world.ill.add(name)
                world.promises.excuse(name)
                self._for(one.lasting, partial(world.ill.discard, name))
            elif one.choice == "hangs":
                node.hang()
                self._for(one.lasting, node.go_on)
            elif one.choice == "leaves":
                if len(world.authority.nodes) > 1:
                    del world.authority.nodes[name]
                    self._for(one.lasting, partial(self._rejoins, name, node))
            else:
                node.leave()
                forgetting = 1 if one.choice == "stale" else 0
                self._for(one.lasting, partial(self._returns, node, forgetting))

    def _rejoins(self, name: str, node: FakeVerifier) -> None:
        self.world.authority.nodes[name] = node
        self.world.promises.joins(name)

    def _returns(self, node: FakeVerifier, forgetting: int) -> None:
        node.come_back(forgetting=forgetting)
        self.world.promises.excuse(node.name)

    def bad_new_key(self, one: Disturbance) -> None:
        """The version that is being introduced does not work, although every probe says so."""
        world = self.world
        rotation = world.store.live_of(one.who)
        key = world.key_of(one.who, rotation.incoming) if rotation is not None else None
        if key is None:
            # Not made yet: the next one that is.
            world.promises.next_is_bad[one.who] = one
            return
        world.spoil(key, one)

    def hand_edit(self, one: Disturbance) -> None:
        """Somebody changes something by hand."""
        world = self.world
        world.happened(one)
        if one.choice in AT_VERIFIERS:
            self._hand_at_authority(one)
            return
        region = world.regions[one.who].get(one.where)
        if region is None:
            return
        before = region.value
        self._hand_at_region(one, region)
        if region.value != before:
            region.touched = True
            region.given()

    def _hand_at_authority(self, one: Disturbance) -> None:
        world = self.world
        node = world.authority.nodes.get(one.where)
        keys = [key for key in world.keys.values() if key.credential == one.who]
        if node is None or not keys:
            return
        key = keys[-min(one.skip + 1, len(keys))]
        if one.choice == "enables":
            # Of one that never came there nobody has the value.
            if node.entries().get(key.id) in (Entry.DISABLED, Entry.REVOKED):
                world.promises.excuse(one.where)
                node.put(key.id, Entry.ACTIVE, SecretValue(key.value))
            return
        if key.id not in node.entries():
            return
        world.promises.hands[one.where, key.id] = key
        if one.choice == "loses":
            node.lose(key.id)
        elif node.entries().get(key.id) is Entry.ACTIVE:
            node.put(key.id, Entry.DISABLED, SecretValue(key.value))

    def _hand_at_region(self, one: Disturbance, region: Region) -> None:
        world, place = self.world, region.place
        self._strangers += 1
        if one.choice == "overwrites" and (world.plan.run + self._strangers) % 4 == 0:
            place.overwrite_with_no_text()
        elif one.choice == "overwrites":
            place.overwrite(f"by hand {self._strangers}")
        elif one.choice == "makes a key" and world.authority.room() != 0:
            minted = world.authority.made_by_hand()
            key = world.made(one.who, minted, None)
            for node in world.authority.nodes.values():
                node.put(key.id, Entry.ACTIVE, minted.value)
            place.overwrite(key.value)
        elif one.choice == "deletes":
            if isinstance(place, KvPlace):
                place.delete()
        elif one.choice == "reverts":
            older = [value for value in region.gave if value != region.value and value in world.by_value]
            if older:
                place.overwrite(older[-1])
        elif one.choice == "robs":
            for token in list(place.copies()):
                region.robbed.add(token)
                place.remove(token, ())
        elif one.choice == "obstructs" and isinstance(place, LabelledPlace):
            place.add_foreign_label(f"theirs-{self._strangers}", f"theirs {self._strangers}", since=world.clock.now())

    def operator(self, one: Disturbance) -> None:
        self.world.happened(one)
        if one.choice in VOUCHED:
            self.people.vouch(one.who, one.where or None, one.choice)
        else:
            self.people.command(one.who, one.choice)

    def compromise(self, one: Disturbance) -> None:
        self.world.happened(one)
        self.people.report(one.who, one.where, one.choice)


HAPPENING: dict[str, Callable[[Director, Disturbance], None]] = {
    "partition": Director.partition,
    "clock-skew": Director.clock_skew,
    "full-disk": Director.full_disk,
    "authority-outage": Director.authority_outage,
    "bad-new-key": Director.bad_new_key,
    "hand-edit": Director.hand_edit,
    "operator": Director.operator,
    "compromise": Director.compromise,
    **dict.fromkeys(
        (
            "crash",
            "lost-response",
            "lost-request",
            "duplicate-delivery",
            "throttling",
            "denial",
            "stale-read",
            "replica-pause",
            "lost-ack",
        ),
        Director.arm,
    ),
}
"""What each kind of fault does when its time has come."""
