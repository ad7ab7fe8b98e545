"""An intent without an outcome: what became of it is found out by looking at authority and backend, never assumed (P5).

Whoever opened it is dead, has lost its claim, or could not reach the store any more. What is found done was done; what is
not is to be sent again, which every call of ours bears; what cannot be seen stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.observations import Entry, Observations, ServingKind
from keyturn.ports.clock import Clock
from keyturn.ports.records import IntentState, Outcome
from keyturn.ports.store import Store
from keyturn.runtime.gather import effect_seen

log = structlog.get_logger(__name__)

Look = Callable[[Effect, Observations], "bool | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """Gives open intents the outcome that the world shows."""

    store: Store
    clock: Clock

    def settle(self, credential: str, seen: Observations) -> Observations:
        """The observations, in which the journal knows what the world has just told. Also of ended rotations."""
        unanswered = [one for one in seen.effects.values() if not one.succeeded and one.failure is None]
        if not (unanswered or seen.late):
            return seen
        effects = dict(seen.effects)
        for intent in self.store.open_intents(credential):
            effect = intent.effect
            done = LOOKS[effect.kind](effect, seen)
            if done is None:
                continue
            outcome = self._found_done(effect, seen) if done else self._found_undone()
            self.store.record(effect.id, intent.attempts, outcome)
            log.info("effect resolved by looking", credential=credential, effect=effect.id, done=done)
            if effect.id in effects:
                effects[effect.id] = effect_seen(replace(intent, outcome=outcome))
        return replace(seen, effects=effects)

    def _found_done(self, effect: Effect, seen: Observations) -> Outcome:
        made = seen.found.get(effect.serial) if effect.kind is EffectKind.MINT else None
        return Outcome(
            state=IntentState.SUCCEEDED,
            at=self.clock.now(),
            # The call itself was never answered, so a twin of it may still be on its way.
            failure=FailureKind.TRANSIENT,
            message="no answer was recorded; it was found done",
            key_id=made[0] if made is not None else None,
            fingerprint=made[1] if made is not None else None,
        )

    def _found_undone(self) -> Outcome:
        now = self.clock.now()
        return Outcome(
            state=IntentState.FAILED,
            at=now,
            failure=FailureKind.TRANSIENT,
            message="no answer was recorded, and it is not done",
            retry_at=now,
        )


def _copied(effect: Effect, seen: Observations) -> bool | None:
    target = seen.targets.get(effect.target or "")
    return None if target is None or target.copies is None else effect.serial in target.copies


def _removed(effect: Effect, seen: Observations) -> bool | None:
    target = seen.targets.get(effect.target or "")
    if target is None or target.copies is None:
        return None
    return effect.serial not in target.copies and effect.serial not in target.left


def _promoted(effect: Effect, seen: Observations) -> bool | None:
    target = seen.targets.get(effect.target or "")
    if target is None or target.serving.kind is ServingKind.UNKNOWN:
        return None
    return target.serving.serial == effect.serial and target.serving.id != effect.expected


def _marked(effect: Effect, seen: Observations) -> bool | None:
    target = seen.targets.get(effect.target or "")
    return None if target is None or target.copies is None else effect.serial in target.marked


def _listed_as(*wanted: Entry) -> Look:
    def look(effect: Effect, seen: Observations) -> bool | None:
        # A verifier that has left has nothing to tell, and nothing to bring about.
        there = [seen.verifiers[name] for name in effect.verifiers if name in seen.verifiers]
        entries = [verifier.entries.get(effect.serial, Entry.UNKNOWN) for verifier in there]
        if not entries or Entry.UNKNOWN in entries:
            return None
        return all(entry in wanted for entry in entries)

    return look


def _tried_again(effect: Effect, seen: Observations) -> bool:
    """A proof that nobody wrote down is none."""
    del effect, seen
    return False


LOOKS: Mapping[EffectKind, Look] = {
    EffectKind.KEEP: _copied,
    EffectKind.MINT: _copied,
    EffectKind.STAGE: _copied,
    EffectKind.INSTALL: _listed_as(Entry.ACTIVE),
    EffectKind.ENABLE: _listed_as(Entry.ACTIVE),
    EffectKind.DISABLE: _listed_as(Entry.DISABLED, Entry.REVOKED),
    EffectKind.REVOKE: _listed_as(Entry.REVOKED),
    EffectKind.PROMOTE: _promoted,
    EffectKind.PROVE_DEAD: _tried_again,
    EffectKind.REMOVE: _removed,
    EffectKind.MARK: _marked,
}
"""By kind of effect: whether its post-condition is seen; None where that cannot be told now."""
