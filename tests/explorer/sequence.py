"""What comes before what (MACHINE.md, "Phases: effects in order, and leaving"), held against the world's truth. Each finding
is one line, and the first word names the promise, or the phase."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.explorer.looking import room
from tests.explorer.promises import named
from tests.explorer.state import State

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.phases import Phase

STAGES = frozenset(
    pairwise((Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY, Phase.COMPLETED))
)
ACCEPTING = frozenset({EffectKind.INSTALL, EffectKind.ENABLE})


def in_order(state: State, decision: Decision) -> Iterator[str]:
    """Nothing is decided before what has to be done before it."""
    before, after = state.rotation, decision.rotation
    for effect in decision.effects:
        yield from _out_of_sight(state, effect)
    if after.phase is before.phase:
        for effect in decision.effects:
            yield from _too_early(state, effect, decision)
    elif (before.phase, after.phase) in STAGES:
        yield from _left_too_early(state, f"{after.phase} begins")


def _out_of_sight(state: State, effect: Effect) -> Iterator[str]:
    """Nothing is sent where nobody can look; but a mint, whose lost answer is looked for where it was made."""
    away = {target.name for target in state.targets if target.away and effect.kind is not EffectKind.MINT}
    away |= {verifier.name for verifier in state.verifiers if verifier.away}
    for name in sorted(away & {*effect.verifiers, effect.target or ""}):
        yield f"P4: {effect.kind} v{effect.serial} at {name}, where nobody can look"


def _left_too_early(state: State, what: str) -> Iterator[str]:
    new, phase = state.rotation.incoming, state.rotation.phase
    for name in _refusing(state, new):
        yield f"P1: {what} while {name} refuses v{new}"
    if phase is not Phase.INTRODUCE:
        for target in state.targets:
            if not target.away and target.serial != new:
                yield f"P2: {what} while {target.name} serves {named(target.serial)}"
    if phase is Phase.MONITOR:
        yield from _kept_first(state, what)
    awaited = kept(state) if phase in (Phase.MONITOR, Phase.RETIRE) else set()
    for serial in sorted(awaited & set(state.holds)):
        yield f"P2: {what} while a client uses v{serial}"
    if awaited and state.mute:
        yield f"P4: {what} and nothing is known of {sorted(awaited)}"


def _too_early(state: State, effect: Effect, decision: Decision) -> Iterator[str]:
    rotation, kind = state.rotation, effect.kind
    new = rotation.incoming
    if effect.serial != new:
        return
    if kind is EffectKind.MINT and new not in state.keys and room(state) == 0:
        yield f"INTRODUCE: v{new} is minted where there is no room"
    if rotation.phase is Phase.INTRODUCE and kind is EffectKind.INSTALL:
        for target in state.targets:
            if not target.away and new not in target.copies:
                yield f"INTRODUCE: v{new} is installed before {target.name} holds it"
    if rotation.phase is Phase.OVERLAP and kind is EffectKind.PROMOTE and effect.target not in rotation.reasserted:
        yield from _kept_first(state, f"v{new} is promoted at {effect.target}")
    if rotation.phase in (Phase.OVERLAP, Phase.MONITOR) and kind in ACCEPTING:
        yield from _used_first(state, effect, decision)


def kept(state: State) -> set[int]:
    """Outgoing versions that may still be in use."""
    return set(state.rotation.outgoing) & state.rotation.served - state.marked - state.forced - state.rotation.revoked


def _refusing(state: State, serial: int) -> list[str]:
    return [v.name for v in state.verifiers if not (v.away or v.accepts(serial)) and serial not in v.hands]


def _kept_first(state: State, what: str) -> Iterator[str]:
    for serial in sorted(kept(state)):
        for name in _refusing(state, serial):
            yield f"P3: {what} while {name} refuses v{serial}"


def _used_first(state: State, effect: Effect, decision: Decision) -> Iterator[str]:
    """A verifier gets first what clients use already."""
    for serial in sorted(kept(state) & set(state.holds)):
        given = {n for e in decision.effects if e.serial == serial and e.kind in ACCEPTING for n in e.verifiers}
        for name in set(_refusing(state, serial)) & set(effect.verifiers) - given:
            yield f"REFUSED: {name} gets v{effect.serial} before v{serial}, which is in use"
