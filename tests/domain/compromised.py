"""What must hold for versions that were reported compromised, held against the world's truth."""

from __future__ import annotations

from datetime import datetime

from tests.domain.places import Verifier
from tests.domain.world import World

from keyturn.domain.effects import EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry

GIVING = frozenset({EffectKind.ENABLE, EffectKind.INSTALL, EffectKind.PROMOTE})


def emergency(rotation: Rotation) -> bool:
    """Whether a version that readers had is compromised."""
    return any(rotation.versions[serial].compromised_at is not None for serial in rotation.outgoing)


def cut_off(rotation: Rotation, serial: int, now: datetime) -> bool:
    """Whether a version is compromised and its time is over."""
    mark = rotation.marks.get(serial)
    return mark is not None and mark.cut_at <= now


def never_given_again(before: Rotation, decision: Decision) -> None:
    """P8: no decision enables, installs or promotes what was reported compromised, and no successor forgets it."""
    marked = {serial for serial, version in before.versions.items() if version.compromised_at is not None}
    given = {one.serial for one in decision.effects if one.kind in GIVING} & marked
    assert not given, f"P8: {given} of {before.phase}"
    kept = decision.successor or decision.rotation
    lost = [v for v in marked & set(kept.versions) if kept.versions[v].compromised_at is None or v not in kept.marks]
    assert not lost, f"P8: the mark of {lost} is gone"


def no_longer_than_its_grace(before: Rotation, after: Rotation) -> None:
    """Nothing moves the time of a cut to later, or beyond the cap."""
    for serial, mark in after.marks.items():
        assert mark.cut_at <= mark.at + after.policy.grace_cap, f"v{serial} is accepted beyond the grace's cap"
        earlier = before.marks.get(serial)
        assert earlier is None or mark.cut_at <= earlier.cut_at, f"the grace of v{serial} began anew"


def cut_in_time(world: World, decision: Decision) -> None:
    """A compromised version whose time is over is being disabled wherever it is accepted, whatever else stands."""
    after = decision.rotation
    if not after.live or EffectKind.DISABLE in world.denied:
        return
    for serial, version in after.versions.items():
        if version.key_id is None or not cut_off(after, serial, world.now) or _tried_again_later(world, serial):
            continue
        active = [v for v in world.verifiers.values() if v.table.get(serial) is Entry.ACTIVE]
        accepting = {v.name for v in active if _told(world, v, serial)}
        calls = [one for one in decision.effects if one.serial == serial]
        cut = {name for one in calls if one.kind in (EffectKind.DISABLE, EffectKind.REVOKE) for name in one.verifiers}
        assert accepting <= cut, f"v{serial} is compromised, its time is over, and {accepting - cut} accepts it"


def _told(world: World, verifier: Verifier, serial: int) -> bool:
    """Whether anything tells that a verifier accepts a version: its listing, or that it is tried."""
    tried = world.readable(serial) and verifier.always_accepts(serial, world.now)
    return not verifier.away and (tried or not verifier.unlisted)


def _tried_again_later(world: World, serial: int) -> bool:
    tries = [line.seen for line in world.journal.values() if line.kind is EffectKind.DISABLE]
    return any(one.serial == serial and one.retry_at is not None and one.retry_at > world.now for one in tries)


def marked_before_the_last_trace_goes(world: World, decision: Decision) -> None:
    """P8: no copy is removed where it does not stand beside the secret yet which versions were compromised."""
    after = decision.rotation
    marked = {serial for serial in after.marks if after.versions[serial].key_id is not None}
    for effect in decision.effects:
        if effect.kind is EffectKind.REMOVE and effect.target is not None:
            unmarked = marked - world.targets[effect.target].marks
            assert not unmarked, f"P8: a copy is removed at {effect.target}, where nothing says that {unmarked} leaked"


def marked_at_once(world: World, before: Rotation, decision: Decision) -> None:
    """P8: with the next decision after a report it is being written beside the secret, whatever stands."""
    if not decision.rotation.live or EffectKind.MARK in world.denied:
        return
    tries = [line.seen for line in world.journal.values() if line.kind is EffectKind.MARK]
    later = any(one.retry_at is not None and one.retry_at > world.now for one in tries)
    written = {(e.target, e.serial) for e in decision.effects if e.kind is EffectKind.MARK}
    for serial in before.marks if not later else ():
        for target in world.targets.values() if before.versions[serial].key_id is not None else ():
            there = target.away or serial in target.marks or (target.name, serial) in written
            assert there, f"P8: nothing is written at {target.name} of v{serial}, which leaked"


def written_beside(world: World, after: Rotation) -> None:
    """P8: where a rotation ends, it stands beside the secret which of its versions were compromised."""
    marked = {serial for serial in after.marks if after.versions[serial].key_id is not None}
    for target in world.targets.values():
        assert marked <= target.marks, f"P8: nothing at {target.name} says that {marked - target.marks} leaked"
