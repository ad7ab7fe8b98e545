"""`python -m tests.mutants.searches`: what explorer and stateful test say of each mutant, within their time in CI.

The record of killers is what CI runs again; this is where it comes from: minutes a mutant, and no scenario chosen by hand.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test
from tests.domain.emergencies import one_report_each
from tests.domain.interludes import Interludes, stories, two_causes_each
from tests.domain.rotations import one_event_each
from tests.domain.test_stateful import BUDGET
from tests.domain.unknowns import unknown_each
from tests.explorer.search import Search
from tests.explorer.state import start
from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.equivalent import reason

from keyturn.domain.errors import Refused

SECONDS = 300.0
"""What CI gives the explorer at most."""


def fixed(_: float) -> str | None:
    """The stateful test's cases without chance: one event, one report, one story, or two causes at once, anywhere."""
    one_event_each()
    one_report_each()
    stories()
    unknown_each()
    two_causes_each()
    return None


def explored(seconds: float) -> str | None:
    """The first promise that the explorer sees broken, with one adverse event."""
    search = Search(roots=[start(budget=1)], seconds=seconds, first=True)
    search.run()
    return next(iter(search.breaches), None)


def drawn(_: float) -> str | None:
    """The stateful test's examples, as many as CI runs, each time with a fresh seed."""

    @seed(random.SystemRandom().randrange(2**32))
    class Seeded(Interludes):
        """The rules, with this seed."""

    run_state_machine_as_test(Seeded, settings=settings(BUDGET, phases=[Phase.generate]))
    return None


SEARCHES: dict[str, Callable[[float], str | None]] = {"events": fixed, "explorer": explored, "stateful": drawn}
"""The quick first."""


def searched(mutant: Mutant, seconds: float) -> tuple[str, str]:
    """Which search kills a mutant, and with what."""
    with pytest.MonkeyPatch.context() as patch:
        mutant.patch(patch)
        for name, search in SEARCHES.items():
            if (what := _found(search, seconds)) is not None:
                return name, what.splitlines()[0]
    return "none", ""


def _found(search: Callable[[float], str | None], seconds: float) -> str | None:
    try:
        return search(seconds)
    except (AssertionError, KeyError, Refused) as found:
        return f"{type(found).__name__}: {found}"
    except (HypothesisException, ExceptionGroup) as found:
        return type(found).__name__


def _told(name: str, seconds: float) -> tuple[str, str, str, float]:
    began = time.monotonic()
    how, what = searched(MUTANTS[name], seconds)
    return name, how, what, time.monotonic() - began


def main() -> int:
    """Exit status 1 when a mutant lives that is not said to be equivalent."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.searches", description=__doc__)
    parser.add_argument("--named", default=[""], nargs="+", help="only mutants with one of these in their name")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for the explorer, each")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    arguments = parser.parse_args()
    wanted = [name for name in MUTANTS if any(part in name for part in arguments.named)]
    names = [name for name in wanted if reason(name) is None]
    counts: Counter[str] = Counter()
    # A process for each: what a search remembers goes with it.
    with multiprocessing.get_context("fork").Pool(arguments.jobs, maxtasksperchild=1) as pool:
        asked = [pool.apply_async(_told, (name, arguments.seconds)) for name in names]
        for one in asked:
            name, how, what, took = one.get()
            counts[how] += 1
            sys.stdout.write(f"{how}\t{took:.0f} s\t{name}\t{what}\n")
            sys.stdout.flush()
    sys.stdout.write(", ".join(f"{count} by {how}" for how, count in counts.most_common()) + "\n")
    return 1 if counts["none"] else 0


if __name__ == "__main__":
    sys.exit(main())
