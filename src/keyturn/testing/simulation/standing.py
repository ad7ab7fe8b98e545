"""Harms that may stand for a while, since a late call or somebody's hand has done them, but must be found and undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import PERMANENT
from keyturn.domain.model import Hold, Rotation, VersionState
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.runtime.gather import effect_seen
from keyturn.runtime.values import copy_token, named_serial
from keyturn.testing.fakes import FakeVerifier
from keyturn.testing.simulation.at_once import RESTORABLE
from keyturn.testing.simulation.promises import STANDS
from keyturn.testing.simulation.timeline import moment
from keyturn.testing.simulation.truth import ALIVE, accepts, seconds_of, settled

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World

Condition = tuple[str, str]
"""Promise and what is wrong."""

REFUSED_FOR_GOOD = frozenset({Reason.QUARANTINED, Reason.EFFECT_FAILED})
CALM = 10
"""So many ticks without any disturbance, of the one replica that has the claim, are enough to undo it: none counts while
a process that died still has it."""


class Standing:
    """Watches how long each harm stands."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calm = 0
        self._since: dict[Condition, tuple[float, int]] = {}
        self._heard: dict[str, float] = {}
        self._told_orphans: set[str] = set()
        """Ids of keys that people were told of, which nobody has the secret of."""
        self._read = 0

    def step(self, *, calm: bool) -> None:
        """Look at everything once more, after a tick that was undisturbed or not."""
        world = self.world
        self.calm += calm
        world.promises.settle()
        self._hear()
        now = world.timeline.now
        since = {found: self._since.get(found, (now, self.calm)) for found in self._found()}
        self._since = since
        for (promise, text), (first, then) in since.items():
            if now - first > STANDS and self.calm - then > CALM * len(world.replicas):
                world.promises.check([(promise, f"{text}, for {now - first:.0f} s")])
                return

    def left(self) -> Iterator[Condition]:
        """What is wrong now, however new it is."""
        yield from self._found()

    def _found(self) -> Iterator[Condition]:
        for shape in self.world.shape.credentials:
            name = shape.name
            rotation = self.world.store.live_of(name)
            yield from self._served(name)
            yield from self._forgotten(name, rotation)
            for serial, key in self.world.taken_for_another(name):
                yield "P5", f"v{serial} of {name} is {key.id}, and another key is remembered as it"
            yield from self._orphans(name, rotation)
            yield from self._copies(name, rotation)
            yield from self._brought_back(name, rotation)
            if rotation is not None:
                yield from self._way_back(rotation)
                yield from self._in_use(rotation)
                yield from self._not_back(rotation)
                yield from self._silent(rotation)
        yield from self._compromised()
        yield from self._given_again()

    def _served(self, name: str) -> Iterator[Condition]:
        """P1: what readers get is accepted by every verifier that answers."""
        world = self.world
        for region in world.regions[name].values():
            key = world.by_value.get(region.value or "")
            if key is None or key.reported is not None or key.serial is None or region.touched:
                continue
            for node in world.authority.nodes.values():
                if not accepts(node, key) and not self._excused(node, key):
                    yield "P1", f"{region.name} gives {key} to readers, which {node.name} may refuse"

    def _excused(self, node: FakeVerifier, key: Key) -> bool:
        """Whether a verifier cannot be expected to accept what it should, and why is known."""
        world, promises = self.world, self.world.promises
        changed = (node.name, key.id) in promises.hands or promises.said_to_differ(node.name, key.credential)
        rotation = world.store.live_of(key.credential)
        # What has failed goes first where the authority has room for few; whether it might is asked when it goes.
        if rotation is not None and key.serial in rotation.failed and world.authority.capacity is not None:
            return True
        # A person is called for something else, and is told of the verifier when that is answered.
        stands = None if rotation is None else rotation.halted or rotation.hold
        if stands is not None and stands.reason in REFUSED_FOR_GOOD:
            return True  # a person is called, and nothing is sent again before they say so
        if stands is not None and stands.latched and (promises.excused(node.name) or self._told(rotation, key, stands)):
            return True
        return node.away or node.name in world.ill or changed

    def _told(self, rotation: Rotation | None, key: Key, stands: Hold) -> bool:
        """Whether the authority has refused for good to accept a key, and the person who is called for something else is
        told of it: it is sent again when they answer."""
        lines = self.world.store.journal(rotation.id).values() if rotation is not None else ()
        tried = [effect_seen(one) for one in lines if one.effect.kind in (EffectKind.ENABLE, EffectKind.INSTALL)]
        refused = [one.message for one in tried if one.serial == key.serial and one.failure in PERMANENT]
        return any(message in stands.detail for message in refused)

    def _forgotten(self, name: str, rotation: Rotation | None) -> Iterator[Condition]:
        """P5: every key that is alive at the authority is one that keyturn knows to be alive."""
        world = self.world
        known = world.store.credential(name)
        versions = known.versions if known is not None else {}
        for key in world.keys.values():
            if key.credential != name or key.serial is None:
                continue
            version = versions.get(key.serial)
            in_care = rotation is not None and key.serial in rotation.versions
            current = (
                version is not None and version.state is VersionState.CURRENT and world.key_of(name, key.serial) is key
            )
            # What a hand gives to readers is not taken away under them, wherever it has risen.
            given = any(one.touched and one.value == key.value for one in world.regions[name].values())
            if known is None or in_care or current or given or world.is_orphan(key):
                continue
            for node in world.authority.nodes.values():
                if not node.away and node.entries().get(key.id) in ALIVE:
                    yield "P5", f"{key} is alive at {node.name}, and nobody remembers it"

    def _orphans(self, name: str, rotation: Rotation | None) -> Iterator[Condition]:
        """P5: between rotations people are told of a key that a lost mint has left; the next mint takes it away."""
        world, ended = self.world, self.world.store.latest_of(name)
        if rotation is not None or ended is None:
            return
        # A person is called for something else, and is told of the key when that is answered.
        called = ended.hold is not None and ended.hold.reason is not Reason.ORPHAN
        for key in world.keys.values():
            if key.credential != name or called or key.id in self._told_orphans or not world.is_orphan(key):
                continue
            for node in world.authority.nodes.values():
                if not node.away and node.entries().get(key.id) in ALIVE:
                    yield "P5", f"{key.id} of {name} is left at {node.name} of a lost mint, and nobody was told"

    def _copies(self, name: str, rotation: Rotation | None) -> Iterator[Condition]:
        """P5: no copy outlives the rotation that needs it."""
        if rotation is not None:
            return
        for region in self.world.regions[name].values():
            for serial in sorted(filter(None, (named_serial(name, token) for token in region.place.copies()))):
                yield "P5", f"a copy of v{serial} is left at {region.name}"

    def _brought_back(self, name: str, rotation: Rotation | None) -> Iterator[Condition]:
        """P3: what was asked back is what readers get; whether it is accepted is asked of all that they get."""
        ended = self.world.store.latest_of(name) if rotation is None else None
        if ended is None or ended.phase is not Phase.ROLLED_BACK:
            return
        key = self.world.promises.asked_back.get(ended.id)
        if key is None or key.reported is not None:
            return
        for region in self.world.regions[name].values():
            if region.value != key.value and not region.touched:
                yield (
                    "P3",
                    f"{region.name} gives {self.world.named(region.value)} to readers, and {key} was to come back",
                )

    def _in_use(self, rotation: Rotation) -> Iterator[Condition]:
        """P2: while clients move, the old version is accepted by every verifier that answers."""
        world = self.world
        if rotation.phase not in (Phase.OVERLAP, Phase.MONITOR):
            return
        regions = world.regions[rotation.credential].values()
        for serial in rotation.outgoing:
            key = world.key_of(rotation.credential, serial)
            given_up = serial in rotation.revoked or serial in rotation.waived or serial not in rotation.served
            if key is None or key.reported is not None or key.forced or given_up:
                continue
            if not any(region.holds(key) for region in regions):
                continue  # somebody's hand has taken the value from everywhere
            for node in world.authority.nodes.values():
                if not accepts(node, key) and not self._excused(node, key):
                    yield "P2", f"{node.name} may refuse {key} in {rotation.phase}"

    def _not_back(self, rotation: Rotation) -> Iterator[Condition]:
        """P3: on the way back nobody is cut off who has moved, until all are known to be back."""
        world, promises, policy = self.world, self.world.promises, rotation.policy
        if rotation.phase is not Phase.ROLLBACK or not rotation.promoted.keys() >= set(rotation.targets):
            return  # until then P1 speaks of what readers get
        drain = max(policy.drain, policy.minimum_overlap).total_seconds()
        regions = world.regions[rotation.credential].values()
        given_up = {rotation.survivor, *rotation.disabled_at, *rotation.revoked, *rotation.forced}
        for serial in rotation.served - given_up:
            key = world.key_of(rotation.credential, serial)
            if key is None or key.reported is not None or not any(region.holds(key) for region in regions):
                continue
            used = [at for (key_id, _), at in promises.told_use.items() if key_id == key.id]
            if promises.known_since(max([*(region.promoted_at for region in regions), *used])) >= drain:
                continue
            for node in world.authority.nodes.values():
                if not accepts(node, key) and not self._excused(node, key):
                    yield "P3", f"{node.name} may refuse {key}, which some have moved to, on the way back"

    def _way_back(self, rotation: Rotation) -> Iterator[Condition]:
        """P3: until DESTROY the old version can come back."""
        world, old = self.world, rotation.outgoing[0]
        key = world.key_of(rotation.credential, old)
        given_up = old in rotation.revoked or old in rotation.waived or rotation.supersedes is not None
        if key is None or key.reported is not None or given_up or rotation.phase not in RESTORABLE:
            return
        for node in world.authority.nodes.values():
            if node.entries().get(key.id) is Entry.REVOKED:
                yield "P3", f"{key} is revoked at {node.name} in {rotation.phase}"
        for name, region in world.regions[rotation.credential].items():
            token = copy_token(rotation, old)
            kept = token in region.place.copies() or token in region.robbed
            if not kept and (name, rotation.incoming) in rotation.promised:
                yield "P3", f"{name} keeps no copy of {key} in {rotation.phase}"

    def _compromised(self) -> Iterator[Condition]:
        """P2, P8: what is compromised is refused once its time is over."""
        world = self.world
        for key in world.keys.values():
            if key.reported is None or key.cut > world.timeline.now:
                continue
            for node in world.authority.nodes.values():
                if not node.away and settled(node, key) is Acceptance.ACCEPTED:
                    yield "P8", f"{key} is compromised, its time is over, and {node.name} accepts it"

    def _given_again(self) -> Iterator[Condition]:
        """P8: what is compromised is not left to readers who were given it again, once there is something better."""
        for key in self.world.keys.values():
            if key.reported is None:
                continue
            for region in self.world.regions[key.credential].values():
                if region.since <= key.reported or region.touched or region.value != key.value:
                    continue
                if self._better(key.credential):
                    yield "P8", f"{region.name} gives {key} to readers again, which is compromised"

    def _better(self, name: str) -> bool:
        """Whether there is a version that is not compromised and is accepted wherever anything answers."""
        world = self.world
        answering = [node for node in world.authority.nodes.values() if not node.away]
        return any(
            key.credential == name
            and key.serial is not None
            and key.reported is None
            and all(accepts(node, key) for node in answering)
            for key in world.keys.values()
        )

    def _hear(self) -> None:
        """What people were told since."""
        world = self.world
        for message in world.mail.delivered[self._read :]:
            told = message.payload
            if told["topic"] != "client.remind":
                self._heard[str(told.get("credential"))] = world.timeline.now
            if told.get("reason") == Reason.ORPHAN:
                self._told_orphans.update(re.findall(r"[\w-]+", str(told["text"])))
        self._read = len(world.mail.delivered)

    def _silent(self, rotation: Rotation) -> Iterator[Condition]:
        """P10: nothing stands for longer than its deadline without a word to a person."""
        world = self.world
        if rotation.pause is not None and moment(world.timeline.now) < rotation.pause.until:
            self._heard[rotation.credential] = world.timeline.now
        heard = max(self._heard.get(rotation.credential, 0.0), seconds_of(rotation.started_at))
        policy = rotation.policy
        allowed = (policy.deadline(rotation.phase).after + policy.page_every).total_seconds() + STANDS
        if world.timeline.now - heard > allowed:
            yield "P10", f"{rotation.credential} stands in {rotation.phase}, and nobody was told"
