"""Several replicas on PostgreSQL, and everything that can happen to them and between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos.ground import build_ground
from tests.chaos.house import House
from tests.chaos.proxy import Proxies
from tests.integration.postgres_server import remove, start_postgres

from keyturn.demo.processes import Family

LEASE = 4.0
TICK = 0.3
LONGEST_CALL = 5.0


@contextlib.contextmanager
def replicas(
    family: Family,
    folder: Path,
    *,
    count: int,
    authorities: int = 1,
    credentials: int,
    nodes: int,
    busy: int,
    lively: int = 1,
    lease: float = LEASE,
    tick: float = TICK,
    drift_every: str = "1s",
    begin_after: float | None = None,
) -> Iterator[House]:
    """So many replicas, ready, with as many authorities of `nodes` nodes, each with so many credentials, of which the
    first `busy` have a client at the first `lively` authorities. `begin_after`: seconds until all credentials are due;
    None: on command alone."""
    ground = build_ground(
        family,
        folder,
        authorities=authorities,
        credentials=credentials,
        nodes=nodes,
        clients=1,
        busy=busy,
        lively=lively,
        call_timeout=min(LONGEST_CALL, lease / 2 / nodes),
        drift_every=drift_every,
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
                lease=lease,
                tick=tick,
                points=begin_after is None,
                starting=None if begin_after is None else datetime.now(UTC) + timedelta(seconds=begin_after),
            )
            # The first alone: it makes the key and the tokens that all share.
            house.add().daemon.wait_ready()
            for one in [house.add() for _ in range(count - 1)]:
                one.daemon.wait_ready()
            yield house
    finally:
        remove(server)
