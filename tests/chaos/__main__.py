"""`python -m tests.chaos`: the long forms of what `test_chaos.py` tries in a minute. Each stops by itself and prints its
seed and a table; exit 1 as soon as anything did not hold. `--times 10` is ten passes in a row, each of another seed."""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.asleep import SLEEPS, play
from tests.chaos.kills import kill_through, postgres_at, sqlite_in
from tests.chaos.points import Points
from tests.chaos.replicas import replicas
from tests.chaos.storm import Weathered, weather
from tests.integration.postgres_server import remove, start_postgres

from keyturn.demo.processes import Family, python_module
from keyturn.demo.waiting import signals_end_the_run

ALONE = (1, 1)
"""The share that is all."""
CYCLES = 6
"""Of kills: enough to come to the end of the longest call, each step of which is died at once."""
AUTHORITIES = 20
"""A table that many credentials share is hardly ever at rest, and each of them waits for that."""
STOPPING = 60.0
"""Seconds for a part that has run out of time to say so."""
LIVELY = 6
"""Authorities with a client."""
STORM_LEASE = 20.0
"""Longer than it takes to go through all of them once on a slow machine."""
STORM_TICK = 1.0
BEGIN_AFTER = 25.0
"""Seconds to read all credentials first, and to start all clients."""
STORM_DRIFT = "20s"
"""Those at rest are not looked at all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one part went."""

    figures: str
    broken: Sequence[str]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its one way out


def kills(options: argparse.Namespace, family: Family, folder: Path) -> Ended:
    """Killed at every write, on one store."""
    database = sqlite_in(folder)
    server = None
    if options.store == "postgres":
        server = start_postgres(family)
        database = postgres_at(server, folder)
    journal = _journal(folder.parent, options.seed, options.store)
    killed = kill_through(
        family,
        folder,
        database=database,
        seed=options.seed,
        cycles=options.cycles,
        journal=journal,
        seconds=options.seconds,
        say=say,
    )
    if server is not None:
        remove(server)
    broken = list(killed.broken)
    if options.share == ALONE:
        broken += _everywhere(journal, options.cycles)
    return Ended(
        figures=f"{killed.kills} kills in {killed.rotations} rotations, {killed.requests} requests, "
        f"{killed.refused} refused, {killed.orphans} orphans",
        broken=broken,
    )


def _journal(folder: Path, seed: int, store: str) -> Path:
    """Where the points of all kills on one store are written down, by all who are killed on it."""
    return folder / f"{seed}-kills-{store}"


def _everywhere(journal: Path, cycles: int) -> Sequence[str]:
    """Tell the points, and which of them nobody was killed at; of a run that was cut short that is no fault."""
    points = Points.beside(journal)
    for line in points.tell():
        say(line)
    return list(points.broken()) if cycles >= CYCLES else ()


def sleeps(options: argparse.Namespace, family: Family, folder: Path) -> Ended:
    """Asleep between lease check and call."""
    number, shares = options.share
    chosen = [sleep for sleep in SLEEPS if options.only in sleep.name][number - 1 :: shares]
    woken = []
    with replicas(family, folder, count=2, credentials=2 * len(chosen), nodes=2, busy=2 * len(chosen)) as house:
        for place, sleep in enumerate(chosen):
            subject, bystander = house.ground.secrets[2 * place : 2 * place + 2]
            one = play(house, subject, bystander, sleep)
            say(
                f"{one.name:28} slept {one.slept:5.1f} s, refused {one.refused:3}, "
                f"undone after {one.undone_after:4.1f} s{'  BROKEN' if one.broken else ''}"
            )
            woken.append(one)
    return Ended(
        figures=f"{len(woken)} sleeps, undone after {max((one.undone_after for one in woken), default=0):.1f} s at most",
        broken=[f"{one.name}: {line}" for one in woken for line in one.broken],
    )


def storm(options: argparse.Namespace, family: Family, folder: Path) -> Ended:
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
        lively=LIVELY,
        lease=STORM_LEASE,
        tick=STORM_TICK,
        drift_every=STORM_DRIFT,
        begin_after=BEGIN_AFTER,
    ) as house:
        for secret in house.ground.secrets:
            if secret.clients:
                house.ground.start_clients(secret)
        weathered = weather(house, seed=options.seed, seconds=options.seconds, say=say)
    for fault, count in sorted(weathered.faults.items()):
        say(f"{count:5} {fault}")
    return Ended(
        figures=f"{weathered.rotations} rotations, {weathered.at_once} at once, "
        f"{weathered.faults.total()} faults, {weathered.requests} requests, "
        f"{weathered.refused} refused, {weathered.orphans} orphans; {weathered.under_way} under way at the end of the "
        f"storm, which waited {weathered.waited:.1f} s at most, of {weathered.bound:.1f} s allowed",
        broken=[*weathered.broken, *(f"there was no {kind}" for kind in weathered.lacking), *_too_late(weathered)],
    )


def _too_late(weathered: Weathered) -> Sequence[str]:
    return () if weathered.under_way else ["nothing was under way any more when the last fault was over"]


