"""SQLite: one file, one writer, each commit on disk before it returns."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, event

from keyturn.domain.errors import ConfigError
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.writer_lock import WriterLock

BUSY_TIMEOUT = 10.0
"""Seconds to wait for whoever else has the file locked (a backup, a person's sqlite3)."""
CONNECTIONS = 32
"""Each is a few open files."""


def open_sqlite(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """The database in a file, created with its folders when there is none, for this process alone."""
    # Resolved, so that two names of one file find one lock.
    path = path.resolve()
    _create(path)
    lock = WriterLock(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # The driver begins no transactions of its own; `to_read` and `to_write` do.
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": busy_timeout},
        pool_size=CONNECTIONS,
        max_overflow=0,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigError(f"the store {path} is on a file system without shared memory: put it on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    return Database(
        engine,
        str(path),
        to_read="BEGIN",
        to_write="BEGIN IMMEDIATE",
        one_writer=True,
        connections=CONNECTIONS,
        clock=lambda _: datetime.now(UTC),
        on_close=lock.release,
    )


def _create(path: Path) -> None:
    """The file and the folders it lacks, for their owner's eyes only; what is there keeps its mode."""
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(
            f"the store {path} cannot be opened ({error.strerror}): set store.url to a file that this user may write"
        ) from error
