"""Brings a database to this release's schema, with Alembic, at every open.

A new revision: `versions/NNNN_what.py`, numbered on from the last, and `HEAD` below set to it; a test holds that the
revisions together make what `keyturn.stores.sql.tables` says. It may rewrite what rows hold: whoever decides by the schema
of before is kept out while it runs, and refused afterwards (`keyturn.stores.sql.schema`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from keyturn.domain.errors import ConfigError

if TYPE_CHECKING:  # the store imports this package
    from keyturn.stores.sql.database import Database

HEAD = "0010"
SCRIPTS = Path(__file__).parent


def upgrade(database: Database, *, scripts: Path = SCRIPTS, head: str = HEAD) -> None:
    """Run the revisions that the database lacks, all of them in one transaction, while no other process does.

    Raises `ConfigError` when a newer keyturn has written the database, or when it is somebody else's.
    """
    with database.upgrading() as connection:
        at = schema_in(connection, database.place, head=head)
        if at == head:
            return
        # Imported only now: most starts need none of it.
        from alembic import command
        from alembic.config import Config

        from keyturn.stores.sql.schema import keep_writers_out

        if at is not None:
            keep_writers_out(connection)
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def schema_in(connection: Connection, place: str, *, head: str = HEAD) -> str | None:
    """The schema of the database at a place; None when it has no tables. Raises `ConfigError` when a newer keyturn has
    written it, or when it is somebody else's."""
    found = set(inspect(connection).get_table_names())
    if "alembic_version" not in found:
        if found:
            raise ConfigError(f"{place} holds somebody else's tables: set store.url to one of its own")
        return None
    at: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if at is not None and at > head:
        raise ConfigError(
            f"the store {place} has schema {at}, and this keyturn knows {head}: a newer keyturn has written it; start that "
            "one, or restore a backup from before it"
        )
    return at
