"""What credentials cost that are registered and not due: a tick's processor time and the process's memory, as their
number grows, beside APScheduler with one job a credential. Each count is measured in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from benchmarks.fleet.wired import Fleet, names, register
from keyturn.app.clock import ThreadExecutor
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeBackend

TICKS = 50


def measure(count: int, what: str) -> dict[str, Any]:
    """One measurement, in another process, so that its memory is its own."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.fleet.idle", what, str(count), folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _ticks(count: int, folder: Path) -> dict[str, Any]:
    store = SqlStore.open(f"sqlite:///{folder}/store.db")
    wanted = names(count)
    register(store, wanted)
    executor, backend = ThreadExecutor(), FakeBackend()
    before, began = _mebibytes(), time.process_time()
    runtime = Fleet(wanted, lambda name: backend.target({"path": name}), shared=True).runtime(store, executor)
    runtime.tick()
    started = time.process_time() - began
    found = {"count": count, "tick_cpu_ms": _least_ms(runtime.tick), "start_cpu_s": started}
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
    found = {"count": count, "tick_cpu_ms": _least_ms(scheduler._process_jobs), "start_cpu_s": started}
    scheduler.shutdown()
    return {**found, "grown_mib": _mebibytes() - before, "process_mib": _mebibytes()}


def _least_ms(tick: Callable[[], object]) -> float:
    """Of many ticks, the processor time of the quickest: what else the machine does only adds to it."""
    spent = []
    for _ in range(TICKS):
        began = time.process_time()
        tick()
        spent.append(time.process_time() - began)
    return min(spent) * 1000


def _mebibytes() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    kind, number, place = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.stdout.write(json.dumps({"ticks": _ticks, "jobs": _jobs}[kind](int(number), Path(place))))
