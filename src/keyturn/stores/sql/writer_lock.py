"""The lock of a store's one writer: the operating system's, so that it dies with its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from keyturn.domain.errors import ConfigError


class WriterLock:
    """Holds `<store>.lock`, with this process's id in it for whoever finds it held.

    The file stays when the lock goes: unlinking it would let two holders have one each.
    """

    def __init__(self, store: Path) -> None:
        path = store.with_name(f"{store.name}.lock")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be opened ({error.strerror}): this user must be allowed to write it"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise ConfigError(
                f"the store {store} is in use by another keyturn (process {holder}): stop that one, or set another "
                "store.url; SQLite has one writer, and several replicas need PostgreSQL"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise ConfigError(f"{path} cannot be locked ({error.strerror}): keep the store on a local disk") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._file)
