"""`python -m tests.chaos`: the long forms of what `test_chaos.py` tries in a minute. Each stops by itself and prints its
seed and a table; exit 1 when anything did not hold."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.chaos.asleep import SLEEPS, play
from tests.chaos.kills import kill_through, postgres_at, sqlite_in
from tests.chaos.replicas import replicas
from tests.chaos.storm import weather
from tests.integration.postgres_server import remove, start_postgres

from keyturn.demo.processes import Family
from keyturn.demo.waiting import signals_end_the_run

AUTHORITIES = 5
STORM = {"lease": 30.0, "tick": 1.0}
"""Longer than it takes to go through all of them once on a slow machine."""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its one way out


def kills(options: argparse.Namespace, family: Family, folder: Path) -> list[str]:
    """Killed at every write, on one store."""
    database = sqlite_in(folder)
    server = None
    if options.store == "postgres":
        server = start_postgres(family)
        database = postgres_at(server, folder)
    killed = kill_through(
        family,
        folder,
        database=database,
        seed=options.seed,
        chance=options.chance,
        rotations=options.rotations,
        seconds=options.seconds,
        say=say,
    )
    if server is not None:
        remove(server)
    for kind, count in sorted(killed.points.items()):
        say(f"{count:5} {kind}")
    if options.chance == 1.0:
        say(f"{len(killed.missed)} points were passed and not died at: {', '.join(sorted(killed.missed)) or 'none'}")
    say(
        f"{killed.kills} kills in {killed.rotations} rotations on {killed.store}, {killed.requests} requests, "
        f"{killed.seconds:.0f} s"
    )
    return killed.broken


def sleeps(options: argparse.Namespace, family: Family, folder: Path) -> list[str]:
    """Asleep between lease check and call."""
    chosen = [sleep for sleep in SLEEPS if options.only in sleep.name]
    broken = []
    with replicas(family, folder, count=2, credentials=2 * len(chosen), nodes=2, busy=2 * len(chosen)) as house:
        for number, sleep in enumerate(chosen):
            subject, bystander = house.ground.secrets[2 * number : 2 * number + 2]
            woken = play(house, subject, bystander, sleep)
            say(
                f"{woken.name:28} slept {woken.slept:5.1f} s, refused {woken.refused:3}, "
                f"undone after {woken.undone_after:4.1f} s{'  BROKEN' if woken.broken else ''}"
            )
            broken += [f"{sleep.name}: {line}" for line in woken.broken]
    return broken


def storm(options: argparse.Namespace, family: Family, folder: Path) -> list[str]:
    """Three replicas, and whatever can happen to them."""
    per_authority = -(-options.credentials // AUTHORITIES)
    with replicas(
        family,
        folder,
        count=3,
        authorities=AUTHORITIES,
        credentials=per_authority,
        nodes=1,
        busy=1,
        **STORM,
        begin_after=15 + options.credentials / 8,
    ) as house:
        for gateway in house.ground.gateways:
            house.ground.start_clients(next(one for one in house.ground.secrets if one.authority == gateway))
        weathered = weather(house, seed=options.seed, storm_seconds=options.storm, seconds=options.seconds, say=say)
    for fault, count in sorted(weathered.faults.items()):
        say(f"{count:5} {fault}")
    say(
        f"{weathered.rotations} rotations, {weathered.faults.total()} faults, {weathered.requests} requests, "
        f"{weathered.seconds:.0f} s; {weathered.under_way} under way at the end of the storm, which waited "
        f"{weathered.waited:.1f} s at most, of {weathered.bound:.1f} s allowed"
    )
    return weathered.broken


PARTS: dict[str, Callable[[argparse.Namespace, Family, Path], list[str]]] = {
    "kills": kills,
    "sleeps": sleeps,
    "storm": storm,
}
ALL = (("kills", "sqlite"), ("kills", "postgres"), ("sleeps", "postgres"), ("storm", "postgres"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("part", choices=["all", *PARTS])
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--seconds", type=float, default=1800.0, help="the longest that a part may take")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="of `kills`")
    parser.add_argument("--chance", type=float, default=1.0, help="of `kills`: that a point is died at")
    parser.add_argument("--rotations", type=int, default=4, help="of `kills`: that are disturbed")
    parser.add_argument("--credentials", type=int, default=200, help="of `storm`")
    parser.add_argument("--storm", type=float, default=300.0, help="of `storm`: seconds that faults go on, at most")
    parser.add_argument("--only", default="", help="of `sleeps`: those with this in their name")
    parser.add_argument("--keep", type=Path, help="a folder for everything that the parts write")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="keyturn-chaos-"))
    say(f"seed {options.seed}, in {folder}")
    broken = []
    with signals_end_the_run():
        for part, store in (
            ALL if options.part == "all" else [(options.part, options.store if options.part == "kills" else "postgres")]
        ):
            say(f"== {part} on {store}")
            below = folder / f"{part}-{store}"
            below.mkdir(parents=True)
            with Family() as family:
                chosen = argparse.Namespace(**{**vars(options), "store": store})
                broken += [f"{part} on {store}: {line}" for line in PARTS[part](chosen, family, below)]
    for line in broken:
        say(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
