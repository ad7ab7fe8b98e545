"""What a tick that sees the world as it is must not do, and what no client may ever meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance
from keyturn.domain.phases import Phase
from keyturn.runtime.values import copy_token
from keyturn.testing.simulation import ends
from keyturn.testing.simulation.clients import THIEF, Client, Use
from keyturn.testing.simulation.making_room import idle, makes_room
from keyturn.testing.simulation.plan import MOST_SKEW
from keyturn.testing.simulation.regions import Region
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.truth import ALIVE, accepts, seconds_of, settled

if TYPE_CHECKING:
    from keyturn.testing.simulation.promises import Promises
    from keyturn.testing.simulation.world import Key

Found = Iterator[tuple[str, str]]

RESTORABLE = frozenset({Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE})
SLACK = 2 * MOST_SKEW
"""Seconds by which clocks that differ may shorten a span."""
FRESH = 30.0
"""Seconds: a client that refreshes at all presents nothing that it read longer ago than refresh, pool and propagation."""
ANSWERED = 150.0
"""Seconds for which clients may still hold what another's hand gave them, after it was overwritten."""


def emergency(rotation: Rotation) -> bool:
    """Whether any version of it was reported compromised."""
    return any(version.compromised_at is not None for version in rotation.versions.values())


def sending(p: Promises, replica: Replica, credential: str, method: str) -> Found:
    """P7: a replica whose decision was overtaken begins no call that cannot be undone."""
    held = p.committed.get((replica.name, credential))
    if held is None:
        return
    if not p.world.store.holds(held[2]):
        yield "P7", f"{replica.name} begins to {method} for {credential}, whose lease another has by now"
    rotation = p.world.store.rotation(held[0])
    if rotation is not None and rotation.revision != held[1]:
        yield "P7", f"{replica.name} begins to {method} for {credential}, which has moved since it was decided"


def minted(p: Promises, replica: Replica, key: Key) -> Found:
    """P5: nothing is minted while a key is left of a mint that nobody knows of."""
    world = p.world
    for orphan in world.keys.values():
        if orphan is key or orphan.credential != key.credential or not world.is_orphan(orphan):
            continue
        for node in world.authority.nodes.values():
            if node.entries().get(orphan.id) in ALIVE:
                yield "P5", f"{replica.name} mints {key}, and {orphan.id} is left at {node.name} of a lost mint"


def promoted(p: Promises, replica: Replica, region: Region) -> Found:
    """P1, P4, P8: what readers are given is accepted, known to do well where they had it before, and not compromised."""
    world = p.world
    key = world.by_value.get(region.value or "")
    rotation = world.store.live_of(region.credential) or world.store.latest_of(region.credential)
    if key is None or rotation is None:
        return
    if key.reported is not None:
        yield "P8", f"{region.name} is given {key}, which is compromised"
    everywhere = rotation.phase is Phase.OVERLAP and not emergency(rotation)
    for node in world.authority.nodes.values():
        lost = node.away or node.name in replica.cut or (node.name, key.id) in replica.unanswered
        passed_over = lost and not everywhere
        if passed_over and not accepts(node, key):
            # Clients may reach what keyturn cannot: until it is mended they are refused there, as is on record.
            p.excuse(node.name)
        if node.name in world.ill or passed_over or (node.name, key.id) in p.hands:
            continue
        if node.away or not accepts(node, key):
            yield "P1", f"{region.name} is given {key}, which {node.name} may refuse"
    if everywhere and key.serial == rotation.incoming and region.answered < world.timeline.now:
        yield from _baked(p, rotation, region)
        yield from _way_back(p, rotation)


def _baked(p: Promises, rotation: Rotation, region: Region) -> Found:
    index = rotation.targets.index(region.name)
    earlier = rotation.targets[: index - index % rotation.policy.wave_size]
    for name in earlier:
        since = _given(p, rotation, name)
        if p.known_since(since) < rotation.policy.bake.total_seconds() - SLACK:
            yield "P4", f"{region.name} is promoted although nobody has told how {name} does"


def _given(p: Promises, rotation: Rotation, region: str) -> float:
    """Since when readers of a region have had the version that is to survive."""
    key = p.world.key_of(rotation.credential, rotation.survivor)
    first = p.world.regions[rotation.credential][region].first
    return first.get(key.value, float("inf")) if key is not None else float("inf")


