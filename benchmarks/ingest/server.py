"""The daemon under load, on one core: `python -m benchmarks.ingest.server MODE FOLDER`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import yaml

from keyturn.app.clock import SystemClock, ThreadExecutor
from keyturn.app.daemon import Daemon
from keyturn.app.serving import HttpServer, listen
from keyturn.app.state import grant_tokens
from keyturn.config import load_config
from keyturn.domain.model import Version, VersionState
from keyturn.domain.observations import SourceKind
from keyturn.domain.policy import Policy
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.runtime.tick import Runtime
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeAuthority

SOURCE = "gateway"
CREDENTIALS = 10
RESOLUTION = timedelta(seconds=10)


def credential(number: int) -> str:
    """Its name; its two versions' key ids begin with it."""
    return f"credential-{number}"


def main() -> None:
    """Serve until SIGTERM; the first line told is the address."""
    mode, folder = sys.argv[1], Path(sys.argv[2])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config_file = folder / "keyturn.yaml"
    push = {"type": "push", "resolution": "10s", "reports_per_second": 10_000_000}
    config_file.write_text(
        yaml.safe_dump(
            {
                "store": {"url": "sqlite:///keyturn.db"},
                "http": {"listen": "127.0.0.1:0"},
                "sources": {SOURCE: push},
            }
        )
    )
    config = load_config(config_file)
    store = SqlStore.open(f"sqlite:///{folder}/keyturn.db")
    issuer = FakeAuthority("one").credential({})
    wired = {}
    for number in range(CREDENTIALS):
        name = credential(number)
        wired[name] = WiredCredential(
            name=name, issuer=issuer, targets={}, policy=Policy(), schedule=None, sources=(SOURCE,)
        )
        version = Version(serial=1, state=VersionState.CURRENT, key_id=f"{name}k1", fingerprint="0" * 64)
        store.register(name, version, due_at=None)
    source = WiredSource(
        name=SOURCE, kind=SourceKind.AUTHENTICATION, sees_failures=True, resolution=RESOLUTION, poll=None
    )
    registry = Registry(credentials=wired, sources={SOURCE: source})
    clock, executor = SystemClock(), ThreadExecutor()
    grant_tokens(folder, store, [SOURCE])
    runtime = Runtime(
        store=store, registry=registry, clock=clock, executor=executor, fingerprint_key=b"0" * 32, owner="benchmark"
    )
    if mode == "parse":
        only_parse(runtime)
    daemon = Daemon(
        config=config, store=store, registry=registry, clock=clock, executor=executor, runtime=runtime, random=Random()
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with listen(config) as listener, daemon:
        server = HttpServer(daemon, listener)
        server.start()
        print(server.url, flush=True)
        while not ended.wait(1):
            runtime.ingest.poll()  # what every tick begins with
        runtime.ingest.poll()
        server.stop()


def only_parse(runtime: Runtime) -> None:
    """The same server, which takes nothing of what it has parsed."""

    def push(*arguments: Any, **options: Any) -> bool:
        del arguments, options
        return True

    runtime.ingest.push = push  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
