"""Several replicas on one PostgreSQL, each with ways of its own to every part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.chaos.daemons import Daemon, Plan
from tests.chaos.ground import Ground, Ways
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import Proxies, Proxy
from tests.integration.postgres_server import PostgresServer

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A daemon, and the proxies on its ways by the part that they lead to."""

    daemon: Daemon
    ways: dict[str, Proxy]


@dataclass(kw_only=True)
class House:
    """Everything of a run with replicas."""

    ground: Ground
    folder: Path
    postgres: PostgresServer
    database: str
    proxies: Proxies
    lease: float
    tick: float
    points: bool = True
    starting: datetime | None = None
    replicas: list[Replica] = field(default_factory=list)
    """Those that serve now."""
    everyone: list[Replica] = field(default_factory=list)
    """Those that ever did."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        write_private(self.folder / "postgres.password", self.postgres.password)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.postgres.url(self.database))

    def add(self) -> Replica:
        """One more replica, started and not waited for."""
        name = f"replica-{next(self._numbers)}"
        ways = {"postgres": self._way(self.postgres.port), "openbao": self._way(_port(self.ground.openbao.address))}
        ways["receiver"] = self._way(_port(self.ground.receiver.rstrip("/")))
        ways |= {node.name: self._way(node.port) for gateway in self.ground.gateways.values() for node in gateway.nodes}
        daemon = Daemon(
            family=self.ground.family,
            folder=self.folder,
            name=name,
            port=self.ground.family.free_port(),
            lease=self.lease,
            always=True,
            points=self.points,
        )
        url = self.postgres.url(self.database)
        secret = f":{self.postgres.password}@"
        database = url.replace(secret, "@").replace(f":{self.postgres.port}/", f":{ways['postgres'].port}/")
        daemon.configure(
            self.ground.configuration(
                store={"url": database, "password": f"file:{self.folder / 'postgres.password'}"},
                state=self.folder / "state",
                port=daemon.port,
                tick=self.tick,
                starting=self.starting,
                ways=Ways(
                    openbao=f"http://{LOOPBACK}:{ways['openbao'].port}",
                    nodes={
                        node.name: f"http://{LOOPBACK}:{ways[node.name].port}"
                        for gateway in self.ground.gateways.values()
                        for node in gateway.nodes
                    },
                    receiver=f"http://{LOOPBACK}:{ways['receiver'].port}/",
                ),
            )
        )
        daemon.plan(Plan())
        daemon.start()
        replica = Replica(daemon=daemon, ways=ways)
        self.replicas.append(replica)
        self.everyone.append(replica)
        return replica

    def _way(self, to: int) -> Proxy:
        return self.proxies.open(self.ground.family.free_port(), to)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
