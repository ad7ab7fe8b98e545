"""A database's connections, each lent to one transaction at a time."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue

from sqlalchemy import Connection, Engine

from keyturn.domain.errors import KeyturnError, Transient

PATIENCE = 10.0
"""Seconds that a transaction waits for a connection: as long as for a lock."""


class Connections:
    """Lends out an engine's connections, and keeps those that come back ready for the next: to ask the engine for one takes
    longer than most statements. Safe to call from any number of threads.

    There are `most` turns. Whoever has one takes a connection that is ready, or makes one; whoever comes while all are taken
    waits `patience` seconds for one to come back. The engine's own pool must have room for as many.
    """

    def __init__(self, engine: Engine, place: str, *, most: int, patience: float = PATIENCE) -> None:
        self._engine = engine
        self._place = place
        self._patience = patience
        self._closed = False
        # Last in, first out: with one thread there is one connection.
        self._ready: list[Connection] = []
        # A semaphore in all but name, at a tenth of its cost.
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(most):
            self._turns.put(None)

    def take(self) -> Connection:
        """A connection, until `give_back` or `drop`. Raises `Transient` when none came back in time."""
        try:
            self._turns.get(timeout=self._patience)
        except Empty:
            raise Transient(f"the store at {self._place} is overloaded: every connection is taken") from None
        try:
            return self._next()
        except BaseException:
            self._turns.put(None)
            raise

    def _next(self) -> Connection:
        if self._closed:
            raise KeyturnError(f"the store at {self._place} is closed")
        try:
            return self._ready.pop()
        except IndexError:
            return self._engine.connect()

    def give_back(self, connection: Connection) -> None:
        """Its transaction has ended well."""
        self._ready.append(connection)
        self._turns.put(None)
        if self._closed:
            self.forget()

    def drop(self, connection: Connection) -> None:
        """Its transaction has failed: the engine is to see whether it is still of use."""
        try:
            connection.close()
        finally:
            self._turns.put(None)

    def forget(self) -> None:
        """Give the engine all that are ready."""
        with suppress(IndexError):
            while True:
                self._ready.pop().close()

    def close(self) -> None:
        """Lend out no more; what is lent goes when it comes back."""
        self._closed = True
        self.forget()
