"""Backups of a store: always one SQLite file, consistent in itself, taken while the daemon runs. No secret is in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL

from keyturn.domain.errors import ConfigError
from keyturn.stores.migrations import HEAD, upgrade
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.postgres import open_postgres
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.store import SqlStore, checked
from keyturn.stores.sql.transfer import check_empty, transfer
from keyturn.stores.sql.writer_lock import WriterLock

BUSY = 10.0
"""Seconds to wait for whoever has the file locked."""
PIECES = ("", "-wal", "-shm", "-journal")
"""What SQLite may keep of one database, as endings of its name. It takes a log that lies beside a file for that file's, also
when it was another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds, by numbers."""

    file: Path
    schema: str
    credentials: int
    rotating: int
    bytes: int


def back_up(url: str, to: Path) -> Backup:
    """Copy the store at `url` into a new file, as it is at one moment, whoever writes to it meanwhile.

    Raises `ConfigError` when there is no store or it is damaged, or when the file is there already or cannot be written.
    """
    parsed = checked(url)
    source = Path(parsed.database or "")
    if parsed.drivername == "sqlite" and not source.is_file():
        raise ConfigError(f"there is no store {source}: nothing to back up")
    with _said_plainly(to):
        if to.exists():
            raise ConfigError(f"{to} is there already, and no backup is overwritten: choose another name")
    with _fresh(to) as path:
        if parsed.drivername == "sqlite":
            _copy(source, path)
        else:
            _download(parsed, path)
        try:
            backup = _held(path, called=source)
        except sqlite3.Error as error:
            raise ConfigError(f"the store {source} is damaged ({error}): restore it from a backup of before") from None
    return Backup(
        file=to, schema=backup.schema, credentials=backup.credentials, rotating=backup.rotating, bytes=backup.bytes
    )


def examine(file: Path) -> Backup:
    """What a backup holds. Raises `ConfigError` when it is none, is damaged, or is of a newer keyturn."""
    try:
        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
        return _held(file, called=file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except sqlite3.Error as error:
        raise ConfigError(f"{file} is no backup of a keyturn store, or a damaged one ({error}): use another") from None


def check_place(url: str, *, replace: bool = False) -> None:
    """Raises `ConfigError` as `restore` does when a store is there and is not to be replaced, or is in use by a daemon, or
    when a database on a server is not empty. Makes nothing."""
    parsed = checked(url)
    if parsed.drivername != "sqlite":
        server = open_postgres(parsed)
        try:
            check_empty(server)
        finally:
            server.close()
        return
    store = Path(parsed.database or "").resolve()
    with _said_plainly(store):
        _check_replaceable(store, replace=replace)
        if store.with_name(f"{store.name}.lock").exists():  # none: nobody has ever opened it
            WriterLock(store).release()


def restore(file: Path, url: str, *, now: datetime, replace: bool = False) -> Path | None:
    """Make the store at `url` from a backup, marked as restored: nothing is done for any credential before that is
    confirmed. A file that is there is moved aside with `replace`, and its new path returned.

    Raises `ConfigError` when the backup is none, when a store is there and is not to be replaced, or is in use, or when a
    file cannot be written. A database on a server must be empty.
    """
    examine(file)
    parsed = checked(url)
    if parsed.drivername != "sqlite":
        _upload(file, parsed, now)
        return None
    store = Path(parsed.database or "").resolve()
    with _said_plainly(store):
        _check_replaceable(store, replace=replace)
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = WriterLock(store)
        try:
            with _fresh(store) as path:
                _copy(file, path)
                _mark(path, now)
                return _moved_aside(store, f"{store.name}.until-{now:%Y%m%dT%H%M%SZ}")
        finally:
            lock.release()


def _check_replaceable(store: Path, *, replace: bool) -> None:
    if _has_content(store) and not replace:
        raise ConfigError(f"there is a store {store} already: with --replace it is moved aside first")


def _moved_aside(store: Path, name: str) -> Path | None:
    """Give what there is of a store another name beside it; the name of the first piece, or None when there was none.

    A log whose database is gone is moved as well: SQLite would take it for the log of the file that comes into its place.
    """
    if _has_content(store):
        _fold_if_sound(store)
    moved = []
    for piece in PIECES:
        there = store.with_name(store.name + piece)
        if there.exists():
            moved.append(there.replace(store.with_name(name + piece)))
    return moved[0] if moved else None


def _download(url: URL, to: Path) -> None:
    source = open_postgres(url)
    try:
        with _migrated(to) as copy:
            transfer(source, copy)
    finally:
        source.close()


def _upload(file: Path, url: URL, now: datetime) -> None:
    """By way of a file beside the backup, which is brought to this release's schema first."""
    path = file.with_name(f".{file.name}.{os.getpid()}.restored")
    store = open_postgres(url)
    try:
        with _said_plainly(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
            try:
                _copy(file, path)
                _mark(path, now)
                upgrade(store)
                with _migrated(path) as source:
                    transfer(source, store)
            finally:
                path.unlink(missing_ok=True)
    finally:
        store.close()


@contextmanager
def _migrated(path: Path) -> Iterator[Database]:
    """A SQLite file as a store of this release's schema, whole in itself afterwards."""
    database = open_sqlite(path)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    _fold(path)


def _mark(path: Path, now: datetime) -> None:
    """Before it is in its place: no daemon may ever find it without the mark."""
    store = SqlStore.open(f"sqlite:///{path}", now=lambda: now)
    try:
        store.restored(now)
    finally:
        store.close()
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    _fold(path)


def _copy(source: Path, to: Path) -> None:
    """SQLite's own online backup: all pages as of one moment, under a read lock that keeps no writer out."""
    try:
        with closing(_open(source, "rw")) as reading, closing(sqlite3.connect(to, timeout=BUSY)) as writing:
            reading.backup(writing)
        _fold(to)
    except sqlite3.Error as error:
        raise ConfigError(f"{source} cannot be copied to {to}: {error}") from None


def _fold(path: Path) -> None:
    """Take what stands in the write-ahead log into the file itself, so that it is whole alone."""
    with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")


def _fold_if_sound(store: Path) -> None:
    """As `_fold`; what is damaged stays in its pieces. Who has the file open goes first: at its end it would remove the
    log by its name, which is another's by then."""
    try:
        # Looked at without the right to write: beside a file that is no database SQLite removes the log.
        with closing(_open(store, "ro")) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _fold(store)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            raise ConfigError(f"another process has the store {store} open: end that process") from None


def _held(file: Path, *, called: Path) -> Backup:
    """What a file holds. Raises `sqlite3.Error` when it is no store's or is damaged, and `ConfigError`, which calls it by
    the name given, when it is of a newer keyturn."""
    with closing(_open(file, "ro")) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
        (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        (credentials,) = connection.execute("SELECT count(*) FROM credentials").fetchone()
        (rotating,) = connection.execute("SELECT count(*) FROM rotations WHERE live").fetchone()
    if schema > HEAD:
        raise ConfigError(
            f"{called} has schema {schema}, and this keyturn knows {HEAD}: a newer keyturn has written it"
        )
    return Backup(file=file, schema=schema, credentials=credentials, rotating=rotating, bytes=file.stat().st_size)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode={mode}", uri=True, timeout=BUSY)


@contextmanager
def _fresh(place: Path) -> Iterator[Path]:
    """A file beside a place, for its owner's eyes only, that takes it whole or not at all."""
    path = place.with_name(f".{place.name}.{os.getpid()}")
    with _said_plainly(place):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        try:
            yield path
            _flush(path)
            path.replace(place)
            _flush(place.parent)
        finally:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _said_plainly(place: Path) -> Iterator[None]:
    """What the system or SQLite refuses, as one line that names the file."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror} ({error.filename})") from None
    except sqlite3.Error as error:
        raise ConfigError(f"{place} cannot be written: {error}") from None
