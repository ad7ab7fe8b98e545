"""Group commit: what several threads write at the same time reaches the disk with one flush, which takes longer than
most writes do. For SQLite, which lets one transaction write at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection

from keyturn.stores.sql.query import say

MOST = 32
"""So many writes share a flush: the first of them waits for the last."""
OVERDUE = 1.0
"""Seconds after which a group is ended by one who waits for it: whoever was to join it has not come."""


class GroupCommit:
    """Lets threads write one after another, and commits once nobody else is waiting to."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        """`begin` makes a transaction that is committed when it is left, or rolled back when it is left by an error."""
        self._begin = begin
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._open: _Group | None = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write that is on disk when it is left without an error, and undone alone when it is left by one.

        When the commit fails, or the database has rolled everything back, all whose writes were part of it fail.
        """
        failure: BaseException | None = None
        with self._queue():
            group = self._open or _Group(self._begin())
            self._open = None
            try:
                say(group.connection, "SAVEPOINT one")
                yield group.connection
                say(group.connection, "RELEASE one")
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
                group.undo(error)
            group.writes += 1
            if group.failure is None and self._waiting and group.writes < MOST:
                self._open = group
            else:
                group.end()
        # Also with a failure of its own: that may follow from what another of the group has written.
        while not group.ended.wait(OVERDUE):
            self.flush()
        if group.failure is not None:
            raise group.failure
        if failure is not None:
            raise failure

    def flush(self) -> None:
        """Wait for the write under way, and have on disk what is written."""
        with self._turn:
            if self._open is not None:
                self._open.end()
                self._open = None

    @contextmanager
    def _queue(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._counting:
                self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()


class _Group:
    """Writes in one transaction, each under its savepoint."""

    def __init__(self, transaction: AbstractContextManager[Connection]) -> None:
        self._transaction = transaction
        self.connection = transaction.__enter__()
        self.writes = 0
        self.failure: BaseException | None = None
        """Why nothing of it is on disk."""
        self.ended = threading.Event()

    def undo(self, error: BaseException) -> None:
        """Take the newest write back. A full or failing disk makes the database take everything back by itself."""
        try:
            say(self.connection, "ROLLBACK TO one")
            say(self.connection, "RELEASE one")
        except sqlite3.Error:
            self.failure = error

    def end(self) -> None:
        """Commit, or give up what is lost."""
        try:
            if self.failure is None:
                self._transaction.__exit__(None, None, None)
            else:
                self._transaction.__exit__(type(self.failure), self.failure, None)
        except BaseException as error:  # noqa: BLE001 - raised by all who wait for it
            self.failure = error
        finally:
            self.ended.set()
