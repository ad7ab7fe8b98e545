"""A daemon that is killed at every write of its journal and between any two, under client traffic."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DatabaseError
from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.daemons import EVERY, Daemon, Plan
from tests.chaos.failpoints import kind_of
from tests.chaos.ground import build_ground
from tests.chaos.ledger import Ledger
from tests.integration.postgres_server import PostgresServer

from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family
from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed, wait_until

NAME = "keyturn"
LOOK_EVERY = 0.2
LEASE = 2.0
"""Seconds that a dead life's work lies still where leases are another's."""
STOPS = 3
"""Before, within and after what it writes at its end."""
SETTLED = 4
"""Ticks after an end, and after a stop, for what is done beside a rotation: messages, the first check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What daemons came by."""

    died_at: Sequence[str]
    passed: frozenset[str]
    """Those died at among them."""

    def __or__(self, others: Points) -> Points:
        return Points(died_at=[*self.died_at, *others.died_at], passed=self.passed | others.passed)

    @classmethod
    def within(cls, folder: Path) -> Points:
        """Of the daemon that was killed there."""
        died_at, passed = (_lines(folder / f"{NAME}.{kind}") for kind in ("met", "passed"))
        return cls(died_at=[json.loads(line)["point"] for line in died_at], passed=frozenset(passed))

    @property
    def kinds(self) -> Counter[str]:
        """Kills by what was under way."""
        return Counter(map(kind_of, self.died_at))

    @property
    def missed(self) -> frozenset[str]:
        """Passed, and never died at."""
        return self.passed.difference(self.died_at)

    @property
    def spared(self) -> frozenset[str]:
        """Kinds of points that nobody ever died at."""
        return frozenset(map(kind_of, self.passed)) - frozenset(self.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """How a run went."""

    rotations: int
    requests: int
    refused: int
    orphans: int
    points: Points
    broken: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a daemon keeps its state, and where it can be read beside it."""

    name: str
    store: dict[str, object]
    ledger: str
    lease: float | None = None
    """Seconds; None where what a dead daemon held is its successor's at once."""


def sqlite_in(folder: Path) -> Database:
    """The embedded default."""
    file = folder / "keyturn.db"
    return Database(name="sqlite", store={"url": f"sqlite:///{file}"}, ledger=f"sqlite:///file:{file}?mode=ro&uri=true")


def postgres_at(server: PostgresServer, folder: Path) -> Database:
    """Every life is another replica there, and waits for the leases of the one before."""
    password = write_private(folder / "postgres.password", server.password)
    url = server.url(server.create_database())
    return Database(
        name="postgres",
        store={"url": url.replace(f":{server.password}@", "@"), "password": f"file:{password}"},
        ledger=url,
        lease=LEASE,
    )


def kill_through(
    family: Family,
    folder: Path,
    *,
    database: Database,
    seed: int,
    share: tuple[float, float] = EVERY,
    rotations: int = 1,
    seconds: float,
    say: Callable[[str], None],
    sabotage: str | None = None,
) -> Killed:
    """Rotate again and again; each point of this share is died at, once in the whole run: what a kill keeps a rotation
    from coming to, as it has the record of a call that was killed, the next one comes to. A rotation that nobody disturbs
    comes last, to show that what was killed so often still works."""
    began = time.monotonic()
    limit = began + seconds
    ground = build_ground(
        family,
        folder,
        authorities=1,
        credentials=2,
        nodes=1,
        clients=2,
        busy=1,
        lively=1,
        call_timeout=(database.lease or 10) / 2,
    )
    ground.start_clients(ground.secrets[0])
    daemon = Daemon(
        family=family,
        folder=folder,
        name=NAME,
        port=family.free_port(),
        lease=database.lease,
        sabotage=sabotage,
    )
    daemon.configure(ground.configuration(store=database.store, state=folder / "state", port=daemon.port))
    daemon.plan(Plan(share=share, seed=seed))
    daemon.start()
    nodes = [node for gateway in ground.gateways.values() for node in gateway.nodes]
    traffic = Traffic(client.record for client in ground.clients)
    rotated: Counter[str] = Counter()
    name = ground.secrets[0].name
    ledger = Ledger(database.ledger)
    broken: list[str] = []
    with Annals(nodes) as annals:
        for number in range(1, rotations + 2):
            if number > rotations:
                daemon.plan(Plan())
            before = len(daemon.met)
            try:
                _rotate(daemon, ledger, name, rotated[name], limit)
                rotated[name] += 1
                _wait_end(daemon, ledger, name, limit)
                _wait_rest(daemon, limit)
                for _ in range(STOPS if number == 1 else 0):
                    with contextlib.suppress(ProcessLookupError):  # it has just been killed
                        daemon.send(signal.SIGTERM)
                    _wait_rest(daemon, limit)
            except PartFailed as error:
                broken.append(f"rotation {number}: {error}")
                break
            fresh = len(daemon.met) - before
            say(f"rotation {number}: {fresh} kills, {time.monotonic() - began:.0f} s")
            if not fresh:
                break
        daemon.plan(Plan())
        if not broken:
            broken += verdict.rows(ground, ledger, annals, traffic, rotated=rotated)
    orphans = len(verdict.strangers(ground, ledger))
    for rotation in ledger.rotation_ids(name):
        (folder / f"{rotation}.trail").write_text("\n".join(ledger.trail(rotation)))
    ledger.close()
    requests = traffic.read()
    return Killed(
        rotations=rotated.total(),
        requests=len(requests),
        refused=sum(map(refused, requests)),
        orphans=orphans,
        points=Points.within(folder),
        broken=broken,
    )


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _rotate(daemon: Daemon, ledger: Ledger, name: str, before: int, limit: float) -> None:
    """Ask until it has begun: the daemon may die of the asking."""

    def begun() -> bool:
        with contextlib.suppress(DatabaseError):  # its first lives may not have made the tables yet
            if len(ledger.rotation_ids(name)) > before:
                return True
            daemon.ask("POST", f"{name}/rotate", {"reason": "chaos"})
        return False

    wait_until(begun, within=limit - time.monotonic(), what=f"{name} rotated", part=daemon.part, every=LOOK_EVERY)


def _wait_rest(daemon: Daemon, limit: float) -> None:
    since = time.time()
    left = limit - time.monotonic()
    wait_until(
        lambda: daemon.ticks(since) >= SETTLED, within=left, what="it ticked", part=daemon.part, every=LOOK_EVERY
    )


def _wait_end(daemon: Daemon, ledger: Ledger, name: str, limit: float) -> None:
    wait_until(
        lambda: not ledger.rotations()[name].live,
        within=limit - time.monotonic(),
        what=f"{name} ended",
        part=daemon.part,
        every=LOOK_EVERY,
    )
