"""Several replicas on PostgreSQL, and everything that can happen to them and between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.ground import build_ground
from tests.chaos.house import House
from tests.chaos.proxy import Proxies
from tests.integration.postgres_server import remove, start_postgres

from keyturn.demo.processes import Family

LEASE = 4.0


@contextlib.contextmanager
def two_replicas(family: Family, folder: Path, *, credentials: int) -> Iterator[House]:
    """Two that share one authority of two nodes, each credential with a client."""
    ground = build_ground(
        family,
        folder,
        authorities=1,
        credentials=credentials,
        nodes=2,
        clients=1,
        busy=credentials,
        call_timeout=LEASE / 4,
    )
    server = start_postgres(family)
    try:
        with Proxies() as proxies:
            house = House(
                ground=ground,
                folder=folder,
                postgres=server,
                database=server.create_database(),
                proxies=proxies,
                lease=LEASE,
            )
            house.add().daemon.wait_ready()
            house.add().daemon.wait_ready()
            yield house
    finally:
        remove(server)
