"""Copies a whole store from one database into another, whatever they are: the tables are the same everywhere."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, inspect, select, text

from keyturn.domain.errors import ConfigError
from keyturn.stores.migrations import HEAD, schema_in
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.tables import metadata

AT_ONCE = 1000
"""Rows read and written with one statement, and held in memory at a time."""


def transfer(source: Database, to: Database) -> None:
    """Copy every row, as of one moment, into a store of the same schema that has none.

    Raises `ConfigError` when the source has another schema, or the target has rows; then nothing is written.
    """
    with source.read() as reading, to.write() as writing:
        # One of the two waits while the other is busy.
        source.take_time(reading)
        to.take_time(writing)
        schema = reading.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if schema != HEAD:
            raise ConfigError(
                f"the store {source.place} has schema {schema}, and this keyturn {HEAD}: start this release once, or use "
                "the one that wrote it"
            )
        _check_no_rows(writing, to.place)
        for table in metadata.sorted_tables:
            rows = reading.execute(select(table), execution_options={"yield_per": AT_ONCE}).mappings()
            for some in rows.partitions():
                writing.execute(insert(table), [dict(row) for row in some])
        if writing.dialect.name == "postgresql":
            _go_on_counting(writing)


def check_empty(database: Database) -> None:
    """Raises `ConfigError` when a store cannot be copied into a database, which is not brought to any schema for that: it
    has rows, or is a newer keyturn's or somebody else's."""
    with database.read() as connection:
        database.take_time(connection)
        schema_in(connection, database.place)
        _check_no_rows(connection, database.place)


def _check_no_rows(connection: Connection, place: str) -> None:
    there = set(inspect(connection).get_table_names())
    for table in metadata.sorted_tables:
        if table.name in there and connection.execute(select(func.count()).select_from(table)).scalar_one() > 0:
            raise ConfigError(f"the store {place} is not empty: name another database, or empty this one yourself")


def _go_on_counting(connection: Connection) -> None:
    """Rows that come later are numbered on from those that were copied."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            last = select(func.max(column)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(select(func.setval(sequence, func.coalesce(last, 1), last.is_not(None))))
