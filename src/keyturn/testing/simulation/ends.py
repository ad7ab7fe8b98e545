"""What is left when a rotation ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.truth import ALIVE, accepts, ever_accepts

if TYPE_CHECKING:
    from keyturn.testing.simulation.promises import Promises

Found = Iterator[tuple[str, str]]


def clean(p: Promises, replica: Replica, after: Rotation) -> Found:
    """An end leaves one accepted, served version on each target, and nothing else of ours."""
    world = p.world
    survivor = world.key_of(after.credential, after.survivor)
    if survivor is None:
        yield "P5", f"{after.credential} ends with a version that nobody made"
        return
    if survivor.reported is not None:
        yield "P8", f"{after.credential} ends with {survivor}, which is compromised"
    asked = p.asked_back.get(after.id) if after.phase is Phase.ROLLED_BACK else None
    if asked is not None and asked is not survivor and asked.reported is None:
        yield "P3", f"{after.credential} ends with {survivor}, and {asked} was to come back"
    for name, region in world.regions[after.credential].items():
        if region.value != survivor.value:
            yield "P1", f"{after.phase}: {name} gives {world.named(region.value)} to readers, not {survivor}"
        if left := sorted(region.place.copies()):
            yield "P5", f"{after.phase}: copies are left at {name}: {', '.join(left)}"
    for node in world.authority.nodes.values():
        if node.away or node.name in replica.cut or p.excused(node.name):
            continue
        if not accepts(node, survivor) and not (node.name in world.ill or (node.name, survivor.id) in p.hands):
            yield "P1", f"{after.phase}: {node.name} may refuse {survivor}"
        for serial in after.versions:
            key = world.key_of(after.credential, serial)
            if key is None or key is survivor:
                continue
            # Of a lost value that a person has signed for, the listing is the evidence, and it knows no old connections.
            alive = accepts if serial in after.waived else ever_accepts
            # So it is of one that was proven dead, whose copies are gone, when a verifier comes back from before that.
            buried_again = serial in after.proven and node.entries().get(key.id) is Entry.REVOKED
            if alive(node, key) and not buried_again:
                yield "P11", f"{after.phase}: {node.name} accepts {key}"
            if node.entries().get(key.id) in ALIVE:
                yield "P5", f"{after.phase}: {key} is not revoked at {node.name}"


def dead(p: Promises, after: Rotation) -> Found:
    """P11: what was revoked was tried since, and refused, on every verifier that was there all the time. Of a lost mint's
    key, which is no version, nobody has the value."""
    world = p.world
    left = [one for one in after.versions.values() if one.serial != after.survivor and one.serial not in after.waived]
    for key in [world.keys[version.key_id] for version in left if version.key_id in world.keys]:
        revoked = p.revoked_at.get(key.id, -1.0)
        there = [name for name in world.authority.nodes if p.joined.get(name, -1.0) < revoked]
        for name in sorted(there):
            if (name, key.id) not in p.tried_dead:
                yield "P11", f"{after.phase}: nobody has seen {name} refuse {key} since it was revoked"
