"""How long a daemon that was killed over many live rotations takes, once it is started again: until its first decision,
and until every rotation has been gone on with and no intent of the killed process is open.

Counted from the start of the process, with all that `keyturn serve` imports. The killed one is a process of its own
(killed.py); what its fakes held is read by the new one, and that does not count.
"""

from __future__ import annotations

import importlib
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from benchmarks.fleet import handover
from benchmarks.fleet.killed import STORE, WORLD, open_intents
from benchmarks.fleet.stopwatch import Stopwatch
from keyturn.app.clock import ThreadExecutor
from keyturn.domain.model import Rotation
from keyturn.ports.records import Commit
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.database import Database

SERVED_BY = ("keyturn.cli", "keyturn.api")
MOST_TICKS = 5


def measure(count: int) -> dict[str, Any]:
    """Seconds from the start of the second process."""
    # In the middle of the tick, so that some rotations are gone on with, some stand where they stood and some in between.
    commits = random.randrange(count // 4, 3 * count // 4)
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as folder:
        killed = [sys.executable, "-m", "benchmarks.fleet.killed", folder, str(count), str(commits)]
        ended = subprocess.run(killed, check=False, capture_output=True, text=True)
        if ended.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the process was to be killed and was not: {ended.stderr[-2000:]}")
        again = [sys.executable, "-m", "benchmarks.fleet.restart", folder, str(time.monotonic())]
        done = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    spent = measured["cpu_s"]
    return {"rotations": count, "killed_after": commits, **measured, "cpu_ms_a_rotation": 1000 * spent / count}


class WatchedStore(SqlStore):
    """Notes when the first decision was committed, and whose were."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.first = math.inf
        self.decided: set[str] = set()

    def commit(self, commit: Commit) -> Rotation:
        committed = super().commit(commit)
        self.first = min(self.first, time.monotonic())
        self.decided.add(committed.id)
        return committed


def _again(folder: Path, began: float) -> dict[str, Any]:
    for module in SERVED_BY:
        importlib.import_module(module)
    loading = Stopwatch()
    left = handover.read(folder / WORLD)
    loaded = loading.read()
    began += loaded.wall
    store, executor = WatchedStore(SqlStore.open(f"sqlite:///{folder / STORE}")._database), ThreadExecutor()
    runtime = left.fleet.runtime(store, executor)
    ticks, gone_on, still_open = 0, 0, left.open_intents
    while ticks < MOST_TICKS and (gone_on < len(left.fleet.registry.credentials) or still_open):
        runtime.tick()
        ticks += 1
        everything, spent = time.monotonic() - began, time.process_time() - loaded.cpu
        gone_on, still_open = len(store.decided), open_intents(store)
    executor.close()
    store.close()
    return {
        "open_intents": left.open_intents,
        "settled": left.open_intents - still_open,
        "first_decision_s": store.first - began,
        "all_s": everything,
        "ticks": ticks,
        "gone_on": gone_on,
        "cpu_s": spent,
    }


if __name__ == "__main__":
    place, moment = sys.argv[1:]
    with Path("/dev/null").open("w") as nowhere:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere))
        sys.stdout.write(json.dumps(_again(Path(place), float(moment))))
