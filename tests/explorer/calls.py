"""What calls do to the world: idempotent, as the ports demand of plugins."""

from __future__ import annotations

from tests.explorer.looking import readable, room
from tests.explorer.state import FOREIGN, State, Target, Verifier

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.observations import Entry

Result = tuple[State, FailureKind | None]


def perform(state: State, effect: Effect) -> Result:
    """The world after a call, and how it failed, if it did."""
    if effect.kind is state.denied:
        return state, FailureKind.DENIED
    if effect.target is not None:
        index = 0 if effect.target == "t0" else 1
        target = state.targets[index]
        if target.away:
            return state, FailureKind.TRANSIENT
        return _at_target(state, effect, index, target)
    if effect.kind is EffectKind.PROVE_DEAD:
        return state, _prove_dead(state, effect)
    if effect.kind is EffectKind.INSTALL and not readable(state, effect.serial):
        return state, FailureKind.ABSENT
    for name in effect.verifiers:
        found = [i for i, verifier in enumerate(state.verifiers) if verifier.name == name and not verifier.away]
        if not found:
            return state, FailureKind.TRANSIENT
        changed = _entry(effect.kind, state.verifiers[found[0]].table[effect.serial], readable(state, effect.serial))
        if isinstance(changed, FailureKind):
            return state, changed
        state = with_entry(state, found[0], effect.serial, changed)
    return state, None


def _entry(kind: EffectKind, entry: Entry, value: bool) -> Entry | FailureKind:
    if kind is EffectKind.REVOKE:
        return Entry.REVOKED
    if entry is Entry.REVOKED:
        return FailureKind.CONFLICT
    if kind is EffectKind.DISABLE:
        return Entry.DISABLED
    if entry is Entry.DISABLED:
        return Entry.ACTIVE if kind is EffectKind.ENABLE else Entry.DISABLED
    if entry is Entry.ABSENT and not value:
        return FailureKind.ABSENT
    return Entry.ACTIVE


def with_entry(state: State, index: int, serial: int, entry: Entry) -> State:
    """The world with one entry of one verifier changed."""
    verifier = state.verifiers[index]
    table = (*verifier.table[:serial], entry, *verifier.table[serial + 1 :])
    return with_verifier(state, index, verifier._replace(table=table))


def with_verifier(state: State, index: int, verifier: Verifier) -> State:
    """The world with one verifier changed; what it is seen to accept it is no longer excused for, and what it refuses
    again nobody has raised."""
    if (verifier.excused or verifier.hands) and not verifier.away:
        accepted = {s for s in verifier.excused | verifier.hands if verifier.accepts(s)}
        verifier = verifier._replace(excused=verifier.excused - accepted, hands=verifier.hands - accepted)
    if verifier.raised:
        verifier = verifier._replace(raised=frozenset({s for s in verifier.raised if verifier.accepts(s)}))
    return state._replace(verifiers=(*state.verifiers[:index], verifier, *state.verifiers[index + 1 :]))


def with_target(state: State, index: int, target: Target) -> State:
    """The world with one target changed."""
    return state._replace(targets=(*state.targets[:index], target, *state.targets[index + 1 :]))


def _prove_dead(state: State, effect: Effect) -> FailureKind | None:
    if not readable(state, effect.serial):
        return FailureKind.ABSENT
    there = {verifier.name: verifier for verifier in state.verifiers if not verifier.away}
    dead = all(name in there and not there[name].accepts(effect.serial) for name in effect.verifiers)
    return None if dead else FailureKind.TRANSIENT


def _at_target(state: State, effect: Effect, index: int, target: Target) -> Result:
    serial, kind = effect.serial, effect.kind
    if kind is EffectKind.PROMOTE:
        return _promote(state, effect, index, target)
    if kind is EffectKind.MARK:
        return with_target(state, index, target._replace(marks=target.marks | {serial})), None
    if kind is EffectKind.REMOVE:
        return with_target(state, index, target._replace(copies=target.copies - {serial})), None
    if kind is EffectKind.MINT and effect.expected is not None:
        if serial in target.copies:
            return state, None
        if target.id != effect.expected or target.serial != FOREIGN:
            return state, FailureKind.CONFLICT
        target = target._replace(serial=serial)
        state = state._replace(served=state.served | {serial})
    elif kind is EffectKind.MINT and serial not in state.keys and room(state) == 0:
        return state, FailureKind.TRANSIENT
    elif kind is EffectKind.KEEP and serial not in target.copies and target.id != effect.expected:
        return state, FailureKind.CONFLICT
    elif kind is EffectKind.STAGE and not readable(state, serial):
        return state, FailureKind.ABSENT
    if kind is EffectKind.MINT:
        state = state._replace(keys=state.keys | {serial})
    return with_target(state, index, target._replace(copies=target.copies | {serial})), None


def _promote(state: State, effect: Effect, index: int, target: Target) -> Result:
    if target.token == effect.id:
        return state, None
    if target.id != effect.expected:
        return state, FailureKind.CONFLICT
    if effect.serial not in target.copies:
        return state, FailureKind.ABSENT
    target = target._replace(serial=effect.serial, number=target.number + 1, token=effect.id, hand=False)
    return with_target(state, index, target)._replace(served=state.served | {effect.serial}), None


def land(state: State, effect: Effect) -> State:
    """A call that was held up is done after all. What it upsets is ours to undo, a tick later."""
    left = list(state.late)
    left.remove(effect)
    before = state = state._replace(late=tuple(left))
    state, _ = perform(state, effect)
    for index, verifier in enumerate(state.verifiers):
        if verifier.table != before.verifiers[index].table:
            state = with_verifier(state, index, verifier._replace(excused=verifier.excused | {effect.serial}))
    if effect.kind is EffectKind.REMOVE and effect.target is not None and state is not before:
        index = 0 if effect.target == "t0" else 1
        if effect.serial in before.targets[index].copies:
            state = with_target(state, index, state.targets[index]._replace(robbed=True))
    return state
