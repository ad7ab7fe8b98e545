"""Writes what many threads have been told at one time in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keyturn.domain.errors import Refused
from keyturn.ports.records import Told

MOMENT = 0.05
"""Seconds that a write waits for batches that are being read."""

Answer = bool | Exception


class _Waiting:
    """What one thread was told, and what became of it."""

    __slots__ = ("answer", "told")

    def __init__(self, told: Told) -> None:
        self.told = told
        self.answer: Answer | None = None


class Flush:
    """While one thread writes, others queue; the next that has its turn writes for all of them, in the order in which they
    came, and waits a moment for those that are about to. Nobody is answered before what it was told is durable, and as many
    batches as there are threads are held in memory, never more."""

    def __init__(self, write: Callable[[Sequence[Told]], Sequence[bool | Refused]]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._arrived = threading.Condition()
        self._arriving = 0
        self._queue: list[_Waiting] = []

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """While a batch is read: whoever writes meanwhile waits for it, `MOMENT` at most."""
        with self._arrived:
            self._arriving += 1
        try:
            yield
        finally:
            with self._arrived:
                self._arriving -= 1
                self._arrived.notify_all()

    def add(self, told: Told) -> bool:
        """Whether it was new, once it is durable. Raises `Refused`, and whatever the store does."""
        mine = _Waiting(told)
        with self._arrived:
            self._queue.append(mine)
            self._arrived.notify_all()
        with self._turn:
            if mine.answer is None:
                self._write_all()
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return mine.answer is True

    def _write_all(self) -> None:
        with self._arrived:
            # Those in the queue are still under way themselves.
            self._arrived.wait_for(lambda: self._arriving <= len(self._queue), timeout=MOMENT)
            together, self._queue = self._queue, []
        try:
            answers: Sequence[Answer] = self._write([one.told for one in together])
        except Exception as error:  # noqa: BLE001 - told to each that waits: nobody may take no answer for an old one
            answers = [error] * len(together)
        for one, answer in zip(together, answers, strict=True):
            one.answer = answer
