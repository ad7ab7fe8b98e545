"""A daemon that is killed at every write of its journal and between any two, under client traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.courses import EMERGENCY, ROLLBACK, ROTATION, Course
from tests.chaos.daemons import EVERY, Daemon, Plan
from tests.chaos.driven import Driven
from tests.chaos.ground import build_ground
from tests.chaos.ledger import Ledger
from tests.integration.postgres_server import PostgresServer

from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family
from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed

NAME = "keyturn"
LEASE = 2.0
"""Seconds that a dead life's work lies still where leases are another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """How a run went."""

    rotations: int
    requests: int
    refused: int
    orphans: int
    kills: int
    """This daemon's own, of all who share its journal."""
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
    share: float = EVERY,
    cycles: int = 1,
    journal: Path | None = None,
    seconds: float,
    say: Callable[[str], None],
    sabotage: str | None = None,
) -> Killed:
    """Rotate, roll back and rotate in an emergency, again and again; each point of this share is died at, once in the
    whole run and once by all who share its journal: what a kill keeps a rotation from coming to, as it has the record of
    a call that was killed, the next one comes to. What brings no kills any more is left, and a rotation that nobody
    disturbs comes last, to show that what was killed so often still works."""
    began = time.monotonic()
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
    secret = ground.secrets[0]
    ground.start_clients(secret)
    daemon = Daemon(
        family=family,
        folder=folder,
        name=NAME,
        port=family.free_port(),
        lease=database.lease,
        sabotage=sabotage,
        journal=journal or folder / NAME,
    )
    daemon.configure(ground.configuration(store=database.store, state=folder / "state", port=daemon.port))
    daemon.plan(Plan(share=share, seed=seed))
    daemon.start()
    traffic = Traffic(client.record for client in ground.clients)
    ledger = Ledger(database.ledger)
    broken: list[str] = []
    driven = Driven(daemon=daemon, ground=ground, secret=secret, ledger=ledger, limit=began + seconds)
    with Annals(ground.gateways[secret.authority].nodes) as annals:
        for course, disturbed in _courses(cycles, driven):
            if not disturbed:
                daemon.plan(Plan())
            try:
                driven.run(course)
                if len(driven.courses) == 1:
                    driven.stop_often()
            except PartFailed as error:
                broken.append(f"rotation {len(driven.courses)}, {course.name}: {error}")
                break
            say(f"{course.name}: {driven.fresh} kills, {time.monotonic() - began:.0f} s")
        daemon.plan(Plan())
        if not broken:
            broken += verdict.rows(ground, ledger, annals, traffic, courses={secret.name: driven.courses})
    orphans = len(verdict.strangers(ground, ledger))
    for rotation in ledger.rotation_ids(secret.name):
        (folder / f"{rotation}.trail").write_text("\n".join(ledger.trail(rotation)))
    ledger.close()
    requests = traffic.read()
    return Killed(
        rotations=len(driven.courses),
        requests=len(requests),
        refused=sum(map(refused, requests)),
        orphans=orphans,
        kills=driven.kills,
        broken=broken,
    )


def _courses(cycles: int, driven: Driven) -> Iterator[tuple[Course, bool]]:
    """What comes next, and whether it is disturbed."""
    left = [ROTATION, ROLLBACK, EMERGENCY]
    for _ in range(cycles):
        for course in tuple(left):
            yield course, True
            if not driven.fresh:
                left.remove(course)
    yield ROTATION, False
