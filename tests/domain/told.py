"""What a person is told of the world is so (promise P9): what is only out of sight is neither lost nor wrong nor in order
(promise P4), and whom a word names is the one it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.domain.compromised import emergency
from tests.domain.world import World

from keyturn.domain.effects import EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Verdict


def told_as_it_is(world: World, before: Rotation, decision: Decision) -> None:
    """The verdict's word, held against the world's truth."""
    verdict = decision.verdict
    said = TRUE_OF.get(verdict.reason)
    stood = (before.halted, before.hold if before.hold is not None and before.hold.latched else None)
    told_before = any(one is not None and one.reason is verdict.reason for one in stood)
    if said is not None and not told_before:
        # What a decision does about its own word is no part of what it was given for.
        judged = decision.rotation if decision.rotation.phase is before.phase else before
        wrong = said(world, judged, verdict)
        assert wrong is None, f"P9: {verdict.reason} is told ({verdict.detail}), and {wrong}"
    _left_out_by_name(world, before, decision)
    _not_forgotten_out_of_sight(world, before, decision)


def _named(verdict: Verdict, kind: str) -> list[str]:
    found = verdict.evidence.get(kind, [])
    assert isinstance(found, Iterable)
    return [str(name) for name in found]


def _cannot_read(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    names = _named(verdict, "targets")
    seen = [name for name in names if not world.targets[name].away]
    if not names:
        return "no target is named"
    if seen:
        return f"{seen} can be read"
    owed = any(target not in rotation.promoted for target, _ in rotation.promised)
    alive = any(serial != rotation.survivor and serial in world.listed() for serial in rotation.versions)
    if rotation.restoring is not None and rotation.forced and alive and not owed:
        return "a force stands in for what cannot be read"
    return None


def _cannot_ask(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    names = _named(verdict, "verifiers")
    there = [v for name in names if (v := world.verifiers.get(name)) is not None]
    answering = [v.name for v in there if not (v.away or v.unlisted)]
    if not names and world.verifiers:
        return "no verifier is named"
    return f"{answering} answer" if answering else None


def _not_yet(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    """Whoever is named refuses something, or may, or was not asked since nobody could try it."""
    versions = [serial for serial in rotation.versions if serial in world.keys]
    lost = any(not world.readable(serial) for serial in versions)
    there = [v for name in _named(verdict, "verifiers") if (v := world.verifiers.get(name)) is not None]
    fine = [v.name for v in there if all(v.always_accepts(serial, world.now) for serial in versions)]
    return f"{fine} accept everything" if fine and not lost else None


def _no_copy(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    old = rotation.outgoing[0]
    names = _named(verdict, "targets")
    kept = [name for name in names if old in world.targets[name].copies]
    return _unseen(world, names) or (f"{kept} keep v{old}" if kept else None)


def _serves_another(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    return _unseen(world, _named(verdict, "targets"))


def _foreign(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    """The target that is named was seen to serve what is not called for."""
    return _unseen(world, [name for name in world.targets if name in verdict.detail])


def _unseen(world: World, names: Sequence[str]) -> str | None:
    """Of targets that are said to have been looked at, and of which there is one at least."""
    unseen = [name for name in names if world.targets[name].away]
    return f"{unseen or 'no target'} cannot be read" if unseen or not names else None


def _full(world: World, rotation: Rotation, _verdict: Verdict) -> str | None:
    # What it has lost of what must be accepted has the last room.
    wanted = world.listed() | {serial for serial in rotation.outgoing if rotation.versions[serial].key_id is not None}
    return None if world.room is not None and len(wanted) >= world.room else "the authority has room"


def _fails_alone(world: World, rotation: Rotation, verdict: Verdict) -> str | None:
    """Going back helps nobody at a verifier that accepts neither version."""
    both = (rotation.outgoing[0], rotation.incoming)
    known = [v for v in world.verifiers.values() if not v.away and all(world.readable(serial) for serial in both)]
    neither = [v.name for v in known if not any(v.always_accepts(serial, world.now) for serial in both)]
    retired = both[0] in rotation.disabled_at
    return f"{neither} accept neither version" if neither and not retired else None


TRUE_OF: Mapping[Reason, Callable[[World, Rotation, Verdict], str | None]] = {
    Reason.TARGET_UNKNOWN: _cannot_read,
    Reason.VERIFIER_UNREACHABLE: _cannot_ask,
    Reason.NOT_ACCEPTED_YET: _not_yet,
    Reason.ROLLBACK_VALUE_LOST: _no_copy,
    Reason.SURVIVOR_NOT_SERVED: _serves_another,
    Reason.TARGET_FOREIGN: _foreign,
    Reason.TARGET_MISSING: _foreign,
    Reason.NO_ROOM: _full,
    Reason.NEW_VERSION_FAILS: _fails_alone,
}
"""By what is told: what is not so about it, if anything."""


def _left_out_by_name(world: World, before: Rotation, decision: Decision) -> None:
    """An emergency goes on without a verifier that cannot be reached, and says which."""
    if (before.phase, decision.rotation.phase) != (Phase.INTRODUCE, Phase.OVERLAP):
        return
    unnamed = [v.name for v in world.verifiers.values() if v.away and v.name not in decision.verdict.detail]
    assert not unnamed, f"P9: {unnamed} are left out, and not named"


def _not_forgotten_out_of_sight(world: World, before: Rotation, decision: Decision) -> None:
    """Since when readers of a target get a version is not counted anew because nobody could look; and nobody makes a new
    one before it is seen at every target that nothing is in its way there."""
    after = decision.rotation
    away = [name for name, target in world.targets.items() if target.away]
    for name in away if after.phase is before.phase else ():
        assert after.promoted.get(name) == before.promoted.get(name), f"P4: {name} is out of sight, and counted anew"
    mints = [effect for effect in decision.effects if effect.kind is EffectKind.MINT and effect.expected is None]
    if mints and not emergency(after):
        assert not away, f"P4: a version is made while {away} cannot be read"
    unseen = [effect.target for effect in mints if effect.target in away]
    assert not unseen or len(away) == len(world.targets), f"P4: made at {unseen}, which cannot be read"
    if mints and world.room is not None:
        there = any(after.incoming in verifier.table for verifier in world.verifiers.values())
        assert there or len(world.listed()) < world.room, "a version is made, and there is no room for it"
