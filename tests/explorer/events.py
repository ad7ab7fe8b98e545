"""Adverse events: each may happen once in a while, at any moment, between any two steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

from tests.explorer.calls import perform, with_entry, with_target, with_verifier
from tests.explorer.daemon import attempt, can_begin, lose, next_rotation
from tests.explorer.moves import Cause, Move
from tests.explorer.state import FOREIGN, ILL, MISSING, State, Verifier

from keyturn.domain import commands
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.guards import WATCHED
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase

BY, WHY = "ada", "a test"
IRREVERSIBLE = frozenset({EffectKind.REVOKE})
"""Calls that no replica makes once it has lost its lease (promise P7)."""
EDITS: Mapping[Entry, Mapping[str, Entry]] = {
    Entry.ACTIVE: {"deletes": Entry.ABSENT, "disables": Entry.DISABLED, "revokes": Entry.REVOKED},
    Entry.DISABLED: {"deletes": Entry.ABSENT, "enables": Entry.ACTIVE, "revokes": Entry.REVOKED},
}
"""What a hand may do to an entry of a verifier's table."""


def adverse(state: State) -> Iterator[Move]:
    """Everything adverse that may happen now."""
    if state.budget == 0 or state.horizon:
        return
    for label, after in (*_commands(state), *_marks(state), *_hands(state), *_places(state), *_calls(state)):
        yield Move(label, Cause.ADVERSE, partial(_spent, after))


def _spent(after: State) -> State:
    return after._replace(budget=after.budget - 1)


Events = Iterator[tuple[str, State]]


def commanded(state: State, rotation: Rotation) -> State:
    """A command is committed: what was pending finds that the rotation has moved, and is not sent."""
    return state.with_rotation(rotation)._replace(pending=())


def _commands(state: State) -> Events:
    rotation = state.rotation
    with suppress(Refused):
        yield "operator: pause", commanded(state, commands.pause(rotation, now=state.now, by=BY, why=WHY))
    for serial in rotation.versions:
        for final in (False, True):
            with suppress(Refused):
                forced = commands.force(rotation, serial=serial, final=final, by=BY, why=WHY)
                after = commanded(state, forced)._replace(forced=state.forced | {serial})
                yield f"operator: force v{serial}{' --final' if final else ''}", after


def _marks(state: State) -> Events:
    if not state.rotation.live:
        if not can_begin(state):
            return
        serials = [state.rotation.survivor]
        state = next_rotation(state)
    else:
        serials = [serial for serial in state.rotation.versions if serial not in state.marked]
    for serial in serials:
        if all(v.table[serial] is Entry.REVOKED for v in state.verifiers):
            continue
        for cut_now in (False, True):
            with suppress(Refused):
                marked = commands.emergency(
                    state.rotation, serial=serial, now=state.now, cut_now=cut_now, by=BY, why=WHY
                )
                after = commanded(state, marked)._replace(marked=state.marked | {serial})
                label = f"operator: emergency v{serial}{' --cut-now' if cut_now else ''}"
                yield label, after
                if state.capacity is None:
                    # Until a third key is made nobody can tell: an authority for two, as some are.
                    yield f"{label}; the authority takes two keys", after._replace(capacity=2)


def _hands(state: State) -> Events:
    for index, target in enumerate(state.targets):
        if not target.away:
            for serial in sorted({FOREIGN, MISSING, *target.copies} - {target.serial}):
                what = {FOREIGN: "a foreign value", MISSING: "nothing"}.get(serial, f"v{serial}")
                given = target._replace(serial=serial, number=target.number + 1, hand=True, token="")
                served = state.served | ({serial} if serial >= 0 else set())
                yield f"a hand gives {target.name} {what}", with_target(state, index, given)._replace(served=served)
        if target.copies:
            robbed = target._replace(copies=frozenset(), robbed=True)
            yield f"a hand takes our copies from {target.name}", with_target(state, index, robbed)
        for serial in sorted(target.copies) if len(target.copies) > 1 else ():
            robbed = target._replace(copies=target.copies - {serial}, robbed=True)
            yield f"a hand takes our copy of v{serial} from {target.name}", with_target(state, index, robbed)
    for index, verifier in _distinct(state):
        for serial in sorted(state.keys):
            for does, changed in EDITS.get(verifier.table[serial], {}).items():
                edited = with_entry(state, index, serial, changed)
                touched = edited.verifiers[index]
                if changed is Entry.ACTIVE and serial not in verifier.hands:
                    touched = touched._replace(raised=touched.raised | {serial})
                else:
                    touched = touched._replace(hands=touched.hands | {serial})
                yield f"a hand {does} v{serial} at {verifier.name}", with_verifier(edited, index, touched)