def at_authority(p: Promises, replica: Replica, method: str, key: Key) -> Found:
    """P2, P3, P8: what may be done to a key at verifiers."""
    if method in ("install", "enable") and key.reported is not None:
        yield "P8", f"{replica.name} has {key} accepted, which is compromised"
    if method == "disable":
        yield from _disabling(p, replica, key)
    if method == "revoke":
        yield from _revoking(p, replica, key)


def _revoking(p: Promises, replica: Replica, key: Key) -> Found:
    rotation = p.world.store.live_of(key.credential)
    if rotation is None or key.reported is not None or p.is_destroyed(key):
        return
    if p.world.is_orphan(key):
        return  # nobody has its value
    if key.serial in rotation.proven:
        return  # it lives again where a verifier came back, and is buried again
    if rotation.phase in RESTORABLE and not makes_room(p.world, rotation, key, emergency=emergency(rotation)):
        yield "P3", f"{replica.name} revokes {key} in {rotation.phase}"
    if key.serial == rotation.survivor:
        yield "P3", f"{replica.name} revokes {key}, which is to stay"
    for node in p.world.authority.nodes.values():
        tried = not (node.away or node.name in replica.cut or p.excused(node.name))
        if rotation.phase is Phase.ROLLBACK and tried and settled(node, key) is Acceptance.ACCEPTED:
            yield "P3", f"{replica.name} revokes {key}, which was not disabled first at {node.name}"


def _disabling(p: Promises, replica: Replica, key: Key) -> Found:
    """P2: nothing is disabled that readers get, or that somebody may still use."""
    world, now = p.world, p.world.timeline.now
    rotation = world.store.live_of(key.credential)
    if rotation is None:
        return
    regions = world.regions[key.credential].values()
    if key.reported is not None:
        mark = rotation.marks.get(key.serial or 0)
        grace = mark.grace.total_seconds() if mark is not None else 0.0
        promoted_at = max(region.promoted_at for region in regions)
        if key.id not in p.grace_over and now + SLACK < min(key.cut, promoted_at + grace):
            yield "P2", f"{key} is disabled before its grace is over"
        p.grace_over.add(key.id)
        return
    serving = [one.name for one in regions if one.value == key.value and one.name not in replica.cut]
    if makes_room(world, rotation, key, emergency=emergency(rotation)):
        if serving and (other := idle(world, rotation)):
            yield "P2", f"{key} makes room while {', '.join(serving)} gives it to readers, and {other} is in no use"
        return
    # On the way back a force stands in for a target that cannot be read.
    if serving and not (key.forced and rotation.phase is Phase.ROLLBACK):
        yield "P2", f"{key} is disabled while {', '.join(serving)} gives it to readers"
    if key.forced or not any(key.value in region.gave for region in regions):
        return
    back = rotation.phase is Phase.ROLLBACK
    if rotation.phase is not Phase.RETIRE and not back:
        yield "P2", f"{key} is disabled in {rotation.phase}"
    policy = rotation.policy
    needed = (max(policy.drain, policy.minimum_overlap) if back else policy.silence_floor).total_seconds()
    since = max(region.gave.get(key.value, 0.0) if back else _given(p, rotation, region.name) for region in regions)
    for client in world.clients:
        if not back and _gone(p, client):
            continue
        last = max(since, p.told_use.get((key.id, client.name), 0.0))
        if client.shape.credential == key.credential and p.known_since(last) < needed - SLACK:
            quiet = f"{max(0.0, p.known_since(last)):.0f} s of {needed:.0f} s"
            yield "P2", f"{key} is disabled although the silence of {client.name} is known for {quiet}"


def _gone(p: Promises, client: Client) -> bool:
    """Whether an operator has said that a client is gone, and no source has told otherwise."""
    said = p.dismissed.get(client.name)
    return said is not None and all(at <= said + SLACK for (_, name), at in p.told_use.items() if name == client.name)


def _vouched_for(p: Promises, client: Client, after: Rotation) -> bool:
    """Whether its owner has said that a client has moved, and no source has told of it on what it was to leave since."""
    said = p.acknowledged.get((client.name, after.incoming))
    left = [p.world.key_of(after.credential, serial) for serial in after.outgoing]
    return said is not None and all(
        p.told_use.get((key.id, client.name), said) <= said + SLACK for key in left if key is not None
    )


