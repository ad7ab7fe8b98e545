"""Statements that every step of every rotation makes, compiled once. SQLite's driver is asked directly: SQLAlchemy takes
many times as long over a statement as the database does, which the way to a server hides, and a file does not."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql import Select
from sqlalchemy.sql.dml import UpdateBase


def say(connection: Connection, statement: str) -> None:
    """Have SQLite run a statement that has no parameters and gives nothing back."""
    _driver(connection).execute(statement)


class Query:
    """A SELECT."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._direct: _Direct | None = None
        self._columns: Sequence[Callable[[Any], Any] | None] = ()
        self._row: Callable[..., Any] = tuple

    def all(self, connection: Connection, **wanted: Any) -> Sequence[Any]:
        """The rows, columns by name and in order."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, wanted).all()
        if self._direct is None:
            columns = list(self._statement.selected_columns)
            kinds = [column.type.dialect_impl(connection.dialect) for column in columns]
            self._columns = [kind.result_processor(connection.dialect, None) for kind in kinds]
            self._row = _named([column.name for column in columns])
            self._direct = _Direct.of(self._statement, connection.dialect, None)
        found = _driver(connection).execute(self._direct.text, self._direct.bound(wanted)).fetchall()
        return [
            self._row(*[value if make is None else make(value) for make, value in zip(self._columns, row, strict=True)])
            for row in found
        ]

    def first(self, connection: Connection, **wanted: Any) -> Any | None:
        """The first row, or None: for what there is once at most."""
        return next(iter(self.all(connection, **wanted)), None)


class Write:
    """An INSERT or UPDATE. Of an INSERT, `columns` are those that it gives."""

    def __init__(self, statement: UpdateBase, columns: Sequence[str] | None = None) -> None:
        self._statement = statement.execution_options(preserve_rowcount=True)
        self._columns = columns
        self._direct: _Direct | None = None

    def run(self, connection: Connection, **row: Any) -> int:
        """How many rows it has written."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, row).rowcount
        if self._direct is None:
            self._direct = _Direct.of(self._statement, connection.dialect, self._columns)
        written: int = _driver(connection).execute(self._direct.text, self._direct.bound(row)).rowcount
        return written

    def run_all(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Write several rows."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, rows)
            return
        for row in rows:
            self.run(connection, **row)


def _named(columns: Sequence[str]) -> Callable[..., Any]:
    return namedtuple("Row", columns)


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direct:
    """A statement as the driver takes it."""

    text: str
    fixed: dict[str, Any]
    """Parameters that the statement itself sets."""
    parameters: Sequence[tuple[str, Callable[[Any], Any] | None]]

    @classmethod
    def of(cls, statement: Select[Any] | UpdateBase, dialect: Dialect, columns: Sequence[str] | None) -> _Direct:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        return cls(
            text=str(compiled),
            fixed={name: value for name, value in compiled.params.items() if not compiled.binds[name].required},
            parameters=[
                (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
                for name in compiled.positiontup or ()
            ],
        )

    def bound(self, wanted: Mapping[str, Any]) -> list[Any]:
        """The parameters in the order of the statement."""
        values = {**self.fixed, **wanted}
        try:
            return [values[name] if make is None else make(values[name]) for name, make in self.parameters]
        except TypeError as error:
            raise sqlite3.DataError(str(error)) from error
