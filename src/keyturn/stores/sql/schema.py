"""The schema that a write is made for. A replica of an older release that still runs must not write its kind of documents
into a newer schema: nobody could read them."""

from __future__ import annotations

from sqlalchemy import Connection, String, column, select, table

from keyturn.domain.errors import KeyturnError
from keyturn.stores.migrations import HEAD

REVISION = select(column("version_num", String)).select_from(table("alembic_version")).scalar_subquery().label("schema")
"""A column for statements that come first in a transaction that writes. To have read it is a lock until the transaction
ends: on PostgreSQL an upgrade waits for it, and it for an upgrade."""


def check(found: str) -> None:
    """Raises `KeyturnError` when a revision that was read is not this release's."""
    if found != HEAD:
        raise KeyturnError(
            f"the store has schema {found}, and this keyturn knows {HEAD}: a newer keyturn has brought it forward; stop "
            "this one, which does nothing any more"
        )


def keep_writers_out(connection: Connection) -> None:
    """Wait for the writes under way, and let none begin until the transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