def _distinct(state: State) -> Iterator[tuple[int, Verifier]]:
    """Verifiers that can be told apart by more than their names."""
    first, second = state.verifiers
    yield 0, first
    if first._replace(name="") != second._replace(name="") or any(effect.verifiers for effect in state.late):
        yield 1, second


def _places(state: State) -> Events:
    rotation = state.rotation
    for index, target in enumerate(state.targets):
        if not target.away:
            yield f"{target.name} goes away", with_target(state, index, target._replace(away=True))
    if not any(verifier.away for verifier in state.verifiers):
        for index, verifier in _distinct(state):
            away = verifier._replace(away=True, missed=False, excused=state.keys)
            yield f"{verifier.name} goes away", with_verifier(state, index, away)
            if all(one.name in ("g0", "g1") for one in state.verifiers):
                empty = (Entry.ABSENT,) * len(verifier.table)
                joined = Verifier(name=f"{verifier.name}'", table=empty, excused=state.keys)
                yield f"{verifier.name} leaves, {joined.name} joins empty", with_verifier(state, index, joined)
    if not state.mute:
        yield "the usage source is mute", state._replace(mute=True)
    if state.accused is None and rotation.phase in WATCHED:
        yield f"the detector finds v{rotation.incoming} failing", state._replace(accused=rotation.incoming)
        yield "the detector finds the authority ill", state._replace(accused=ILL)
    for serial in sorted(state.served - {state.holds[1]} - state.marked):
        yield f"a client comes late with v{serial}", state._replace(holds=(state.holds[0], serial))
    unmade = rotation.phase is Phase.INTRODUCE and rotation.incoming not in state.keys
    if unmade and not state.obstacle:
        yield "a stranger's pending value is in the way", state._replace(obstacle=True)
    if (unmade or not rotation.live) and state.capacity is None:
        alive = [s for s in state.keys if any(v.table[s] in (Entry.ACTIVE, Entry.DISABLED) for v in state.verifiers)]
        yield "the authority is full", state._replace(capacity=len(alive))


def _calls(state: State) -> Events:
    done = state
    for index, effect in enumerate(state.pending):
        name = called(effect)
        rest = state.pending[index:]
        dead = done._replace(pending=(), doubt=state.doubt | {(one.kind, one.serial) for one in rest})
        yield f"the daemon dies before it sends {name}", dead
        sent, _ = perform(dead, effect)
        yield f"the daemon dies after it sent {name}", sent
        yield f"the answer to {name} is lost", _rest(lose(done, effect, done=True), index)
        yield f"{name} fails", _rest(lose(done, effect, done=False), index)
        if effect.kind not in IRREVERSIBLE:
            held = lose(done, effect, done=False)
            yield f"{name} is held up", _rest(held._replace(late=(*held.late, effect)), index)
        done = attempt(done, effect)
    if state.denied is None:
        for kind in sorted({effect.kind for effect in state.pending}):
            yield f"{kind} is denied", state._replace(denied=kind)


def _rest(state: State, index: int) -> State:
    """The calls after one that went wrong."""
    for effect in state.pending[index + 1 :]:
        state = attempt(state, effect)
    return state._replace(pending=())


def called(effect: Effect) -> str:
    """A call in a word."""
    where = effect.target or ",".join(effect.verifiers)
    return f"{effect.kind.replace('_', ' ')} v{effect.serial}" + (f"@{where}" if where else "")
