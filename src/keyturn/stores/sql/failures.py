"""What a database's driver raises, in the project's own words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from keyturn.domain.errors import ConfigError, Invalid, KeyturnError, Transient

BROKEN = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"})
MENDS = {
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_BUSY": "another process has locked it: end that process",
    "SQLITE_LOCKED": "another process has locked it: end that process",
    "SQLITE_READONLY": "it may not be written: give this user the right to write the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened: its folder must exist and this user must be allowed to write it",
    "SQLITE_PERM": "it may not be read: give this user the right to",
    "SQLITE_IOERR": "the disk reports an error: look into the system's log",
}

BROKEN_STATES = frozenset({"XX001", "XX002"})
"""PostgreSQL's own: data or an index is corrupted."""
MENDS_BY_STATE = {
    "28P01": "the server refuses the password: see store.password",
    "28000": "the server does not let this user in: see store.url and the server's pg_hba.conf",
    "3D000": "there is no such database: create it, owned by this user",
    "42501": "this user may not do that: make it the owner of the database",
    "53100": "the server's disk is full: free some space",
    "53300": "the server takes no more connections: raise its max_connections",
    "25006": "it may only be read: connect to the primary",
    "40001": "another replica was writing: the next try finds it done",
    "40P01": "another replica was writing: the next try finds it done",
    "55P03": "another replica holds what it needs: the next try finds it free",
    "57014": "it took too long",
}
AT_THE_DOOR = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    '" does not exist': "3D000",
}
"""What a server says to whom it does not let in, for which the driver has no code: in English, whatever else it speaks is
transient."""
NEEDS_A_PERSON = frozenset({"28P01", "28000", "3D000", "42501"})


@contextmanager
def failures_mapped(place: str) -> Iterator[None]:
    """Let none but the project's own errors through; `place` names the store in them."""
    try:
        yield
    except SQLAlchemyError as error:
        raise mapped(error, place) from error
    except sqlite3.IntegrityError as error:
        raise KeyturnError(f"the store at {place} refuses an inconsistent record: {error}") from error
    except sqlite3.DataError as error:
        raise Invalid(f"the store at {place} cannot hold this value: {error}") from error
    except sqlite3.Error as error:
        raise _of_driver(error, place) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise Invalid(f"the store at {place} cannot hold this value: {error}") from error


def mapped(error: SQLAlchemyError, place: str) -> KeyturnError:
    """A driver's error as one of ours. Statements carry no parameters here, so neither does the message."""
    if isinstance(error, IntegrityError):
        return KeyturnError(f"the store at {place} refuses an inconsistent record: {error.orig}")
    if isinstance(error, DataError):
        return Invalid(f"the store at {place} cannot hold this value: {error.orig}")
    if isinstance(error, DBAPIError):
        return _of_driver(error.orig, place)
    if isinstance(error, StatementError):
        return Invalid(f"the store at {place} cannot hold this value: {error.orig}")
    return KeyturnError(f"the store at {place} failed: {error}")


def _of_driver(error: object, place: str) -> KeyturnError:
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return Invalid(f"the store at {place} cannot hold this value: {error}")
    said = (code for text, code in AT_THE_DOOR.items() if text in str(error))
    state = getattr(error, "sqlstate", None) or next(said, None)
    if state is not None:
        return _of_server(state, error, place)
    name = getattr(error, "sqlite_errorname", None) or ""
    primary = "_".join(name.split("_")[:2])
    if primary in BROKEN or (isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error)):
        return KeyturnError(f"the store at {place} is damaged ({error}): restore it from a backup")
    mend = MENDS.get(primary)
    return Transient(f"the store at {place} cannot be used now ({mend or error})")


def _of_server(state: str, error: object, place: str) -> KeyturnError:
    if state in BROKEN_STATES:
        return KeyturnError(f"the store at {place} is damaged ({error}): restore it from a backup")
    why = MENDS_BY_STATE.get(state) or str(error).strip()
    if state in NEEDS_A_PERSON:
        return ConfigError(f"the store at {place} cannot be used: {why}")
    return Transient(f"the store at {place} cannot be used now ({why})")
