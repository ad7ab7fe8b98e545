"""What the daemon has to do, beside what it must not: leave a version that fails, call a person for what only a person can
mend, and come to an end. Each finding is one line, and the first word names the promise."""

from __future__ import annotations

from collections.abc import Iterator

from tests.explorer.looking import room
from tests.explorer.promises import RESTORABLE, is_cut, makes_room, named
from tests.explorer.sequence import kept
from tests.explorer.state import FOREIGN, ILL, MISSING, State

from keyturn.domain.effects import EffectKind
from keyturn.domain.guards import WATCHED
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason

LEFT = frozenset({Phase.ROLLBACK, Phase.SUPERSEDED})
HANDS = frozenset({Reason.TARGET_FOREIGN, Reason.TARGET_MISSING})
SERVED = frozenset({Phase.MONITOR, Phase.RETIRE, Phase.DESTROY})
"""Phases in which readers of every target get the new version."""


def left_undone(state: State, decision: Decision) -> Iterator[str]:
    """What a decision does not heed."""
    yield from _heeded(state, decision)
    yield from _stands(state.rotation, decision.rotation)
    yield from _latches(decision.rotation)
    yield from _way_back(state, decision.rotation)


def _heeded(state: State, decision: Decision) -> Iterator[str]:
    """The detector's word is heeded at once: a version that fails where the old one does well is left; while all fail
    alike no reader gets another version, and nobody is refused."""
    before, after = state.rotation, decision.rotation
    if state.accused is None or before.phase not in WATCHED:
        return
    neither = any(not (v.away or v.accepts(before.outgoing[0]) or v.accepts(before.incoming)) for v in state.verifiers)
    if state.accused == before.incoming and not (neither or after.phase in LEFT or after.halted):
        yield f"FAILS: v{before.incoming} fails, and {before.phase} leads to {after.phase}"
    if state.accused == ILL and after.phase not in {before.phase, Phase.MONITOR, *LEFT}:
        yield f"ILL: every version fails, and {before.phase} leads to {after.phase}"
    if state.accused == ILL and not (state.marked or before.reasserted):
        kinds = {effect.kind for effect in decision.effects} & {EffectKind.PROMOTE, EffectKind.DISABLE}
        if kinds and after.phase is before.phase:
            yield f"ILL: every version fails, and {before.phase} decides {sorted(kinds)}"


def _stands(before: Rotation, after: Rotation) -> Iterator[str]:
    """What stands until a person ends it is not ended otherwise, but by a way back, or another rotation."""
    given_up = before.accepted is not None or before.abandoned is not None
    if given_up and before.survivor not in before.marks and after.phase is not Phase.SUPERSEDED:
        yield f"GIVEN UP: {before.phase} goes on to {after.phase}"
    if after.phase in LEFT - {before.phase}:
        return
    if before.halted is not None and after.halted is None:
        yield f"HALTED: {before.phase} goes on to {after.phase} by itself"
    latched = before.hold is not None and before.hold.latched and before.phase is not Phase.ROLLBACK
    retreats = (before.phase, after.phase) == (Phase.RETIRE, Phase.MONITOR)
    if latched and not retreats and not after.halted and (after.hold is None or after.phase is not before.phase):
        yield f"HELD: {before.phase} goes on to {after.phase} by itself"
    onwards = (before.phase, after.phase) == (Phase.MONITOR, Phase.RETIRE)
    if onwards and before.retreats > before.policy.maximum_retreats:
        yield f"RETREATS: after {before.retreats} of them {before.phase} goes on by itself"


def _latches(after: Rotation) -> Iterator[str]:
    """Another's hand is looked at by a person, also when it is withdrawn."""
    hold = after.hold if after.live and not after.marks and after.phase is not Phase.ROLLBACK else None
    if hold is not None and hold.reason in HANDS and not hold.latched:
        yield f"HANDS: {hold.reason} holds {after.phase} without latching"


def _way_back(state: State, after: Rotation) -> Iterator[str]:
    """Nothing goes on while a target keeps nothing to go back to, but by an operator's word."""
    before, old = state.rotation, state.rotation.outgoing[0]
    goes_back = after.phase in LEFT or (before.phase, after.phase) == (Phase.RETIRE, Phase.MONITOR)
    if before.phase not in WATCHED or after.phase is before.phase or goes_back:
        return
    if old not in state.marked | before.waived.keys() | before.revoked:
        for target in state.targets:
            if not target.away and old not in target.copies:
                yield f"P3: {before.phase} goes on to {after.phase} while {target.name} keeps no copy of v{old}"