def removing(p: Promises, replica: Replica, region: Region, token: str) -> Found:
    """P3: the way back is kept until the point of no return."""
    rotation = p.world.store.live_of(region.credential)
    if rotation is not None and rotation.phase in RESTORABLE and token == copy_token(rotation, rotation.outgoing[0]):
        yield "P3", f"{replica.name} removes the copy of v{rotation.outgoing[0]} at {region.name} in {rotation.phase}"


def moved(p: Promises, replica: Replica, before: Rotation, after: Rotation) -> Found:
    """P3, P4, P5, P11: a phase is left when what it was for is true, and known."""
    policy = after.policy
    if not emergency(after):
        match before.phase, after.phase:
            case Phase.OVERLAP, Phase.MONITOR:
                yield from _watched(p, after, policy.minimum_overlap.total_seconds())
            case Phase.MONITOR, Phase.RETIRE if not after.forced:
                yield from _moved_on(p, after)
            case Phase.RETIRE, Phase.DESTROY:
                yield from _soaked(p, before, after)
    if after.phase in (Phase.COMPLETED, Phase.ROLLED_BACK):
        yield from ends.clean(p, replica, after)


def _way_back(p: Promises, after: Rotation) -> Found:
    if after.outgoing[0] in after.waived:
        return
    for name, region in p.world.regions[after.credential].items():
        token = copy_token(after, after.outgoing[0])
        if token not in region.place.copies() and token not in region.robbed:
            yield "P3", f"readers are given another version, and {name} keeps no copy of v{after.outgoing[0]}"


def _watched(p: Promises, after: Rotation, span: float) -> Found:
    for name in after.targets:
        if p.known_since(_given(p, after, name)) < span - SLACK:
            yield "P4", f"{after.credential} goes on although nobody has told of {span:.0f} s after {name} was promoted"


def _moved_on(p: Promises, after: Rotation) -> Found:
    key = p.world.key_of(after.credential, after.incoming)
    for client in p.world.clients:
        use = (key.id if key is not None else "", client.name)
        refused, told = p.told_refusal.get(use, 0.0), p.told_success.get(use, 0.0)
        gone = p.known_since(refused) >= after.policy.silence_floor.total_seconds() - SLACK
        gone = gone or _gone(p, client) or _vouched_for(p, client, after)
        if client.shape.credential == after.credential and refused > told and not gone:
            yield "P2", f"v{after.outgoing[0]} is taken away although {client.name} has failed with {key} since"


def _soaked(p: Promises, before: Rotation, after: Rotation) -> Found:
    for serial in after.outgoing:
        key = p.world.key_of(after.credential, serial)
        disabled = after.disabled_at.get(serial)
        if key is None or disabled is None or serial in before.revoked or serial not in before.served:
            continue
        for node in p.world.authority.nodes.values():
            if not node.away and not p.excused(node.name) and settled(node, key) is Acceptance.ACCEPTED:
                yield "P2", f"{key} is destroyed although {node.name} still accepts it"
        since, soak = seconds_of(disabled), after.policy.soak.total_seconds()
        # A force stands in for silence; whoever is refused then brings the version back all the same, unless it was final.
        force = after.forced.get(serial)
        for client in (*(one.name for one in p.world.clients), THIEF) if force is None or not force.final else ():
            if since + SLACK < p.told_of_refusal(key, client) < since + soak - SLACK:
                yield "P2", f"{key} is destroyed although {client} was refused with it after it was disabled"
        if p.known_since(since) < soak - SLACK:
            yield "P4", f"{key} is destroyed although nobody has told of the whole soak"


def refused(p: Promises, use: Use) -> Found:
    """P1, P2: whoever reads and connects as the policy says is never refused; the exceptions are on record, or a harm that
    a late call has done and that is being undone."""
    world, key = p.world, use.key
    age = world.timeline.now - use.fetched
    region = world.regions[key.credential][use.client.shape.target]
    rotation = world.store.live_of(key.credential)
    # What has failed may have gone to make room; whether it might is asked when it goes.
    failed = rotation is not None and key.serial in rotation.failed
    told = key.reported is not None or key.forced or key.bad is not None or key.serial is None or failed
    ill = use.verifier in world.ill or (use.verifier, key.id) in p.hands or p.excused(use.verifier)
    ill = ill or p.said_to_differ(use.verifier, key.credential)
    by_hand = region.touched or world.timeline.now - region.answered < ANSWERED
    if age <= FRESH and not (told or ill or by_hand or p.after_late):
        yield "P2", f"{use.client.name} is refused at {use.verifier} with {key}, which it read {age:.0f} s ago"
