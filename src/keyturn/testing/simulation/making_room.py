"""What may go before its time, since the authority takes no further key until another one is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World


def makes_room(world: World, rotation: Rotation, key: Key, *, emergency: bool) -> bool:
    """Whether a key goes for one that is to be minted: it has failed, or is idle beside one that has; or it was to be
    revoked before and is accepted nowhere, whoever gives it to readers again; or no reader gets it, and it was never given
    to any, or was to be revoked before, or it is an emergency. What is adopted is there already, and needs no room."""
    room = world.authority.room()
    if (
        rotation.phase is not Phase.INTRODUCE
        or rotation.adopting is not None
        or room is None
        or room > _lost(world, rotation)
    ):
        return False
    regions = world.regions[key.credential].values()
    unserved = not any(region.value == key.value for region in regions)
    given = any(key.value in region.gave for region in regions)
    # One that a hand made has its serial from keyturn.
    failed = any(
        version.serial in rotation.failed for version in rotation.versions.values() if version.key_id == key.id
    )
    instead = bool(rotation.failed) and idle(world, rotation) is key
    late = key.serial in rotation.revoked
    dead = late and all(node.entries().get(key.id) is not Entry.ACTIVE for node in world.authority.nodes.values())
    return failed or instead or dead or (unserved and (emergency or not given or late))


def _lost(world: World, rotation: Rotation) -> int:
    """How many outgoing versions the authority has lost: they must have room again, too."""
    keys = [world.key_of(rotation.credential, serial) for serial in rotation.outgoing]
    known = {key_id for node in world.authority.nodes.values() for key_id in node.entries()}
    return sum(key is not None and key.id not in known for key in keys)


def idle(world: World, rotation: Rotation) -> Key | None:
    """An outgoing version that takes room at the authority although no reader gets it and no verifier accepts it. While a
    verifier is away nobody can tell."""
    if any(node.away for node in world.authority.nodes.values()):
        return None
    for serial in rotation.outgoing:
        key = world.key_of(rotation.credential, serial)
        if key is None or any(region.value == key.value for region in world.regions[key.credential].values()):
            continue
        entries = [node.entries().get(key.id) for node in world.authority.nodes.values()]
        if Entry.DISABLED in entries and Entry.ACTIVE not in entries:
            return key
    return None
