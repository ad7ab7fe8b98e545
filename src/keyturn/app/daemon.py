"""The wired daemon: store, plugins, runtime, and the clock that calls it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from datetime import timedelta
from random import Random, SystemRandom
from types import TracebackType

import structlog

from keyturn.app.clock import Beat, SystemClock, ThreadExecutor
from keyturn.app.metrics import Metrics
from keyturn.app.state import fingerprint_key, grant_tokens, make_folder
from keyturn.app.storage import open_store
from keyturn.app.wiring import close, wire
from keyturn.config import Config
from keyturn.domain.errors import ConfigError, KeyturnError
from keyturn.logs import place_of
from keyturn.ports.clock import Clock
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry
from keyturn.runtime.tick import Runtime

log = structlog.get_logger(__name__)

LATE = 3
"""The clock counts as stopped once the last good tick is this many intervals, and a while, ago."""
WHILE = timedelta(seconds=60)


class Daemon:
    """Everything that runs, between `start` and `stop`."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        registry: Registry,
        clock: Clock,
        executor: ThreadExecutor,
        runtime: Runtime,
        random: Random,
    ) -> None:
        self.config = config
        self.store = store
        self.registry = registry
        self.clock = clock
        self.executor = executor
        self.runtime = runtime
        self.metrics = Metrics(store, runtime.ingest.counts, registry)
        self._last_good = clock.monotonic()
        self._defects = 0
        self._beat = Beat(self.tick, config.tick, random)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Tick from now on."""
        self._beat.start()

    def wake(self, name: str | None = None) -> None:
        """Tick at once, and work on the credential of that name beside the tick under way, which may take long for the
        others: an operator waits for what was just asked."""
        if not self._beat.running:
            return
        if name is not None:
            self.executor.apart(lambda: self.runtime.work_on(name))
        self._beat.wake()

    def tick(self) -> None:
        """One pass; whatever it raises, the daemon lives and the next tick tries again."""
        began = time.monotonic()
        try:
            self.runtime.tick()
        except KeyturnError as error:
            self.metrics.failed_ticks.labels(kind="failure").inc()
            log.warning("tick ended early", kind=type(error).__name__, error=str(error))
        except Exception as error:  # noqa: BLE001 - a defect must not stop the clock
            self.metrics.failed_ticks.labels(kind="defect").inc()
            log.error("tick met a defect", **place_of(error))  # noqa: TRY400 - a traceback may show values
        else:
            self._last_good = self.clock.monotonic()
            self.metrics.ticks.inc()
            if self.runtime.defects > self._defects:
                # Contained and logged where it was met, by the pass or beside it, and worth a report all the same.
                self._defects = self.runtime.defects
                self.metrics.failed_ticks.labels(kind="defect").inc()
            self.metrics.last_tick.set(self.clock.now().timestamp())
        finally:
            self.metrics.tick_seconds.observe(time.monotonic() - began)

    def unready(self) -> str | None:
        """Why the daemon does not do its work now; None when it does."""
        silent = timedelta(seconds=self.clock.monotonic() - self._last_good)
        if silent > self.config.tick * LATE + WHILE:
            return f"no tick has ended well for {silent.total_seconds():.0f} s: see the log"
        try:
            self.store.sources()
        except KeyturnError as error:
            return f"the store cannot be read: {error}"
        return None

    def stop(self) -> None:
        """Let what runs end, then give everything back."""
        self._beat.stop()
        self.executor.close()
        with contextlib.suppress(KeyturnError):  # then what it holds runs out
            self.runtime.resign()
        close(self.registry)
        self.store.close()


def open_daemon(config: Config) -> Daemon:
    """Wire what the configuration describes. Raises `ConfigError` when it cannot run; calls nothing outside."""
    clock, executor = SystemClock(), ThreadExecutor()
    registry = wire(config, clock)
    try:
        make_folder(config.state_dir)
        store = open_store(config)
    except BaseException:
        close(registry)
        raise
    try:
        _check_removed(store, registry)
        key = fingerprint_key(config.state_dir, store)
        pushing = [name for name, source in registry.sources.items() if source.poll is None]
        grant_tokens(config.state_dir, store, pushing)
    except BaseException:
        close(registry)
        store.close()
        raise
    runtime = Runtime(
        store=store,
        registry=registry,
        clock=clock,
        executor=executor,
        fingerprint_key=key,
        owner=_owner(config),
        retention=config.retention,
    )
    return Daemon(
        config=config,
        store=store,
        registry=registry,
        clock=clock,
        executor=executor,
        runtime=runtime,
        random=SystemRandom(),
    )


def _owner(config: Config) -> str:
    """Who holds the leases. SQLite has one writer, by a lock that dies with it: the next process goes on with the leases
    of the last one at once. On PostgreSQL every process is another, and waits for them to expire."""
    if config.store_url.startswith("sqlite"):
        return "writer"
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def _check_removed(store: Store, registry: Registry) -> None:
    """A credential that rotates must stay configured until it is done: nobody else would take its old key away.

    By name: a rotation that cannot be read is a matter of its credential, and keeps nobody from starting."""
    gone = [name for name in store.rotating() if name not in registry.credentials]
    if gone:
        raise ConfigError(
            f"{', '.join(gone)} still rotates and is not in the configuration any more: put it back until the rotation has "
            "ended"
        )
