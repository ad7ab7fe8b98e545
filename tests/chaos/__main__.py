"""`python -m tests.chaos`: the long form of what `test_chaos.py` tries in a minute. Stops by itself; exit 1 when anything
did not hold."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.kills import kill_through, sqlite_in

from keyturn.demo.processes import Family
from keyturn.demo.waiting import signals_end_the_run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("part", choices=["kills"])
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--chance", type=float, default=1.0)
    parser.add_argument("--rotations", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="keyturn-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}, in {folder}", flush=True)
    with signals_end_the_run(), Family() as family:
        killed = kill_through(
            family,
            folder,
            database=sqlite_in(folder),
            seed=options.seed,
            chance=options.chance,
            rotations=options.rotations,
            seconds=options.seconds,
            say=lambda line: print(line, flush=True),
        )
    for kind, count in sorted(killed.points.items()):
        print(f"{count:5} {kind}")
    print(
        f"{killed.kills} kills in {killed.rotations} rotations on {killed.store}, {killed.requests} requests, "
        f"{killed.seconds:.0f} s"
    )
    for line in killed.broken:
        print(line)
    return 1 if killed.broken else 0


if __name__ == "__main__":
    sys.exit(main())
