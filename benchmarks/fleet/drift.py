"""What it costs to look, between rotations, whether everything is still as the last one left it: the processor time of one
check over fakes, and what the checks of many credentials take of a core."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from typing import Any

from benchmarks.fleet.stopwatch import Stopwatch
from benchmarks.fleet.wired import SOURCE, Fleet, make_due, names
from keyturn.app.clock import SystemClock, ThreadExecutor
from keyturn.domain.policy import Policy
from keyturn.runtime.tick import Runtime
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.credentials import set_check
from keyturn.testing.fakes import FakeBackend

EVERY = Policy().drift_every
"""Between two checks of one credential, where its policy names no other pace."""
MOST_TICKS = 50
ROUNDS = 5


def measure(checks: int, credentials: int) -> dict[str, Any]:
    """The mean check of `ROUNDS` ticks in each of which so many are due, and the share of a core for `credentials`."""
    wanted, backend = names(checks), FakeBackend()
    fleet = Fleet(wanted, lambda name: backend.target({"path": name}))
    for name in wanted:
        backend.place(name).overwrite(fleet.first_value(name))
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as folder:
        store, executor = SqlStore.open(f"sqlite:///{folder}/store.db"), ThreadExecutor()
        runtime = fleet.runtime(store, executor)
        _rotate(runtime, store, wanted)
        # Without anything due, to be taken off.
        idle = _ticks(runtime, store, [])
        spent = _ticks(runtime, store, wanted) - idle
        now = datetime.now(UTC)
        checked = sum(known.check_at is not None and known.check_at > now for known in store.credentials().values())
        executor.close()
        store.close()
    each, a_second = spent / ROUNDS / checks, credentials / EVERY.total_seconds()
    return {
        "credentials": checks,
        "checked": checked,
        "check_cpu_ms": each * 1000,
        "of": credentials,
        "checks_a_second": a_second,
        "core_percent": 100 * each * a_second,
    }


def _rotate(runtime: Runtime, store: SqlStore, wanted: list[str]) -> None:
    """Once, to its end: what was never rotated has nothing that could have drifted."""
    make_due(runtime, store, wanted)
    for _ in range(MOST_TICKS):
        runtime.ingest.push(SOURCE, [], watermark=SystemClock().now(), id=None)
        runtime.tick()
        if not store.rotating():
            return


def _ticks(runtime: Runtime, store: SqlStore, due: list[str]) -> float:
    """Seconds of processor that `ROUNDS` ticks take, before each of which the checks of these have come due."""
    spent = 0.0
    for _ in range(ROUNDS):
        with store._database.write() as connection:
            for name in due:
                set_check(connection, name, datetime.now(UTC))
        watch = Stopwatch()
        runtime.tick()
        spent += watch.read().cpu
    return spent
