"""Reads that every step of every rotation makes."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql import Select


class Query:
    """A SELECT, compiled once. SQLite's driver is asked directly: SQLAlchemy takes many times as long over a statement as
    the database does, which the way to a server hides, and a file does not."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._direct: _Direct | None = None

    def all(self, connection: Connection, **wanted: Any) -> Sequence[Any]:
        """The rows, columns by name and in order."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, wanted).all()
        if self._direct is None:
            self._direct = _Direct.of(self._statement, connection.dialect)
        return self._direct.all(connection, wanted)

    def first(self, connection: Connection, **wanted: Any) -> Any | None:
        """The first row, or None: for what there is once at most."""
        return next(iter(self.all(connection, **wanted)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direct:
    """A statement as the driver takes it, and what makes Python's values of its columns."""

    text: str
    fixed: dict[str, Any]
    """Parameters that the statement itself sets."""
    parameters: Sequence[tuple[str, Callable[[Any], Any] | None]]
    columns: Sequence[Callable[[Any], Any] | None]
    row: Callable[..., Any]

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> _Direct:
        compiled = statement.compile(dialect=dialect)
        columns = list(statement.selected_columns)
        kinds = [column.type.dialect_impl(dialect) for column in columns]
        return cls(
            text=str(compiled),
            fixed={name: value for name, value in compiled.params.items() if value is not None},
            parameters=[
                (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
                for name in compiled.positiontup or ()
            ],
            columns=[kind.result_processor(dialect, None) for kind in kinds],
            row=namedtuple("Row", [column.name for column in columns]),
        )

    def all(self, connection: Connection, wanted: dict[str, Any]) -> Sequence[Any]:
        values = {**self.fixed, **wanted}
        bound = [values[name] if make is None else make(values[name]) for name, make in self.parameters]
        found = connection.connection.driver_connection.execute(self.text, bound).fetchall()  # type: ignore[union-attr]
        return [
            self.row(*[value if make is None else make(value) for make, value in zip(self.columns, row, strict=True)])
            for row in found
        ]