PARTS: dict[str, Callable[[argparse.Namespace, Family, Path], Ended]] = {
    "kills": kills,
    "sleeps": sleeps,
    "storm": storm,
}
ALL = (("storm", "postgres", 1), ("kills", "postgres", 3), ("kills", "sqlite", 1), ("sleeps", "postgres", 3))
"""At the same time, in so many shares: most of it waits, for leases and for silence."""
LEAST_KILLS = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("part", choices=["all", *PARTS])
    parser.add_argument("--times", type=int, default=1, help="passes, while all of them hold")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="of the first pass; then one more each"
    )
    parser.add_argument("--seconds", type=float, default=1800.0, help="the longest that a part may take")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="of `kills`")
    parser.add_argument(
        "--share", type=_share, default=ALONE, help="of `sleeps`: 2/3 is the second third; of `kills`: of three at once"
    )
    parser.add_argument(
        "--cycles", type=int, default=CYCLES, help="of `kills`: disturbed rotations of each course, at most"
    )
    parser.add_argument("--credentials", type=int, default=200, help="of `storm`")
    parser.add_argument("--only", default="", help="of `sleeps`: those with this in their name")
    parser.add_argument("--keep", type=Path, help="a folder for everything that the parts write")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="keyturn-chaos-"))
    passed: list[str] = []
    with signals_end_the_run():
        for seed in range(options.seed, options.seed + options.times):
            say(f"seed {seed}, in {folder}")
            options.seed = seed
            if options.part == "all":
                ended = _all(options, folder)
            else:
                ended = [_run(options.part, options.store if options.part == "kills" else "postgres", options, folder)]
            passed += [one.figures for one in ended]
            for line in (line for one in ended for line in one.broken):
                say(line)
            if any(one.broken for one in ended):
                return 1
    if len(passed) > 1:
        say(f"== {options.times} times in a row")
        for line in passed:
            say(line)
    return 0


def _share(word: str) -> tuple[int, int]:
    number, _, shares = word.partition("/")
    return int(number), int(shares)


def _all(options: argparse.Namespace, folder: Path) -> list[Ended]:
    """Parts beside each other, each in a process of its own; what they say is told when all have ended."""
    shares = [(part, store, (number, of)) for part, store, of in ALL for number in range(1, of + 1)]
    with Family() as family:
        started = {
            (part, store, share): family.start(
                _name(part, store, share),
                [
                    *python_module("tests.chaos", part, "--store", store, "--keep", str(folder)),
                    *("--seed", str(options.seed), "--seconds", str(options.seconds), "--only", options.only),
                    *("--share", "/".join(map(str, share)), "--cycles", str(options.cycles)),
                    *("--credentials", str(options.credentials)),
                ],
                log=folder / f"{options.seed}-{_name(part, store, share)}.log",
                cwd=Path.cwd(),
            )
            for part, store, share in shares
        }
        until = time.monotonic() + options.seconds + STOPPING
        ended = []
        for part in started.values():
            said = part.wait_exit(until)
            lines = part.log.read_text().splitlines()
            say("\n".join(lines[1:]))
            figures = next((line for line in reversed(lines) if line.startswith(f"seed {options.seed}, ")), part.name)
            held = said and part.exit_code == 0
            ended.append(Ended(figures=figures, broken=() if held else (f"{part.name} did not hold",)))
    if any(one.broken for one in ended):
        return ended
    return [*ended, _all_kills(options.seed, folder, options.cycles)]


def _all_kills(seed: int, folder: Path, cycles: int) -> Ended:
    """Of all shares: enough, and on each store at every point."""
    kills, broken = 0, []
    for store in ("sqlite", "postgres"):
        say(f"== all kills on {store}")
        journal = _journal(folder, seed, store)
        broken += [f"on {store}: {line}" for line in _everywhere(journal, cycles)]
        kills += len(Points.beside(journal).died_at)
    if kills < LEAST_KILLS:
        broken.append(f"{kills} kills, of {LEAST_KILLS} at least")
    return Ended(figures=f"seed {seed}, all kills: {kills}", broken=broken)


def _run(part: str, store: str, options: argparse.Namespace, folder: Path) -> Ended:
    say(f"== {_name(part, store, options.share)}")
    below = folder / f"{options.seed}-{_name(part, store, options.share)}"
    below.mkdir(parents=True)
    began, used = time.monotonic(), _processor_seconds()
    with Family() as family:
        ended = PARTS[part](argparse.Namespace(**{**vars(options), "store": store}), family, below)
    spent = f"{time.monotonic() - began:.0f} s, {_processor_seconds() - used:.0f} s of processor"
    figures = f"seed {options.seed}, {_name(part, store, options.share)}: {ended.figures}; {spent}"
    say(figures)
    return Ended(figures=figures, broken=ended.broken)


def _name(part: str, store: str, share: tuple[int, int]) -> str:
    number, shares = share
    return f"{part}-{store}" + (f"-{number}-of-{shares}" if shares > 1 else "")


def _processor_seconds() -> float:
    """What this process and all that it has waited for have used."""
    own, parts = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + parts.ru_utime + parts.ru_stime


if __name__ == "__main__":
    sys.exit(main())
