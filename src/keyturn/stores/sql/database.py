"""One database: transactions to read and to write, and statements that differ between databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

from keyturn.stores.sql.connections import Connections
from keyturn.stores.sql.failures import failures_mapped
from keyturn.stores.sql.group_commit import GroupCommit
from keyturn.stores.sql.query import Write, say


class Database:
    """An engine with its lock. Each `with` of it is one transaction, committed at its end or not at all.

    `to_read` and `to_write` are the statements that such transactions start with, and `to_upgrade` what is said after
    `to_write` before the schema is looked at; `at_leisure` lets one transaction take longer than others may. There are
    `connections` at most. `clock` reads the clock that leases run by.
    """

    def __init__(
        self,
        engine: Engine,
        place: str,
        *,
        to_read: str,
        to_write: str,
        at_leisure: Sequence[str] = (),
        to_upgrade: Sequence[str] = (),
        one_writer: bool,
        connections: int,
        clock: Callable[[Connection], datetime],
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._place = place
        self._to_read = to_read
        self._to_write = to_write
        self._at_leisure = at_leisure
        self._to_upgrade = to_upgrade
        self.clock = clock
        self._on_close = on_close
        self._closed = False
        self._closing = threading.Lock()
        self._connections = Connections(engine, place, most=connections)
        self._say = say if engine.dialect.name == "sqlite" else Connection.exec_driver_sql
        # SQLite lets one transaction write at a time.
        self._grouped = GroupCommit(lambda: self._begun(to_write)) if one_writer else None

    @property
    def place(self) -> str:
        """What to call it in messages."""
        return self._place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database from its first statement on."""
        with failures_mapped(self._place), self._begun(self._to_read) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; on disk when it is left without an error."""
        begun = self._begun(self._to_write) if self._grouped is None else self._grouped.write()
        with failures_mapped(self._place), begun as connection:
            yield connection

    @contextmanager
    def upgrading(self) -> Iterator[Connection]:
        """A transaction that changes the schema, while no other process does."""
        with self.write() as connection:
            self.take_time(connection)
            for statement in self._to_upgrade:
                connection.exec_driver_sql(statement)
            yield connection

    def take_time(self, connection: Connection) -> None:
        """Let the transaction take as long as it needs: it is about everything, and not about one credential."""
        for statement in self._at_leisure:
            connection.exec_driver_sql(statement)

    @contextmanager
    def _begun(self, statement: str) -> Iterator[Connection]:
        connection = self._connections.take()
        try:
            with connection.begin():
                self._say(connection, statement)
                yield connection
        except BaseException:
            gone = connection.invalidated
            self._connections.drop(connection)
            if gone:
                # As likely the server as this one connection: the engine has forgotten all that it has.
                self._connections.forget()
            raise
        self._connections.give_back(connection)

    def close(self) -> None:
        """Wait for the write under way, then give everything back; more than once is no error."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            if self._grouped is not None:
                self._grouped.flush()
            self._connections.close()
            self._engine.dispose()
            self._on_close()


class Upsert:
    """Inserts rows; where one is there already its columns become the new ones, or what `changes` makes of the column
    as it is and as it comes. Built once: SQLAlchemy takes longer to build a statement than to run it.
    """

    def __init__(self, table: Table, **changes: Callable[[Any, Any], Any]) -> None:
        self._table = table
        self._changes = changes
        self._built: dict[str, Write] = {}
        self._compiled: dict[str, Any] = {}

    def run(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows, each with every column, no key twice."""
        if rows:
            dialect = connection.dialect.name
            if dialect not in self._built:
                self._built[dialect] = Write(self._statement(dialect))
            self._built[dialect].run_all(connection, rows)

    def run_many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows with their values in the order of the columns, no key twice: as `run`, at half the cost, since
        SQLAlchemy takes longer over the parameters of a row than the database over the row."""
        if not rows:
            return
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            compiled = self._statement(dialect.name).compile(dialect=dialect)
            names = [column.name for column in self._table.c]
            places = [names.index(name) for name in compiled.positiontup or names]
            processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in self._table.c]
            self._compiled[dialect.name] = str(compiled), places, processors, compiled.positiontup is not None
        text, places, processors, positional = self._compiled[dialect.name]
        written = [
            [value if process is None else process(value) for process, value in zip(processors, row, strict=True)]
            for row in rows
        ]
        if positional:
            connection.exec_driver_sql(text, [tuple(row[place] for place in places) for row in written])
        else:
            names = [column.name for column in self._table.c]
            connection.exec_driver_sql(text, [dict(zip(names, row, strict=True)) for row in written])

    def _statement(self, dialect: str) -> Any:
        statement = _insert(dialect, self._table)
        comes, there = statement.excluded, self._table.c
        keys = [column.name for column in self._table.primary_key]
        values = {column.name: comes[column.name] for column in there if column.name not in keys}
        values |= {name: change(there[name], comes[name]) for name, change in self._changes.items()}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)


class InsertOnce:
    """Inserts a row unless its key is there already."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._empty: dict[str, Any] = dict.fromkeys(column.name for column in table.c)
        self._built: dict[str, Write] = {}

    def run(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Whether the row was new."""
        dialect = connection.dialect.name
        if dialect not in self._built:
            self._built[dialect] = Write(_insert(dialect, self._table).on_conflict_do_nothing())
        return self._built[dialect].run(connection, **{**self._empty, **row}) == 1


def _insert(dialect: str, table: Table) -> Any:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
