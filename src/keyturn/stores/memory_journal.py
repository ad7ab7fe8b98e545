"""The journal in memory; its owner holds the lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.model import Rotation
from keyturn.ports.records import Intent, IntentState, Outcome
from keyturn.stores.rules import may_land


class MemoryJournal:
    """Intents by rotation and effect id."""

    def __init__(self) -> None:
        self._intents: dict[str, dict[str, Intent]] = {}
        self._rotation_of: dict[str, str] = {}
        self._open: dict[str, set[str]] = {}
        self._landing: dict[str, dict[str, Intent]] = {}
        """By rotation: what may land late, however long ago it was sent."""

    def open(self, rotation: Rotation, effects: Sequence[Effect], now: datetime) -> None:
        """An attempt of each effect begins."""
        known = self._intents.setdefault(rotation.id, {})
        for effect in effects:
            tried = known.get(effect.id)
            known[effect.id] = intent = Intent(
                effect=effect,
                rotation=rotation.id,
                credential=rotation.credential,
                attempts=1 if tried is None else tried.attempts + 1,
                opened_at=now,
                outcome=None,
            )
            self._note(intent)
            self._rotation_of[effect.id] = rotation.id
            self._open.setdefault(rotation.credential, set()).add(effect.id)

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        rotation = self._rotation_of.get(effect_id)
        if rotation is None:
            return
        intent = self._intents[rotation][effect_id]
        if intent.attempts != attempt:
            return
        self._intents[rotation][effect_id] = replace(intent, outcome=outcome)
        self._note(self._intents[rotation][effect_id])
        if outcome.state is IntentState.OPEN:
            self._open.setdefault(intent.credential, set()).add(effect_id)
        else:
            self._open.get(intent.credential, set()).discard(effect_id)

    def of(self, rotation: str) -> Mapping[str, Intent]:
        return dict(self._intents.get(rotation, {}))

    def open_of(self, credential: str) -> Sequence[Intent]:
        intents = [self._intents[self._rotation_of[one]][one] for one in self._open.get(credential, ())]
        return sorted(intents, key=lambda intent: (intent.opened_at, intent.effect.id))

    def mints(self) -> Sequence[Intent]:
        """Every intent to mint that ever was."""
        intents = [intent for journal in self._intents.values() for intent in journal.values()]
        return [intent for intent in intents if intent.effect.kind is EffectKind.MINT]

    def uncertain(self, ended: Collection[str], now: datetime) -> frozenset[tuple[EffectKind, int]]:
        """Of these ended rotations: what may still land."""
        intents = [intent for one in ended for intent in self._landing.get(one, {}).values()]
        return frozenset((one.effect.kind, one.effect.serial) for one in intents if may_land(one, now))

    def _note(self, intent: Intent) -> None:
        landing = self._landing.setdefault(intent.rotation, {})
        if may_land(intent, intent.opened_at):
            landing[intent.effect.id] = intent
        else:
            landing.pop(intent.effect.id, None)
