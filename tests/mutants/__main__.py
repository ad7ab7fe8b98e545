"""`make mutants`: find a killer for every mutant that has none."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.equivalent import reason
from tests.mutants.killers import KILLERS
from tests.mutants.kills import called, found, record, recorded
from tests.mutants.touched import touched


def main() -> int:
    """Exit status 1 when a mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--again", action="store_true", help="believe no killer that was found before")
    parser.add_argument("--named", default="", help="only mutants with this in their name")
    arguments = parser.parse_args()
    kills = {name: killer for name, killer in recorded().items() if name in MUTANTS and reason(name) is None}
    wanted = [one for name, one in MUTANTS.items() if arguments.named in name and reason(name) is None]
    lives = [one for one in wanted if arguments.again or not _still(one, kills.get(one.name))]
    for one in lives:
        kills.pop(one.name, None)
    lives = list(_sought(lives, kills))
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


def _sought(mutants: list[Mutant], kills: dict[str, str]) -> Iterator[Mutant]:
    """Those that no scenario kills."""
    touches = {name: touched(killer.run) for name, killer in KILLERS.items()} if mutants else {}
    for mutant in mutants:
        for name, killer in KILLERS.items():
            if (not mutant.touches or mutant.touches & touches[name]) and (what := found(mutant, killer)) is not None:
                sys.stdout.write(f"{mutant.name}: {name}: {what}\n")
                kills[mutant.name] = name
                break
        else:
            yield mutant


if __name__ == "__main__":
    sys.exit(main())
