"""Many rotations at once against a real OpenBao, beside a bare thread pool that makes the same calls in the same order."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter

from benchmarks.fleet.stopwatch import Spent, Stopwatch
from benchmarks.fleet.wired import SOURCE, Fleet, make_due, names
from keyturn.app.clock import SystemClock, ThreadExecutor
from keyturn.demo.openbao import OpenBao, start_openbao
from keyturn.demo.processes import Family
from keyturn.domain.phases import Phase
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault.backend import VaultBackend
from keyturn.ports.plugin import Surroundings
from keyturn.stores.sql import SqlStore

WORKERS = 16
MOUNT = "bench"
FRESH = "again"
FIELD = "key"
MOST_TICKS = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as it was sent."""

    method: str
    url: str
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class Recording:
    """What was sent, by tick and credential."""

    ticks: list[dict[str, list[Call]]] = field(default_factory=list)

    def next_tick(self) -> None:
        self.ticks.append(defaultdict(list))

    def heard(self, method: str, url: str, arguments: Mapping[str, Any]) -> None:
        # The credential's name is part of each path that is asked for it; logins and renewals are nobody's.
        name = next((part for part in url.split("/") if part.startswith("credential-")), "")
        self.ticks[-1][name[: len("credential-000000")]].append(Call(method, url, arguments))

    @property
    def calls(self) -> int:
        return sum(len(calls) for tick in self.ticks for calls in tick.values())


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """Every request of the backend's client is noted, and sent."""
    real = RawAdapter.request

    def request(adapter: RawAdapter, method: str, url: str, *args: Any, **arguments: Any) -> requests.Response:
        recording.heard(method, url, arguments)
        answer: requests.Response = real(adapter, method, url, *args, **arguments)
        return answer

    RawAdapter.request = request
    try:
        yield
    finally:
        RawAdapter.request = real


def measure(count: int) -> dict[str, Any]:
    """Seconds of `count` rotations by keyturn, and of their calls alone: by the wall, and of this process's processor."""
    recording = Recording()
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as place, Family() as family:
        folder = Path(place)
        bao = start_openbao(family, folder / "openbao")
        bao.create_kv_mount(MOUNT)
        spent, completed = _rotate(bao, folder, count, recording)
        bare = _replay(bao, recording)
    return {
        "rotations": count,
        "completed": completed,
        "calls": recording.calls,
        "keyturn_s": spent.wall,
        "bare_s": bare.wall,
        "ratio": spent.wall / bare.wall,
        "keyturn_cpu_s": spent.cpu,
        "bare_cpu_s": bare.cpu,
    }


def _rotate(bao: OpenBao, folder: Path, count: int, recording: Recording) -> tuple[Spent, int]:
    clock = SystemClock()
    token = SecretValue(bao.root_token)
    backend = VaultBackend(
        "bench",
        {"address": bao.address, "mount": MOUNT, "prefix": "keyturn", "auth": {"token": "env:UNUSED"}},
        Surroundings(clock=clock, resolve=lambda _: token),
    )
    wanted = names(count)
    fleet = Fleet(wanted, lambda name: backend.target({"path": name, "field": FIELD}))
    for name in wanted:
        bao.write_secret(MOUNT, name, {FIELD: fleet.first_value(name)})
    store = SqlStore.open(f"sqlite:///{folder}/store.db")
    executor = ThreadExecutor(WORKERS)
    runtime = fleet.runtime(store, executor)
    make_due(runtime, store, wanted)
    with recorded(recording):
        watch = Stopwatch()
        for _ in range(MOST_TICKS):
            recording.next_tick()
            runtime.ingest.push(SOURCE, [], watermark=clock.now(), id=None)
            runtime.tick()
            if not store.rotating():
                break
        spent = watch.read()
    latest = map(store.latest_of, wanted)
    completed = sum(rotation is not None and rotation.phase is Phase.COMPLETED for rotation in latest)
    executor.close()
    backend.close()
    store.close()
    return spent, completed


def _replay(bao: OpenBao, recording: Recording) -> Spent:
    """The same calls, on another mount that is as theirs was before them: what one credential asked for in one tick follows
    one another, what several did runs side by side."""
    bao.create_kv_mount(FRESH)
    for name in sorted({name for tick in recording.ticks for name in tick if name}):
        bao.write_secret(FRESH, name, {FIELD: "before"})
    adapter = RawAdapter(base_uri=bao.address)
    # As the product's: a connection for each thread, and no look into the environment at each request.
    adapter.session.mount("http://", HTTPAdapter(pool_maxsize=WORKERS))
    adapter.session.trust_env = False

    def send(calls: list[Call]) -> None:
        for call in calls:
            adapter.request(call.method, call.url.replace(f"/{MOUNT}/", f"/{FRESH}/", 1), **call.arguments)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        watch = Stopwatch()
        for tick in recording.ticks:
            for done in [pool.submit(partial(send, calls)) for calls in tick.values()]:
                done.result()
        return watch.read()
