"""Replicas with threads and connections of their own on one PostgreSQL, ticking at the same moments."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
import yaml
from tests.integration.postgres_server import PostgresServer
from tests.unit.runtime.rig import KEY, NAME, Rig

from keyturn.app.clock import ThreadExecutor
from keyturn.app.storage import open_store
from keyturn.config import load_config
from keyturn.domain.phases import Phase
from keyturn.domain.schedule import Schedule
from keyturn.ports.store import Store
from keyturn.runtime.claims import LEASE
from keyturn.runtime.registry import Registry
from keyturn.runtime.tick import Runtime
from keyturn.stores.sql import SqlStore

REPLICAS = 3
CREDENTIALS = 6


class Replicas:
    """So many processes' worth of runtimes, for a rig whose credential stands for several of the same kind."""

    def __init__(self, rig: Rig, url: str, registry: Registry) -> None:
        self.rig = rig
        self.executors = [ThreadExecutor(4) for _ in range(REPLICAS)]
        self.stores = [SqlStore.open(url, now=rig.clock.now) for _ in range(REPLICAS)]
        self.runtimes = [
            Runtime(
                store=store,
                registry=registry,
                clock=rig.clock,
                executor=executor,
                fingerprint_key=KEY,
                owner=f"replica {number}",
                met=rig.meet,
            )
            for number, (store, executor) in enumerate(zip(self.stores, self.executors, strict=True))
        ]
        self._threads = ThreadPoolExecutor(REPLICAS)

    def tick(self) -> None:
        """All of them, at once."""
        together = Barrier(len(self.runtimes))

        def tick(runtime: Runtime) -> None:
            together.wait()
            runtime.tick()

        list(self._threads.map(tick, self.runtimes))

    def close(self) -> None:
        self._threads.shutdown()
        for executor in self.executors:
            executor.close()
        for store in self.stores:
            store.close()


@pytest.fixture
def replicas(postgres_url: str) -> Iterator[Replicas]:
    rig = Rig(open_store=lambda now: SqlStore.open(postgres_url, now=now), schedule=Schedule(every=LEASE * 10))
    wired = rig.registry.credential(NAME)
    credentials = {}
    for number in range(CREDENTIALS):
        name = f"{NAME}-{number}"
        first = rig.authority.new_key(name)
        issuer = rig.authority.credential({})
        issuer.install(first.key_id, first.value, ("one", "two"))
        targets = {path: rig.backend.target({"path": f"{name}/{path}"}) for path in rig.targets}
        for path in rig.targets:
            rig.backend.place(f"{name}/{path}").overwrite(first.value.reveal())
        credentials[name] = replace(wired, name=name, issuer=issuer, targets=targets)
    made = Replicas(rig, postgres_url, replace(rig.registry, credentials=credentials))
    yield made
    made.close()
    rig.store.close()


def test_replicas_at_once_do_each_thing_once(replicas: Replicas) -> None:
    """Three replicas that tick at the same moments start each due rotation once, send each effect once, bring all to
    their end, and deliver each message once."""
    rig, store = replicas.rig, replicas.stores[0]
    replicas.tick()
    assert len(store.credentials()) == CREDENTIALS
    rig.clock.advance(LEASE * 10)
    for _ in range(80):
        rig.clock.advance(1)
        # Nobody uses these keys: the source tells so.
        replicas.runtimes[0].ingest.push("gateway", [], watermark=rig.clock.now(), id=None)
        replicas.tick()
        latest = [store.latest_of(name) for name in store.credentials()]
        if all(one is not None and one.phase is Phase.COMPLETED for one in latest):
            break
    rotations = [one for one in latest if one is not None]
    assert {one.phase for one in rotations} == {Phase.COMPLETED}
    for one in rotations:
        trail = store.history(one.credential)
        assert [line.kind for line in trail].count("started") == 1
        attempts = {name: intent.attempts for name, intent in store.journal(one.id).items()}
        # Whoever finds the shared key table taken closes the intent as not sent, and tries again at the next tick.
        assert {number for name, number in attempts.items() if "/promote/" in name} == {1}
    told = [(payload["credential"], payload["text"]) for payload in rig.notifier.payloads]
    assert len(told) == len(set(told)) > CREDENTIALS


def configured(folder: Path, postgres: PostgresServer, database: str) -> Store:
    """The store that a configuration names, opened as the daemon opens it."""
    (folder / "password").write_text(f"{postgres.password}\n")
    (folder / "password").chmod(0o600)
    url = postgres.url(database).replace(f":{postgres.password}@", "@")
    config = folder / "keyturn.yaml"
    store = {"url": url, "password": f"file:{folder / 'password'}"}
    config.write_text(yaml.safe_dump({"store": store, "state_dir": "state"}))
    return open_store(load_config(config))


def test_url_alone_decides(tmp_path: Path, postgres: PostgresServer, postgres_url: str, postgres_store: str) -> None:
    """A configuration whose `store.url` names PostgreSQL, with the password by reference, opens it; two can at once."""
    one, two = (configured(tmp_path, postgres, postgres_store) for _ in range(2))
    (lease,) = one.claim(["table"], "a", ttl=LEASE)
    assert two.holds(lease)
    one.close()
    two.close()
