"""The promises of DESIGN §1 and MACHINE.md's further invariants, held against the world's truth in every state.

`breaches` looks at a state, `judged` at a decision in the state in which it is taken; `duties` has what must be done.
Each finding is one line, and the first word names the promise.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.explorer.looking import STRANGER, readable, room
from tests.explorer.state import FOREIGN, MISSING, NEVER, POLICY, State

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase

RESTORABLE = frozenset({Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE})
GIVING = frozenset({EffectKind.PROMOTE, EffectKind.ENABLE, EffectKind.INSTALL})
TAKING = frozenset({EffectKind.DISABLE, EffectKind.REVOKE})
RESTING = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK})


def is_cut(state: State, serial: int) -> bool:
    """Whether a version is compromised and its time is over."""
    mark = state.rotation.marks.get(serial)
    return serial in state.marked and (mark is None or mark.cut_at <= state.now)


def breaches(state: State) -> Iterator[str]:
    """What must be true at every moment."""
    rotation = state.rotation
    for target in state.targets:
        serial = target.serial
        if serial < 0 or target.hand or serial in state.forced | rotation.failed or is_cut(state, serial):
            continue
        for verifier in state.verifiers:
            fine = verifier.away or verifier.accepts(serial) or serial in verifier.excused | verifier.hands
            if not fine:
                yield f"P1: {target.name} serves v{serial}, which {verifier.name} refuses ({verifier.table[serial]})"
    if rotation.phase not in RESTORABLE:
        return
    old = rotation.outgoing[0]
    if old in state.marked or old in rotation.waived or old in rotation.revoked:
        return
    for verifier in state.verifiers:
        if verifier.table[old] is Entry.REVOKED and old not in verifier.hands:
            yield f"P3: v{old} is revoked at {verifier.name} in {rotation.phase}"
    for target in state.targets:
        kept = old in target.copies or target.robbed or not readable(state, old)
        if rotation.phase is not Phase.INTRODUCE and not kept:
            yield f"P3: {target.name} keeps no copy of v{old} in {rotation.phase}"


def judged(state: State, decision: Decision) -> Iterator[str]:
    """What a decision must not do."""
    before, after = state.rotation, decision.rotation
    if (decision.successor is not None) is not (after.phase is Phase.SUPERSEDED):
        yield "P7: a successor and the end as superseded go together"
    for effect in decision.effects:
        if effect.kind in GIVING:
            yield from _given(state, effect)
        if effect.kind in TAKING:
            yield from _taken(state, effect, decision)
        obstructed = state.obstacle and not state.targets[0].away and STRANGER.id not in after.passed
        if effect.kind is EffectKind.MINT and obstructed:
            yield "INTRODUCE: minted over an obstacle"
    yield from _standing(state, decision)
    for serial, mark in after.marks.items():
        earlier = before.marks.get(serial)
        if mark.cut_at > mark.at + POLICY.grace_cap or (earlier is not None and mark.cut_at > earlier.cut_at):
            yield f"EMERGENCY: the grace of v{serial} is longer than its cap, or began anew"
    if decision.successor is not None:
        yield from _handed_over(state, decision)
    if after.phase in RESTING and before.live:
        yield from ended(state, decision)


def _given(state: State, effect: Effect) -> Iterator[str]:
    serial = effect.serial
    if serial in state.marked:
        yield f"P8: v{serial} is compromised, and {effect.kind} is decided"
    if effect.kind is EffectKind.PROMOTE:
        for verifier in state.verifiers:
            if not verifier.away and not verifier.accepts(serial):
                yield f"P1: v{serial} is promoted at {effect.target} while {verifier.name} refuses it"


def _taken(state: State, effect: Effect, decision: Decision) -> Iterator[str]:
    serial, after = effect.serial, decision.rotation
    room_made = makes_room(state, serial)
    if is_cut(state, serial) and (effect.kind is EffectKind.DISABLE or room_made):
        return
    what = f"v{serial} is {'disabled' if effect.kind is EffectKind.DISABLE else 'revoked'}"
    forced = serial in state.forced
    for target in state.targets:
        made_up_for = (forced and target.away) or room_made
        if target.serial == serial and not made_up_for:
            yield f"P2: {what} while {target.name} serves it"
    entries = {verifier.table[serial] for verifier in state.verifiers}
    if not room_made and entries != {Entry.ABSENT}:
        # Where it is dead already a tombstone takes nothing from the readers of any target.
        yield from _survivor_stands(state, what, after, dead=entries <= {Entry.ABSENT, Entry.REVOKED})
    gone = not any(not v.away and v.accepts(serial) for v in state.verifiers)
    if effect.kind is EffectKind.REVOKE:
        if not gone and serial not in state.rotation.revoked:
            yield f"P2: {what} while it is accepted still"
        early = after.phase not in (Phase.DESTROY, Phase.ROLLBACK, *RESTING) and state.rotation.incoming in state.keys
        if early and not room_made:
            yield f"P3: {what} in {after.phase}"
        return
    if forced or serial not in state.served or after.phase in RESTING or room_made:
        return
    if serial in state.holds:
        yield f"P2: {what} while a client uses it"
    if state.mute and serial not in state.marked:
        yield f"P2: {what} and its silence is not known"
    if serial in state.marked:
        yield f"P2: {what} before its grace is over"


def _survivor_stands(state: State, what: str, after: Rotation, *, dead: bool) -> Iterator[str]:
    survivor, forced = after.survivor, after.restoring is not None and bool(after.forced)
    for target in state.targets if not dead else ():
        unseen = target.away and (forced or after.phase in RESTING)
        if target.serial != survivor and not unseen:
            yield f"P2: {what} while {target.name} serves {named(target.serial)}, not v{survivor}"
        if target.away and not unseen:
            yield f"P4: {what} while {target.name} cannot be read"
    for verifier in state.verifiers:
        if not verifier.away and not verifier.accepts(survivor):
            yield f"P1: {what} while {verifier.name} refuses v{survivor}"


def makes_room(state: State, serial: int) -> bool:
    """Whether a version may be given up for another: nobody ever got it, it failed, or in an emergency no target serves it
    or it is cut off anyway."""
    served = any(target.serial == serial for target in state.targets)
    given_up = serial not in state.served or serial in state.rotation.failed
    return room(state) == 0 and (given_up or (bool(state.marked) and (is_cut(state, serial) or not served)))


def _standing(state: State, decision: Decision) -> Iterator[str]:
    """Under a pause nothing goes on; what was true may be made so again."""
    before, after = state.rotation, decision.rotation
    if before.pause is None or after.phase in (Phase.ROLLBACK, Phase.SUPERSEDED) or state.marked:
        return
    taking = {effect.kind for effect in decision.effects} & {*TAKING, EffectKind.MINT, EffectKind.REMOVE}
    if taking or (after.phase is not before.phase and after.phase is not Phase.MONITOR):
        yield f"PAUSE: {before.phase} goes on to {after.phase} with {sorted(taking)}"


def _handed_over(state: State, decision: Decision) -> Iterator[str]:
    successor = decision.successor
    if successor is None:
        return
    for serial in state.keys - set(successor.versions) & set(state.rotation.versions):
        if _alive(state, serial):
            yield f"P5: v{serial} is not dead, and the successor does not know it"
    lost = state.marked & set(successor.versions) - set(successor.marks)
    if lost:
        yield f"P8: the successor forgets that {sorted(lost)} are compromised"


def _alive(state: State, serial: int) -> bool:
    stored = any(serial in target.copies for target in state.targets if not target.away)
    return stored or any(not v.away and v.table[serial] in (Entry.ACTIVE, Entry.DISABLED) for v in state.verifiers)


def ended(state: State, decision: Decision) -> Iterator[str]:
    """An end leaves one accepted, served, unmarked version on each target, and nothing else of ours."""
    after = decision.rotation
    survivor = after.survivor
    if survivor in state.marked:
        yield f"END: {after.phase} with v{survivor}, which is compromised"
    for target in state.targets:
        if target.serial != survivor:
            yield f"END: {after.phase} with v{survivor} while {target.name} serves {named(target.serial)}"
        if not target.away and target.copies:
            yield f"P5: {after.phase} with copies of {sorted(target.copies)} at {target.name}"
    for verifier in state.verifiers:
        if verifier.away:
            continue
        if not verifier.accepts(survivor):
            yield f"END: {after.phase} with v{survivor}, which {verifier.name} refuses"
        for serial in state.keys & set(after.versions) - {survivor}:
            if verifier.table[serial] is not Entry.REVOKED and _known(state, serial):
                yield f"P5: {after.phase} while v{serial} is {verifier.table[serial]} at {verifier.name}"


def _known(state: State, serial: int) -> bool:
    """Whether anything of a version is anywhere, so that it can come to life."""
    stored = any(serial in target.copies or target.away for target in state.targets)
    return stored or any(verifier.table[serial] is not Entry.ABSENT or verifier.away for verifier in state.verifiers)


def named(serial: int) -> str:
    return {FOREIGN: "a foreign value", MISSING: "nothing"}.get(serial, f"v{serial}")


assert POLICY.minimum_overlap == NEVER, "the explored world knows no dwells"
