"""What credentials cost that are registered and not due: a tick's processor time, the share of a core that an idle daemon
takes, and the process's memory, as their number grows, beside APScheduler with one job a credential. Each count is measured
in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from benchmarks.fleet.wired import Fleet, names, register
from keyturn.app.clock import ThreadExecutor
from keyturn.config.schema import ConfigFile
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeBackend

TICKS = 200
EVERY: timedelta = ConfigFile.model_fields["tick"].default
"""Between two ticks of a daemon, where the configuration names no other pace."""


def measure(count: int, what: str) -> dict[str, Any]:
    """One measurement, in another process, so that its memory is its own."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.fleet.idle", what, str(count), folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times as long a tick takes with the most credentials as with the fewest."""
    found = []
    for what in dict.fromkeys(row["what"] for row in rows):
        few, *_, many = sorted((row for row in rows if row["what"] == what), key=lambda row: int(row["count"]))
        found.append(
            {
                "what": what,
                "credentials": many["count"] / few["count"],
                "least_tick": many["least_cpu_ms"] / few["least_cpu_ms"],
                "mean_tick": many["mean_cpu_ms"] / few["mean_cpu_ms"],
            }
        )
    return found


def _ticks(count: int, folder: Path) -> dict[str, Any]:
    store = SqlStore.open(f"sqlite:///{folder}/store.db")
    wanted = names(count)
    register(store, wanted)
    executor, backend = ThreadExecutor(), FakeBackend()
    before, began = _mebibytes(), time.process_time()
    runtime = Fleet(wanted, lambda name: backend.target({"path": name}), shared=True).runtime(store, executor)
    runtime.tick()
    started = time.process_time() - began
    found = {"count": count, **_passes(runtime.tick), "start_cpu_s": started}
    executor.close()
    store.close()
    return {**found, "grown_mib": _mebibytes() - before, "process_mib": _mebibytes()}


def _jobs(count: int, folder: Path) -> dict[str, Any]:
    del folder
    before, began = _mebibytes(), time.process_time()
    scheduler = BackgroundScheduler(timezone=UTC)
    later = datetime.now(UTC) + timedelta(days=1)
    for name in names(count):
        scheduler.add_job(print, IntervalTrigger(days=90, timezone=UTC), args=(name,), id=name, next_run_time=later)
    scheduler.start()
    started = time.process_time() - began
    found = {"count": count, **_passes(scheduler._process_jobs), "start_cpu_s": started}
    scheduler.shutdown()
    return {**found, "grown_mib": _mebibytes() - before, "process_mib": _mebibytes()}


def _passes(tick: Callable[[], object]) -> dict[str, float]:
    """Of many ticks, the processor time of the quickest, which what else the machine does only adds to, and of the mean;
    and what the mean takes of a core when there is one each EVERY."""
    spent = []
    for _ in range(TICKS):
        began = time.process_time()
        tick()
        spent.append(time.process_time() - began)
    mean = sum(spent) / TICKS
    return {
        "least_cpu_ms": min(spent) * 1000,
        "mean_cpu_ms": mean * 1000,
        "core_percent": 100 * mean / EVERY.total_seconds(),
    }


def _mebibytes() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    kind, number, place = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.stdout.write(json.dumps({"ticks": _ticks, "jobs": _jobs}[kind](int(number), Path(place))))
