"""The row that sees to it that the authority takes one more key."""

from __future__ import annotations

from keyturn.domain.effects import EffectKind
from keyturn.domain.observations import Entry, ServingKind
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import Outcome, effect
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import hold, wait
from keyturn.domain.withdraw import accepting, grace


def make_room(s: Situation) -> Outcome:
    """The authority takes one more key, besides those that it has lost and must have again. Where it is full, what nobody
    can use any more goes first: revoked elsewhere, or compromised, its time over and given to nobody; then one that failed,
    or where readers have that, one that was found silent, is disabled and given to nobody; then one that no target serves,
    then the compromised one on the fewest targets when its grace is over; nothing else is taken for it. What is adopted is
    there already."""
    there = not _entries(s, s.new) <= {Entry.ABSENT, Entry.UNKNOWN}
    lost = [v for v in s.rotation.outgoing if s.kept(v) and s.minted(v) and _to_come_back(s, v)]
    if there or s.rotation.adopting is not None or s.seen.room is None or s.seen.room > len(lost):
        return None
    occupying = [serial for serial in s.rotation.outgoing if s.minted(serial) and _occupies(s, serial)]
    counts = {serial: sum(not _known_unserved(s, t, serial) for t in s.rotation.targets) for serial in occupying}
    over = [v for v in occupying if s.marked(v) and grace(s, v) is None]
    dead = [v for v in occupying if v in s.rotation.revoked and not accepting(s, v)]
    useless = dead + [v for v in over if counts[v] == 0]
    failed = [serial for serial in occupying if serial in s.rotation.failed]
    idle = [v for v in occupying if counts[v] == 0 and v in s.rotation.disabled_at and not accepting(s, v)]
    unserved = [serial for serial in occupying if counts[serial] == 0 and (s.hurried or not s.kept(serial))]
    instead = idle if failed and all(counts[serial] for serial in failed) else []
    for candidates in (useless, instead, failed, unserved, over):
        if candidates:
            victim = min(candidates, key=lambda serial: counts[serial])
            if still := accepting(s, victim):
                return (effect(s, EffectKind.DISABLE, victim, verifiers=still),)
            left = tuple(v for v in sorted(s.seen.verifiers) if s.entry(v, victim) in (Entry.ACTIVE, Entry.DISABLED))
            return (effect(s, EffectKind.REVOKE, victim, verifiers=left),)
    until = min((cut for v in occupying if (cut := s.cut(v)) is not None), default=None)
    if until is not None:
        return wait(Reason.NO_ROOM, "the compromised version goes when its grace is over", until=until)
    full = f"has room for v{lost[0]} alone, which it has lost" if s.seen.room > 0 else "is full"
    return hold(Reason.NO_ROOM, f"the authority {full}: remove a key there that nobody needs")


def _to_come_back(s: Situation, serial: int) -> bool:
    """Whether the authority has lost a version, and has not refused for good to have it again."""
    return _entries(s, serial) == {Entry.ABSENT} and not s.refused_for_good(EffectKind.ENABLE, serial)


def _entries(s: Situation, serial: int) -> set[Entry]:
    return {s.entry(verifier, serial) for verifier in s.seen.verifiers}


def _occupies(s: Situation, serial: int) -> bool:
    return not _entries(s, serial).isdisjoint({Entry.ACTIVE, Entry.DISABLED})


def _known_unserved(s: Situation, target: str, serial: int) -> bool:
    given_again = s.to_reassert(target) and s.called_for(target) == serial
    return s.serving(target).kind is not ServingKind.UNKNOWN and not s.serves(target, serial) and not given_again
