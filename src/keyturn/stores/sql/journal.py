"""The journal: an intent before each outside call, its outcome after it (promise P5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, update

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.model import Rotation
from keyturn.ports.records import Intent, IntentState, Outcome
from keyturn.stores.codec import EFFECT, OUTCOME
from keyturn.stores.rules import LANDS_WITHIN, may_land
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import intents, rotations

_OPEN_ATTEMPTS = Upsert(intents, attempts=lambda tried, more: tried + more)
_OF_ROTATION = Query(select(intents).where(intents.c.rotation == bindparam("wanted")))
# Written out and not bound, so that the partial index serves it.
_OPEN = select(intents).where(intents.c.credential == bindparam("wanted"), text("state = 'open'"))
_OF_ENDED = select(intents).join(rotations, rotations.c.id == intents.c.rotation).where(rotations.c.live.is_(False))
_OPEN_OF_ENDED = Query(_OF_ENDED.where(intents.c.credential == bindparam("wanted"), text("state = 'open'")))
_RECENT_OF_ENDED = Query(
    _OF_ENDED.where(intents.c.credential == bindparam("wanted"), intents.c.opened_at > bindparam("since"))
)
# The kind is part of the id; the document decides.
_MINTS = select(intents).where(intents.c.effect.contains(f"/{EffectKind.MINT}/"))
_CLOSE = Write(
    update(intents)
    .where(intents.c.effect == bindparam("wanted"), intents.c.attempts == bindparam("attempt"))
    .values(state=bindparam("state"), outcome=bindparam("outcome"))
)


def open_attempts(connection: Connection, rotation: Rotation, effects: Sequence[Effect], now: datetime) -> None:
    rows = [
        {
            "effect": effect.id,
            "rotation": rotation.id,
            "credential": rotation.credential,
            "attempts": 1,
            "opened_at": now,
            "state": IntentState.OPEN,
            "document": EFFECT.write(effect),
            "outcome": None,
        }
        for effect in effects
    ]
    _OPEN_ATTEMPTS.run(connection, rows)


def record(connection: Connection, effect_id: str, attempt: int, outcome: Outcome) -> None:
    written = OUTCOME.write(outcome)
    _CLOSE.run(connection, wanted=effect_id, attempt=attempt, state=outcome.state, outcome=written)


def of_rotation(connection: Connection, rotation: str) -> Mapping[str, Intent]:
    return {row.effect: _intent(row) for row in _OF_ROTATION.all(connection, wanted=rotation)}


def open_of(connection: Connection, credential: str) -> Sequence[Intent]:
    found = [_intent(row) for row in connection.execute(_OPEN, {"wanted": credential})]
    return sorted(found, key=lambda intent: (intent.opened_at, intent.effect.id))


def mints(connection: Connection) -> Sequence[Intent]:
    found = [_intent(row) for row in connection.execute(_MINTS)]
    return [intent for intent in found if intent.effect.kind is EffectKind.MINT]


def uncertain(connection: Connection, credential: str, now: datetime) -> frozenset[tuple[EffectKind, int]]:
    rows = [
        *_OPEN_OF_ENDED.all(connection, wanted=credential),
        *_RECENT_OF_ENDED.all(connection, wanted=credential, since=now - LANDS_WITHIN),
    ]
    doubtful = [intent for intent in map(_intent, rows) if may_land(intent, now)]
    return frozenset((intent.effect.kind, intent.effect.serial) for intent in doubtful)


def _intent(row: Any) -> Intent:
    return Intent(
        effect=EFFECT.read(row.document, f"intent {row.effect}"),
        rotation=row.rotation,
        credential=row.credential,
        attempts=row.attempts,
        opened_at=row.opened_at,
        outcome=None if row.outcome is None else OUTCOME.read(row.outcome, f"the outcome of {row.effect}"),
    )
