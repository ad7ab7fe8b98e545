"""A daemon that is killed at every write of its journal and between any two, under client traffic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.daemons import Daemon, Plan
from tests.chaos.ground import build_ground
from tests.chaos.ledger import Ledger

from keyturn.demo.processes import Family
from keyturn.demo.traffic import Traffic
from keyturn.demo.waiting import PartFailed, wait_until

AUTHORITY = "gateway"
LOOK_EVERY = 0.2
SETTLED = 3.0
"""Seconds after an end for what is done beside a rotation: messages, the first check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """How a run went."""

    seed: int
    store: str
    rotations: int
    requests: int
    points: Counter[str]
    """Kills by what was under way."""
    seconds: float
    broken: list[str]

    @property
    def kills(self) -> int:
        return self.points.total()


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


def kill_through(
    family: Family,
    folder: Path,
    *,
    database: Database,
    seed: int,
    chance: float = 1.0,
    rotations: int = 1,
    seconds: float,
    say: Callable[[str], None],
) -> Killed:
    """Rotate again and again; each new point is died at with this chance, once in the whole run. A rotation that nobody
    disturbs comes last: it shows that what was killed so often still works."""
    began = time.monotonic()
    limit = began + seconds
    ground = build_ground(
        family, folder, secrets_by_authority={AUTHORITY: 2}, nodes=1, clients=3, call_timeout=(database.lease or 10) / 2
    )
    daemon = Daemon(family=family, folder=folder, name="keyturn", port=family.free_port(), lease=database.lease)
    daemon.configure(ground.configuration(store=database.store, state=folder / "state", port=daemon.port))
    daemon.plan(Plan())
    daemon.start()
    daemon.wait_ready()
    nodes = ground.gateways[AUTHORITY].nodes
    traffic = Traffic(client.record for client in ground.clients)
    rotated: Counter[str] = Counter()
    name = ground.secrets[0].name
    ledger = Ledger(database.ledger)
    broken: list[str] = []
    with Annals(nodes) as annals:
        for number in range(1, rotations + 2):
            disturbed = number <= rotations
            daemon.plan(Plan(chance=chance if disturbed else 0.0, seed=seed))
            before = len(daemon.met)
            try:
                _rotate(daemon, ledger, name, rotated[name], limit)
                rotated[name] += 1
                _wait_end(daemon, ledger, name, limit)
            except PartFailed as error:
                broken.append(f"rotation {number}: {error}")
                break
            say(f"rotation {number}: {len(daemon.met) - before} kills, {time.monotonic() - began:.0f} s")
        daemon.plan(Plan())
        if not broken:
            _settle(daemon, ledger, name)
            broken += verdict.rows(ground, ledger, annals, traffic, rotated=rotated)
    for id in ledger.rotation_ids(name):
        (folder / f"{id}.trail").write_text("\n".join(ledger.trail(id)))
    ledger.close()
    points = Counter(str(one["point"]).split(" ")[0].rpartition("/")[2] for one in daemon.met)
    return Killed(
        seed=seed,
        store=database.name,
        rotations=rotated.total(),
        requests=len(traffic.read()),
        points=Counter(f"{kind_of(str(one['point']))}" for one in daemon.met) or points,
        seconds=time.monotonic() - began,
        broken=broken,
    )


def kind_of(point: str) -> str:
    """What was under way: the write or the call, and whether before, within or after it."""
    what, _, when = point.rpartition(": ")
    words = what.split(" ")
    return f"{words[0] if '/' not in words[0] else words[1]} {when}"


def _rotate(daemon: Daemon, ledger: Ledger, name: str, before: int, limit: float) -> None:
    """Ask until it has begun: the daemon may die of the asking."""

    def begun() -> bool:
        if len(ledger.rotation_ids(name)) > before:
            return True
        daemon.ask("POST", f"{name}/rotate", {"reason": "chaos"})
        return len(ledger.rotation_ids(name)) > before

    wait_until(begun, within=limit - time.monotonic(), what=f"{name} rotated", part=daemon.part, every=LOOK_EVERY)


def _wait_end(daemon: Daemon, ledger: Ledger, name: str, limit: float) -> None:
    wait_until(
        lambda: not ledger.rotations()[name].live,
        within=limit - time.monotonic(),
        what=f"{name} ended",
        part=daemon.part,
        every=LOOK_EVERY,
    )


def _settle(daemon: Daemon, ledger: Ledger, name: str) -> None:
    daemon.wait_ready()
    time.sleep(SETTLED)
    del ledger, name
