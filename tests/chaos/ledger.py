"""A look into the store, from beside the daemons: only ever read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, create_engine, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A credential's newest rotation."""

    id: str
    phase: str
    live: bool
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An effect in the journal."""

    state: str
    """How its newest attempt went."""
    attempts: int


class Ledger:
    """Reads; holds no transaction open."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def close(self) -> None:
        self._engine.dispose()

    def rotations(self) -> dict[str, Standing]:
        """By credential, its newest rotation."""
        rows = self._rows("SELECT id, credential, phase, live, revision FROM rotations ORDER BY number")
        return {
            row.credential: Standing(id=row.id, phase=row.phase, live=bool(row.live), revision=row.revision)
            for row in rows
        }

    def rotation_ids(self, credential: str) -> list[str]:
        """Every rotation of a credential, oldest first."""
        rows = self._rows(
            "SELECT id FROM rotations WHERE credential = :credential ORDER BY number", credential=credential
        )
        return [row.id for row in rows]

    def phases(self, rotation: str) -> list[str]:
        """The phases that a rotation went through."""
        rows = self._rows(
            "SELECT phase FROM history WHERE rotation = :rotation AND kind IN ('started', 'transition') ORDER BY number",
            rotation=rotation,
        )
        return [row.phase for row in rows]

    def trail(self, rotation: str) -> list[str]:
        """What happened in a rotation, a line each."""
        rows = self._rows(
            "SELECT at, phase, kind, reason, detail FROM history WHERE rotation = :rotation ORDER BY number",
            rotation=rotation,
        )
        return [f"{row.at} {row.phase} {row.kind} {row.reason}: {row.detail}" for row in rows]

    def effects(self, credential: str) -> dict[str, Intent]:
        """Every effect of the credential, by id."""
        rows = self._rows(
            "SELECT effect, state, attempts FROM intents WHERE credential = :credential", credential=credential
        )
        return {row.effect: Intent(state=row.state, attempts=row.attempts) for row in rows}

    def messages(self) -> dict[str, bool]:
        """Every message that somebody is told, by id, and whether it still waits to be."""
        rows = self._rows("SELECT message, waiting FROM deliveries")
        return {row.message: bool(row.waiting) for row in rows}

    def versions(self, credential: str) -> dict[int, tuple[str, str]]:
        """Serial → state and key id."""
        rows = self._rows(
            "SELECT serial, state, key_id FROM versions WHERE credential = :credential", credential=credential
        )
        return {row.serial: (row.state, row.key_id) for row in rows}

    def _rows(self, statement: str, **words: object) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(statement), words))
