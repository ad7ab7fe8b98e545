"""One database: transactions to read and to write, and statements that differ between databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

from keyturn.domain.errors import KeyturnError
from keyturn.stores.sql.failures import failures_mapped

WRITES = "keyturn_writes"
"""Execution option of connections whose transactions write; the engine's dialect begins them accordingly."""


class Database:
    """An engine with its lock. Each `with` of it is one transaction, committed at its end or not at all."""

    def __init__(
        self, engine: Engine, place: str, *, one_writer: bool, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{WRITES: True})
        self._place = place
        self._on_close = on_close
        self._closed = False
        # SQLite lets one transaction write at a time; threads that queue here do not wake up to look for their turn.
        self._turn: AbstractContextManager[Any] = threading.Lock() if one_writer else nullcontext()

    @property
    def place(self) -> str:
        """What to call it in messages."""
        return self._place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database from its first statement on."""
        with failures_mapped(self._place), self._begun(self._engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other's write comes between; on disk when it is left without an error."""
        with self._turn, failures_mapped(self._place), self._begun(self._writing) as connection:
            yield connection

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[Connection]:
        if self._closed:
            raise KeyturnError(f"the store at {self._place} is closed")
        with engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Wait for the write under way, then give everything back; more than once is no error."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._engine.dispose()
            self._on_close()


def insert_or_keep(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert rows, leaving those that are there already as they are; how many were new, for a single row."""
    if not rows:
        return 0
    return connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows).rowcount


def upsert(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], **changes: Callable[[Any, Any], Any]
) -> None:
    """Insert rows; where one is there already its columns become the new ones, or what `changes` makes of the column
    as it is and as it comes. `rows` hold each key once."""
    if not rows:
        return
    statement = _insert(connection, table)
    comes = statement.excluded
    keys = [column.name for column in table.primary_key]
    values = {name: comes[name] for name in rows[0] if name not in keys}
    values |= {name: change(table.c[name], comes[name]) for name, change in changes.items()}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def _insert(connection: Connection, table: Table) -> Any:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
