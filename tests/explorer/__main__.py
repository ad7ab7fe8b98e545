"""`python -m tests.explorer --events 1 --seconds 240`: explore, and print the shortest trace of each breach."""

from __future__ import annotations

import argparse
import sys

from tests.explorer.report import told
from tests.explorer.search import Search
from tests.explorer.state import start


def main() -> int:
    """Exit status 1 when a promise was broken. The last line says how far the time reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    parser.add_argument("--events", type=int, default=1, help="adverse events on a path at most")
    parser.add_argument("--seconds", type=float, default=240.0, help="time for the search")
    parser.add_argument("--traces", type=int, default=10, help="how many breaches are told with their trace")
    arguments = parser.parse_args()
    search = Search(roots=[start(budget=arguments.events)], seconds=arguments.seconds)
    search.run()
    for number, breach in enumerate(search.breaches.values()):
        lines = told(search, breach) if number < arguments.traces else [breach.what]
        sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.write(summary(search) + "\n")
    return 1 if search.breaches else 0


def summary(search: Search) -> str:
    """How much was explored."""
    whole = "everything" if search.complete else f"cut off, {len(search.queue)} states not looked at"
    return (
        f"{len(search.labels)} states, up to {max(search.depths)} steps deep, in {search.elapsed:.0f} s: {whole}; "
        f"{len(search.breaches)} distinct breaches"
    )


if __name__ == "__main__":
    sys.exit(main())
