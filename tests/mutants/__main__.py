"""`make mutants`: find a killer for every mutant that has none, the cheap first, and say what killed how many.

Those that only the explorer may kill are looked for where it meets, with one adverse event, what they change; that takes
the explorer's time once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.equivalent import reason
from tests.mutants.killers import KILLERS
from tests.mutants.kills import EXPLORER, THEN, called, found, record, recorded
from tests.mutants.meetings import Meetings
from tests.mutants.touched import touched


def main() -> int:
    """Exit status 1 when a mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="time for the explorer, once")
    parser.add_argument("--again", action="store_true", help="believe no killer that was found before")
    parser.add_argument("--named", default="", help="only mutants with this in their name")
    arguments = parser.parse_args()
    kills = {name: killer for name, killer in recorded().items() if name in MUTANTS}
    wanted = [one for name, one in MUTANTS.items() if arguments.named in name]
    lives = [one for one in wanted if arguments.again or not _still(one, kills.get(one.name))]
    for one in lives:
        kills.pop(one.name, None)
    lives = [one for one in _cheap(lives, kills) if reason(one.name) is None]
    record(kills)
    if lives:
        lives = list(_explorer(lives, kills, arguments.seconds))
        record(kills)
    for one in lives:
        sys.stdout.write(f"lives: {one.name}\n")
    kinds = Counter(killer.kind for name in kills.values() if (killer := called(name)) is not None)
    said = ", ".join(f"{count} by {kind}" for kind, count in kinds.most_common())
    equivalent = sum(reason(name) is not None for name in MUTANTS)
    sys.stdout.write(f"{len(MUTANTS)} mutants: {said}; {equivalent} equivalent; {len(lives)} live\n")
    return 1 if lives else 0


def _still(mutant: Mutant, killer: str | None) -> bool:
    again = called(killer) if killer is not None else None
    return again is not None and found(mutant, again) is not None


def _cheap(mutants: list[Mutant], kills: dict[str, str]) -> Iterator[Mutant]:
    """Those that no scenario kills."""
    touches = {name: touched(killer.run) for name, killer in KILLERS.items()} if mutants else {}
    for mutant in mutants:
        for name, killer in KILLERS.items():
            if (not mutant.touches or mutant.touches & touches[name]) and (what := found(mutant, killer)) is not None:
                _say(mutant, name, what)
                kills[mutant.name] = name
                break
        else:
            yield mutant


def _explorer(mutants: list[Mutant], kills: dict[str, str], seconds: float) -> Iterator[Mutant]:
    """Those that the explorer does not kill either."""
    meetings = Meetings(seconds)
    sys.stdout.write(f"{meetings.said}\n")
    for mutant in mutants:
        for path in meetings.paths(mutant.touches):
            name = EXPLORER + THEN.join(path)
            killer = called(name)
            assert killer is not None
            begun = time.monotonic()
            if (what := found(mutant, killer)) is not None:
                _say(mutant, f"the explorer in {time.monotonic() - begun:.1f} s", what)
                kills[mutant.name] = name
                break
        else:
            times = sum(meetings.times[touch] for touch in mutant.touches)
            sys.stdout.write(f"not killed: {mutant.name}, met {times} times\n")
            yield mutant


def _say(mutant: Mutant, killer: str, what: str) -> None:
    sys.stdout.write(f"{mutant.name} ← {killer}: {what.splitlines()[0][:120]}\n")
    sys.stdout.flush()
