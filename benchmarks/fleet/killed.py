"""A daemon's process that begins rotations and is killed in the middle of a tick: `python -m benchmarks.fleet.killed
FOLDER ROTATIONS COMMITS` dies once it has committed so many decisions of that tick.

The kill falls between the commit of an intent and its outcome. A daemon of 16 threads leaves few intents open so; of the
decisions before, a part is carried out and its outcome is not written down, as when the store fails before the process does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import structlog
from sqlalchemy import func, select

from benchmarks.fleet import handover
from benchmarks.fleet.wired import SOURCE, Fleet, make_due, names
from keyturn.app.clock import SystemClock, ThreadExecutor
from keyturn.domain.model import Rotation
from keyturn.ports.records import Commit, IntentState, Outcome
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.tables import intents
from keyturn.testing.fakes import FakeBackend

STORE = "store.db"
WORLD = "world.pickle"
UNANSWERED = 0.05
"""The share of the rotations that is left with calls that were made and intents that are open."""
SETTLED = 2.0
"""Seconds after which no thread does anything any more: calls of fakes take microseconds, and a group's commit is waited
for one second."""


class MortalStore(SqlStore):
    """Kills its process after a number of commits."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._counting = threading.Lock()
        self._commits = 0
        self._unanswered_from = self._last = sys.maxsize
        self._last_words: Callable[[], None] = lambda: None

    def die_after(self, commits: int, *, unanswered: int, last_words: Callable[[], None]) -> None:
        """Counted from now on; the outcomes of the last `unanswered` are lost."""
        self._commits, self._last = 0, commits
        self._unanswered_from = commits - unanswered
        self._last_words = last_words

    def commit(self, commit: Commit) -> Rotation:
        with self._counting:
            self._commits += 1
            turn = self._commits
        if turn > self._last:
            _stand_still()
        committed = super().commit(commit)
        if turn == self._last:
            # The other threads come to a stand at their next write: what is written of the world is what the store
            # knows of it, or a call more.
            time.sleep(SETTLED)
            self._last_words()
            os.kill(os.getpid(), signal.SIGKILL)
        return committed

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        if self._commits >= self._last:
            _stand_still()
        if self._commits <= self._unanswered_from:
            super().record(effect_id, attempt, outcome)

    def bind(self, credential: str, target: str, backend_id: str, serial: int) -> None:
        if self._commits >= self._last:
            _stand_still()
        super().bind(credential, target, backend_id, serial)


def open_intents(store: SqlStore) -> int:
    """How many have no outcome."""
    with store._database.read() as connection:
        wanted = select(func.count()).select_from(intents).where(intents.c.state == IntentState.OPEN)
        return connection.execute(wanted).scalar_one()


def _stand_still() -> NoReturn:
    while True:
        time.sleep(60)


def _live_and_die(folder: Path, count: int, commits: int) -> None:
    wanted, backend = names(count), FakeBackend()
    fleet = Fleet(wanted, lambda name: backend.target({"path": name}))
    for name in wanted:
        backend.place(name).overwrite(fleet.first_value(name))
    store = MortalStore(SqlStore.open(f"sqlite:///{folder / STORE}")._database)
    runtime = fleet.runtime(store, ThreadExecutor())
    make_due(runtime, store, wanted)
    runtime.ingest.push(SOURCE, [], watermark=SystemClock().now(), id=None)
    runtime.tick()
    store.die_after(
        commits,
        unanswered=int(count * UNANSWERED),
        last_words=lambda: handover.write(folder / WORLD, handover.Left(fleet, open_intents(store))),
    )
    runtime.tick()
    raise SystemExit(f"the tick ended before {commits} decisions were committed")


if __name__ == "__main__":
    place, rotations, after = sys.argv[1:]
    with Path("/dev/null").open("w") as nowhere:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere))
        _live_and_die(Path(place), int(rotations), int(after))
