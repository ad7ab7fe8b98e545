"""Reads and replaces a key table's file: whole or not at all, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keyturn.domain.errors import Absent, Denied, Failure, Transient
from keyturn.plugins.gateway.nginx_table import KeyTable, parse_table

_POLL = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIdentity:
    """One state of the file: another write, by anyone, has another identity."""

    device: int
    inode: int
    modified_ns: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> TableIdentity:
        return cls(device=found.st_dev, inode=found.st_ino, modified_ns=found.st_mtime_ns, size=found.st_size)


class TableFile:
    """One key table. What is kept beside it has hidden names, which no `include` pattern of nginx matches."""

    def __init__(self, path: Path) -> None:
        # Through a link the file itself is replaced, not the link.
        self.path = Path(os.path.realpath(path))

    def beside(self, suffix: str) -> Path:
        """The path of a hidden file that belongs to this table."""
        return self.path.with_name(f".{self.path.name}.{suffix}")

    def read(self) -> tuple[KeyTable, TableIdentity]:
        """The table and the identity of just this state of it. Raises `Absent`, `Denied`, or `Invalid` by line."""
        with failures(self.path), self.path.open("rb") as file:
            text = file.read()
            identity = TableIdentity.of(os.fstat(file.fileno()))
        # A hand's comment in another encoding goes back as it came.
        return parse_table(text.decode("utf-8", "surrogateescape"), where=str(self.path)), identity

    def identity(self) -> TableIdentity:
        with failures(self.path):
            return TableIdentity.of(self.path.stat())

    @contextlib.contextmanager
    def locked(self, *, within: float) -> Iterator[None]:
        """Alone among all who change this table on this machine, whatever leases they hold."""
        deadline = time.monotonic() + within
        with failures(self.path):
            descriptor = os.open(self.beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise Transient(f"{self.path}: locked by another writer for {within:g} s") from None
                    time.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def prepare(self, table: KeyTable) -> Replacement:
        """A file of the new text, durable beside the table, with its owner and mode; not in place yet."""
        path = self.beside(f"{secrets.token_hex(8)}.tmp")
        with failures(self.path):
            for left in self.path.parent.glob(f".{self.path.name}.*.tmp"):
                left.unlink(missing_ok=True)  # of a writer that died: we hold the lock
            former = self.path.stat()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(table.text().encode("utf-8", "surrogateescape"))
                    file.flush()
                    if (former.st_uid, former.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(file.fileno(), former.st_uid, former.st_gid)
                    os.fchmod(file.fileno(), former.st_mode & 0o777)
                    os.fsync(file.fileno())
                    identity = TableIdentity.of(os.fstat(file.fileno()))
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return Replacement(table=self, path=path, identity=identity)

    def put(self, name: Path, data: bytes) -> None:
        """Write one of the files beside the table, whole and durable."""
        fresh = name.with_name(f"{name.name}.new")
        with failures(name):
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(name)
            self.sync_folder()

    def sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A new state of a table, ready to take its place, and able to give it back."""

    table: TableFile
    path: Path
    identity: TableIdentity

    @property
    def _former(self) -> Path:
        return self.table.beside("former")

    def take_place(self) -> None:
        with failures(self.table.path):
            # The old file itself is kept, so that going back also brings back its identity.
            self._former.unlink(missing_ok=True)
            os.link(self.table.path, self._former)
            self.path.replace(self.table.path)
            self.table.sync_folder()

    def give_back(self) -> None:
        with failures(self.table.path):
            self._former.replace(self.table.path)
            self.table.sync_folder()

    def keep(self) -> None:
        with failures(self.table.path):
            self._former.unlink(missing_ok=True)


@contextlib.contextmanager
def failures(path: Path) -> Iterator[None]:
    """Errors of the file system as ours; they name the place and the system's word, never content."""
    try:
        yield
    except Failure:
        raise
    except PermissionError as error:
        raise Denied(f"{path}: {error.strerror}; keyturn must be able to read and replace it") from None
    except FileNotFoundError:
        raise Absent(f"{path}: no such file; create it, empty if need be, where nginx includes it") from None
    except OSError as error:
        raise Transient(f"{path}: {error.strerror or type(error).__name__}") from None