def at_rest(state: State, decision: Decision) -> Iterator[str]:
    """Where the daemon has nothing more to do by itself: something is in the way, what is compromised is cut, nobody
    stays refused, and an end is as it was left."""
    rotation = state.rotation
    if state.denied is not None:
        return
    if rotation.live and not (rotation.halted or rotation.pause or _in_the_way(state)):
        standing = rotation.hold
        if standing is None or not standing.latched:
            why = standing.reason if standing is not None else decision.verdict.reason
            yield f"P10: {rotation.phase} stands still ({why}), and nothing is in the way"
    for serial in state.marked & state.keys:
        for verifier in state.verifiers:
            if is_cut(state, serial) and not verifier.away and verifier.accepts(serial):
                yield f"EMERGENCY: v{serial} is compromised, its time is over, and {verifier.name} accepts it for ever"
    wanted = set(rotation.outgoing) | {rotation.incoming} if rotation.phase in RESTORABLE else {rotation.survivor}
    used = {target.serial for target in state.targets if not target.away and not target.hand}
    if not state.mute:
        used |= set(state.holds)
    wanted &= set(rotation.outgoing) | {serial for _, serial in rotation.promised}
    called = rotation.halted is not None or (rotation.hold is not None and rotation.hold.reason is Reason.QUARANTINED)
    wanted = wanted & used & rotation.served - state.marked - state.forced - rotation.revoked
    for serial in wanted if not called else ():
        for verifier in state.verifiers:
            if not verifier.away and not verifier.accepts(serial) and serial not in verifier.hands:
                yield f"REFUSED: {verifier.name} refuses v{serial}, which is in use in {rotation.phase}, for ever"
    waiting = rotation.phase is Phase.INTRODUCE and rotation.incoming not in state.keys
    if rotation.live and waiting and state.marked and room(state) == 0 and not _elsewhere(state):
        alive = {s for s in state.keys if any(v.table[s] in (Entry.ACTIVE, Entry.DISABLED) for v in state.verifiers)}
        for serial in sorted(serial for serial in alive if makes_room(state, serial)):
            yield f"EMERGENCY: there is no room for v{rotation.incoming}, and v{serial} is not given up for it"
    moving = rotation.phase is Phase.MONITOR and not (rotation.hold or rotation.pause or state.mute)
    for index, serial in enumerate(state.holds) if moving and not _elsewhere(state) else ():
        if serial in kept(state) and f"c{index}" not in decision.verdict.detail:
            yield f"UNTOLD: c{index} uses v{serial} in {rotation.phase}, and is not named"
    if not rotation.live:
        yield from _rested(state)
    elif not (state.marked or rotation.hold or rotation.halted or _in_vain(state)):
        for what in _for_a_person(state):
            yield f"UNTOLD: {what} in {rotation.phase}, and nobody is called"


def _for_a_person(state: State) -> Iterator[str]:
    """What only a person can mend, or tell what to make of."""
    rotation = state.rotation
    old, new = rotation.outgoing[0], rotation.incoming
    for target in state.targets:
        adopting = rotation.adopting is not None and rotation.adopting.target == target.name
        answered = adopting or rotation.reasserted.get(target.name) == (target.id or "")
        if target.away or answered or (rotation.phase is Phase.ROLLBACK and _away(state)):
            continue
        if target.serial in (FOREIGN, MISSING) or (target.hand and rotation.phase in SERVED and target.serial != new):
            yield f"{target.name} serves {named(target.serial)}"
        kept = old in target.copies | rotation.waived.keys() | rotation.revoked
        if rotation.phase in WATCHED and not kept:
            yield f"{target.name} keeps no copy of v{old}"
    if rotation.phase not in WATCHED:
        return
    for verifier in state.verifiers:
        wanted = {new} if rotation.phase is Phase.RETIRE else {old, new}
        for serial in (verifier.hands & wanted) - rotation.revoked if not verifier.away else ():
            # What is revoked is asked for in vain, and told of after more tries than are counted here.
            if verifier.table[serial] is not Entry.REVOKED:
                yield f"{verifier.name} refuses v{serial}"
    if state.accused == ILL:
        yield "every version fails"


def _elsewhere(state: State) -> bool:
    """Whether anything can not be reached, or stands for a person."""
    hands = [*[target.hand for target in state.targets], *[verifier.hands for verifier in state.verifiers]]
    standing = (state.obstacle, state.rotation.halted, state.rotation.hold and state.rotation.hold.latched)
    return _away(state) or any((*hands, *standing))


def _away(state: State) -> bool:
    return any(target.away for target in state.targets) or any(verifier.away for verifier in state.verifiers)


def _in_vain(state: State) -> bool:
    """Whether a call is tried again and again: people are told after more tries than are counted here."""
    return any(line.attempts > 1 and not line.succeeded for line in state.journal.values())


def _in_the_way(state: State) -> bool:
    """Whether anything is not as it should be, or as it soon will be."""
    places = [
        *[t.away or t.hand or t.robbed for t in state.targets],
        *[v.away or v.hands or v.raised for v in state.verifiers],
    ]
    behind = [held != t.serial for held, t in zip(state.holds, state.targets, strict=True)]
    running = [mark.cut_at > state.now for mark in state.rotation.marks.values()]
    others = (state.mute, state.accused is not None, state.obstacle, state.capacity is not None)
    return any((*places, *behind, *running, *others))


def _rested(state: State) -> Iterator[str]:
    rotation = state.rotation
    if any(target.hand or target.away for target in state.targets):
        return
    for target in state.targets:
        if target.serial != rotation.survivor:
            yield f"END: {target.name} serves {named(target.serial)} for ever after {rotation.phase}"
        if target.copies and not (rotation.hold or _away(state) or _in_vain(state)):
            yield f"P5: copies of {sorted(target.copies)} stay at {target.name} after {rotation.phase}"
    for verifier in state.verifiers:
        if verifier.away or verifier.hands:
            continue
        for serial in state.keys - {rotation.survivor}:
            if verifier.table[serial] in (Entry.ACTIVE, Entry.DISABLED):
                yield f"P5: v{serial} stays {verifier.table[serial]} at {verifier.name} after {rotation.phase}"
