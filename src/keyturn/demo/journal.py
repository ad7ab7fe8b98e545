"""A look into the running daemon's journal, only to time a kill; nothing that is reported comes from here."""

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

OPEN = "SELECT effect, attempts FROM intents WHERE state = 'open'"
ANY = "SELECT 1 FROM intents LIMIT 1"
PHASE = "SELECT phase, live FROM rotations ORDER BY number DESC LIMIT 1"
BUSY = 1.0

Attempt = tuple[str, int]
"""An effect's id and the number of the try."""


class Journal:
    """Reads; never writes, and holds no transaction open."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=BUSY, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def begun(self) -> bool:
        """Whether the first intent is committed."""
        return bool(self._connection.execute(ANY).fetchall())

    def open(self) -> frozenset[Attempt]:
        """Attempts whose outcome is not recorded."""
        return frozenset((str(effect), int(attempt)) for effect, attempt in self._connection.execute(OPEN))

    def phase(self) -> tuple[str, bool]:
        """The newest rotation's phase, and whether it is live."""
        found = self._connection.execute(PHASE).fetchone()
        return ("", True) if found is None else (str(found[0]), bool(found[1]))
