"""Which cause is heard, where several speak at once (MACHINE.md, "Order of the guards"): what undoes comes before what
waits, what pages before what stands in silence, and each step names the cause that it is taken for (promise P9)."""

from __future__ import annotations

from tests.domain.compromised import emergency
from tests.domain.places import Target
from tests.domain.world import World

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import PERMANENT
from keyturn.domain.guards import BEFORE_DESTROY, WATCHED
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason

LEFT = (Phase.ROLLBACK, Phase.SUPERSEDED)
PASSING = frozenset(
    {
        *(Reason.AUTHORITY_ILL, Reason.FAILURES_SPREAD, Reason.OBSTACLE, Reason.ROLLBACK_VALUE_LOST),
        *(Reason.AUTHORITY_CHANGED, Reason.PAUSED),
    }
)
"""What holds while it lasts, and is asked after another's hand."""


def heard_in_order(world: World, before: Rotation, decision: Decision) -> None:
    """The cause that a decision names is none that comes after another which speaks too."""
    if not _undone(world, before, decision):
        _stands_for_the_first(world, before, decision)
        _given_back(world, before, decision)
    _seen_to_be_so(world, before.incoming, decision)


def _seen_to_be_so(world: World, new: int, decision: Decision) -> None:
    """What cannot be seen is not lost, and what no control speaks of is no fault of the new version (promise P4)."""
    reason, finding = decision.verdict.reason, world.finding
    revoked = any(verifier.table.get(new) is Entry.REVOKED for verifier in world.verifiers.values())
    if reason is Reason.UNPROVEN or (reason is Reason.NEW_VALUE_LOST and not revoked):
        away = [target.name for target in world.targets.values() if target.away]
        assert not away, f"P4: {reason}, while {away} cannot be read"
    if reason is Reason.NEW_VERSION_FAILS and finding is not None and not finding.control:
        away = [verifier.name for verifier in world.verifiers.values() if verifier.away]
        assert world.verifiers, "P4: the new version is given up, and nobody was asked about it"
        assert not away, f"P4: the new version is given up while {away} cannot be asked"


def _given_back(world: World, before: Rotation, decision: Decision) -> None:
    """What an operator wants overwritten is overwritten with the next decision, whatever else stands, unless the target
    refused it for good and nobody resumed."""
    new, entry = before.incoming, f"{before.id}/{before.entry}-"
    promotes = {name: line.seen for name, line in world.journal.items() if line.kind is EffectKind.PROMOTE}
    tries = [seen for name, seen in promotes.items() if name.startswith(entry)]
    later = any((one.retry_at is not None and one.retry_at > world.now) or one.failure in PERMANENT for one in tries)
    if before.phase not in (Phase.MONITOR, Phase.RETIRE) or later:
        return
    accepted = all(v.always_accepts(new, world.now) and not v.away for v in world.verifiers.values())
    for name, found in before.reasserted.items() if accepted and world.verifiers else ():
        target = world.targets[name]
        if (target.id or "") == found and new in target.copies and not target.away and target.serial != new:
            promoted = {effect.target for effect in decision.effects if effect.kind is EffectKind.PROMOTE}
            assert name in promoted, f"readers of {name} are not given v{new} again, as an operator wants"


def _undone(world: World, before: Rotation, decision: Decision) -> bool:
    """Marks > an operator's other choice > their rollback > a version that fails; whether any of them speaks."""
    after, reason = decision.rotation, decision.verdict.reason
    if before.survivor in before.marks:
        if before.restoring is None and _whole(world, before, before.outgoing[0]):
            assert (after.phase, reason) == (Phase.ROLLBACK, Reason.COMPROMISED), f"marks first, not {reason}"
        return True
    if before.accepted is not None or before.abandoned is not None:
        chosen = (Reason.FOREIGN_ACCEPTED, Reason.ABANDONED)
        assert after.phase is Phase.SUPERSEDED, f"what an operator gave up goes on to {after.phase}"
        assert reason in chosen, f"an operator gave it up, and {reason} is told"
        return True
    if before.rollback_asked is not None and before.phase in BEFORE_DESTROY:
        assert reason is Reason.OPERATOR_ROLLBACK, f"an operator's rollback, and {reason} is told"
        _goes_back(world, before, decision)
        return True
    if _fails(world, before):
        left = after.phase in LEFT or after.halted is not None
        assert left, f"v{before.incoming} fails, and {before.phase} leads to {after.phase} ({reason})"
        _goes_back(world, before, decision)
        return True
    return after.phase in LEFT and before.phase is not Phase.ROLLBACK


