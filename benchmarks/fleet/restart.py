"""How long a daemon that was killed over many live rotations takes, once it is started again: until its first decision,
and until it has looked at every rotation and gone on with it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fleet.wired import SOURCE, Fleet, make_due, names
from keyturn.app.clock import SystemClock, ThreadExecutor
from keyturn.domain.model import Rotation
from keyturn.ports.records import Commit
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeBackend


def measure(count: int) -> dict[str, Any]:
    """Seconds from the opening of the store."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as place:
        url = f"sqlite:///{Path(place)}/store.db"
        wanted, backend = names(count), FakeBackend()
        fleet = Fleet(wanted, lambda name: backend.target({"path": name}))
        for name in wanted:
            backend.place(name).overwrite(fleet.first_value(name))
        _begin(fleet, url, wanted)
        return {"rotations": count, **_again(fleet, url, count)}


def _begin(fleet: Fleet, url: str, wanted: list[str]) -> None:
    store, executor = SqlStore.open(url), ThreadExecutor()
    runtime = fleet.runtime(store, executor)
    runtime.tick()
    make_due(store, wanted)
    runtime.ingest.push(SOURCE, [], watermark=SystemClock().now(), id=None)
    runtime.tick()
    executor.close()
    store.close()


def _again(fleet: Fleet, url: str, count: int) -> dict[str, Any]:
    commits: list[float] = []

    class Watched(SqlStore):
        """Notes when each decision was committed."""

        def commit(self, commit: Commit) -> Rotation:
            committed = super().commit(commit)
            commits.append(time.perf_counter())
            return committed

    began, spent = time.perf_counter(), time.process_time()
    store, executor = Watched.open(url), ThreadExecutor()
    fleet.runtime(store, executor).tick()
    everything, spent = time.perf_counter() - began, time.process_time() - spent
    executor.close()
    store.close()
    assert len(commits) >= count, f"{len(commits)} of {count} rotations went on"  # noqa: S101 - what is claimed
    return {"first_decision_s": commits[0] - began, "all_s": everything, "all_cpu_s": spent}
