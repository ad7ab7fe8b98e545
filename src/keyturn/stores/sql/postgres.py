"""PostgreSQL: one database, any number of replicas. What they write of one credential, one source or one lease comes one
after another by locks on its row, so nothing has to be tried again for being serialised badly."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import ArgumentError

from keyturn.domain.errors import ConfigError
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.tables import EPOCH
from keyturn.stores.urls import SECRETS

CONNECTIONS = 20
"""The daemon's threads and the HTTP surface's. Three replicas stay below the hundred that a server has by default."""
SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    # A replica that stands still amid a transaction must not hold its locks for longer than the others are willing to wait.
    "idle_in_transaction_session_timeout": "5s",
}
CONNECT = {
    "autocommit": True,  # the driver begins no transactions of its own; `to_read` and `to_write` do
    "client_encoding": "utf8",
    "connect_timeout": 5,
    # A peer that is gone without a word is noticed within seconds.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "keyturn",
}
UPGRADE_LOCK = 0x6B657974_75726E21
"""`keyturn!`: whoever upgrades the schema holds the advisory lock of this number."""
TO_UPGRADE = (f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})",)


def open_postgres(url: URL) -> Database:
    """The database at a URL, which must exist. Raises `ConfigError` when the driver is missing or the URL is wrong; whether
    the server can be reached shows at the first use."""
    for name in sorted(SECRETS & set(url.query)):
        raise ConfigError(f"store.url sets {name!r}: leave it out; the password belongs into store.password")
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={name: value for name, value in CONNECT.items() if name not in url.query},
            pool_size=CONNECTIONS,
            max_overflow=0,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise ConfigError(
            "store.url names PostgreSQL, whose driver is not installed: pip install 'keyturn[postgres]'"
        ) from None
    except (ArgumentError, ValueError, TypeError):
        raise ConfigError("store.url is wrong: use postgresql+psycopg://USER@HOST:PORT/DATABASE") from None

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        for name, value in SETTINGS.items():
            connection.execute(f"SET {name} = '{value}'")
        # What a commit has returned from must survive a crash of the machine; a stricter setting is left as it is.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )

    return Database(
        engine,
        _place(url),
        to_read="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        to_write="BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        at_leisure=[f"SET LOCAL {name} = 0" for name in SETTINGS],
        to_upgrade=TO_UPGRADE,
        one_writer=False,
        connections=CONNECTIONS,
        clock=_now,
    )


def _now(connection: Connection) -> datetime:
    """The server's clock: one for all replicas, whatever theirs say."""
    text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    return EPOCH + timedelta(microseconds=connection.exec_driver_sql(text).scalar_one())


def _place(url: URL) -> str:
    """What to call it in messages: without password and parameters."""
    return URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()