def _goes_back(world: World, before: Rotation, decision: Decision) -> None:
    """What is out of sight is not lost: the way leads back to the old version, and not on to another (promise P3)."""
    old = before.outgoing[0]
    entries = [verifier.table.get(old) for verifier in world.verifiers.values()]
    gone = {*before.marks, *before.revoked, *before.waived, *before.failed, *world.gone}
    sight = any(target.away for target in world.targets.values()) or world.readable(old)
    if old not in gone and sight and Entry.REVOKED not in entries:
        assert decision.rotation.phase is Phase.ROLLBACK, f"P3: v{old} can come back, and another takes over"


def _whole(world: World, before: Rotation, serial: int) -> bool:
    """Whether nothing at all keeps a version from being given to readers again."""
    entries = [verifier.table.get(serial) for verifier in world.verifiers.values()]
    lost = serial in {*before.marks, *before.revoked, *before.waived, *before.failed} or not world.readable(serial)
    return before.phase in BEFORE_DESTROY and not lost and Entry.REVOKED not in entries


def _fails(world: World, before: Rotation) -> bool:
    """Whether the new version fails where the old one does well, by the detector and by our own probes."""
    found = world.finding
    if found is None or before.phase not in WATCHED or found.verdict == "authority_ill" or not found.control:
        return False
    both = (before.outgoing[0], before.incoming)
    return all(all(v.always_accepts(serial, world.now) for serial in both) for v in world.verifiers.values())


def _stands_for_the_first(world: World, before: Rotation, decision: Decision) -> None:
    """Retreat > halt > what an operator must end > retreats > a hand > doubt > pause."""
    after, reason, hold = decision.rotation, decision.verdict.reason, before.hold
    if before.phase in (Phase.ROLLBACK, Phase.DESTROY):
        return
    if before.phase is Phase.RETIRE and after.phase is not Phase.MONITOR:
        refused = _refused(world, before)
        assert not refused, f"{refused} were refused what is kept, and {reason} is told"
    if before.halted is not None or after.halted is not None:
        return
    if hold is not None and hold.latched and after.phase is before.phase:
        assert after.hold is not None, f"{hold.reason} ended by itself"
        assert after.hold.reason is hold.reason, f"{hold.reason} gave way to {after.hold.reason}"
        return
    many = before.phase is Phase.MONITOR and before.retreats > before.policy.maximum_retreats
    assert not many or reason is Reason.TOO_MANY_RETREATS, f"{before.retreats} retreats, and {reason} is told"
    if many or emergency(before) or before.marks:
        return
    if reason in PASSING:
        strange = [t.name for t in world.targets.values() if t.serial is None and not t.away and _unanswered(before, t)]
        assert not strange, f"{strange} serve another's value, and {reason} is told"
    if reason is Reason.PAUSED:
        assert world.finding is None or before.phase not in WATCHED, "a pause silences what the detector finds"
        old = before.outgoing[0]
        kept = before.phase not in WATCHED or old in {*before.waived, *before.revoked}
        lost = [t.name for t in world.targets.values() if not t.away and old not in t.copies]
        assert kept or not lost, f"a pause silences that {lost} keep nothing to go back to"
        changed = _changed(world, before) if before.phase in WATCHED else []
        assert not changed, f"a pause silences that {changed} know v{before.incoming} no more"


def _unanswered(before: Rotation, target: Target) -> bool:
    """Whether no operator has said yet what becomes of what a hand left there."""
    found = target.id or ""
    adopting = before.adopting is not None and (before.adopting.target, before.adopting.id) == (target.name, found)
    return before.reasserted.get(target.name) != found and not adopting


def _changed(world: World, before: Rotation) -> list[str]:
    """Verifiers that had agreed, and from which a hand has taken the new version: no call of ours leaves no trace."""
    there = [world.verifiers[name] for name in before.up if name in world.verifiers]
    return [v.name for v in there if not (v.away or v.unlisted) and before.incoming not in v.table]


def _refused(world: World, before: Rotation) -> list[str]:
    """Who was refused, since it was disabled, with a version that is kept for those who still use it."""
    found = []
    for serial in set(before.outgoing) & before.served - {*before.marks, *before.revoked}:
        force = before.forced.get(serial)
        since = before.disabled_at.get(serial, before.soak.at if before.soak is not None else None)
        if since is not None and not (force is not None and force.final):
            found += [c.name for c in world.clients.values() if c.last_refusal.get(serial, since) > since]
    return found
