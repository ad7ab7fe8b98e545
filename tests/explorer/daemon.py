"""The daemon in the explored world: observe → decide → commit, then send → outcome, as steps of their own."""

from __future__ import annotations

from tests.explorer.calls import perform
from tests.explorer.looking import observe
from tests.explorer.state import VERSIONS, State, begun

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.machine import Decision, decide
from keyturn.domain.model import Rotation
from keyturn.domain.observations import EffectSeen
from keyturn.domain.phases import Phase


def look_and_decide(state: State) -> Decision:
    """What the machine decides on what it sees."""
    return decide(state.rotation, observe(state), state.now)


def commit(state: State, decision: Decision) -> State:
    """The decision and its intents are on record; nothing is sent yet."""
    before, after = state.rotation, decision.rotation
    if any(verifier.away and not verifier.missed for verifier in state.verifiers):
        missed = tuple([v._replace(missed=True) if v.away else v for v in state.verifiers])
        state = state._replace(verifiers=missed)
    if decision.successor is not None:
        return _hand_over(state, decision.successor)
    if after is not before:
        state = state.with_rotation(after)
    if not decision.effects:
        return _turn(state, before)
    state = _turn(state, before)
    journal, again = dict(state.journal), set()
    for effect in decision.effects:
        line = journal.get(effect.id)
        if line is not None:
            again.add((effect.kind, effect.serial))
        journal[effect.id] = EffectSeen(
            kind=effect.kind,
            serial=effect.serial,
            target=effect.target,
            attempts=1 if line is None else 2,
            succeeded=False,
            key_id=line.key_id if line is not None else None,
            fingerprint=line.fingerprint if line is not None else None,
        )
    return state._replace(journal=journal, pending=decision.effects, doubt=state.doubt | again)


def _turn(state: State, before: Rotation) -> State:
    """When an entry ends its calls can no longer be asked for: only that they were is kept."""
    rotation = state.rotation
    if rotation.entry == before.entry or not state.journal:
        return state
    present = f"{rotation.id}/{rotation.entry}-"
    journal = {}
    for name, line in state.journal.items():
        kept = name if name.startswith(present) else f"{rotation.id}/once/{line.kind}/{line.serial}"
        if kept not in journal or line.key_id is not None:
            journal[kept] = line
    return state._replace(journal=journal)


def _hand_over(state: State, successor: Rotation) -> State:
    state = state._replace(
        journal={}, pending=(), doubt=frozenset(), uncertain=state.uncertain | state.doubt, forced=frozenset()
    )
    if successor.incoming >= VERSIONS:
        return state.with_rotation(successor)._replace(horizon=True)
    return state.with_rotation(successor)


def next_rotation(state: State) -> State:
    """The next rotation begins, in a world that may still hold calls of the last."""
    ended = state.rotation
    number = int(ended.id.partition("~")[0].removeprefix("r"))
    rotation = begun(ended.versions[ended.survivor], next_serial(state), state.now, f"r{number + 1}")
    return state._replace(
        journal={},
        doubt=frozenset(),
        uncertain=state.uncertain | state.doubt,
        forced=frozenset(),
        accused=None,
        targets=tuple([target._replace(robbed=False) for target in state.targets]),
    ).with_rotation(rotation)


def next_serial(state: State) -> int:
    """Serials are never used twice."""
    return max(state.keys | set(state.rotation.versions)) + 1


def can_begin(state: State) -> bool:
    """Whether another rotation still fits into the versions that are modelled."""
    rotation = state.rotation
    at_rest = rotation.phase in (Phase.COMPLETED, Phase.ROLLED_BACK) and not state.pending and not state.horizon
    return at_rest and next_serial(state) < VERSIONS


def send(state: State) -> State:
    """Every pending call is made and recorded, in order."""
    for effect in state.pending:
        state = attempt(state, effect)
    return state._replace(pending=())


def attempt(state: State, effect: Effect) -> State:
    """One call is made, and its outcome recorded."""
    state, failure = perform(state, effect)
    line = state.journal[effect.id]
    made = effect.kind is EffectKind.MINT and failure is None
    done = EffectSeen(
        kind=line.kind,
        serial=line.serial,
        target=line.target,
        attempts=line.attempts,
        succeeded=failure is None,
        failure=failure,
        message="" if failure is None else f"{effect.kind} v{effect.serial}: {failure}",
        key_id=f"k{effect.serial}" if made else line.key_id,
        fingerprint=f"f{effect.serial}" if made else line.fingerprint,
    )
    if failure is FailureKind.TRANSIENT:
        state = state._replace(doubt=state.doubt | {(effect.kind, effect.serial)})
    return state._replace(journal={**state.journal, effect.id: done})


def lose(state: State, effect: Effect, *, done: bool) -> State:
    """A call times out; it is done, or not."""
    if done:
        state, _ = perform(state, effect)
    line = state.journal[effect.id]
    failed = line._replace(failure=FailureKind.TRANSIENT, message="timed out")
    doubt = state.doubt | {(effect.kind, effect.serial)}
    return state._replace(journal={**state.journal, effect.id: failed}, doubt=doubt)
