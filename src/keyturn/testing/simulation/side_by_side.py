"""Runs on several cores at once. A run depends on its seed and number alone, so that what comes of it is the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from keyturn.testing.simulation.run import Outcome

Run = Callable[[int], Outcome]
"""By its number. Other processes are given it: a function of a module, and what it is called with."""
AHEAD = 4
"""So many runs a process are handed out before the first of them is back."""


def cores() -> int:
    """How many processes are worth it here."""
    # A forked process has what this one has broken on purpose; one that is started anew would not.
    return (os.cpu_count() or 1) if "fork" in multiprocessing.get_all_start_methods() else 1


def outcomes(run: Run, numbers: Iterator[int], jobs: int) -> Iterator[Outcome]:
    """What comes of these runs, in their order."""
    if jobs == 1:
        yield from map(run, numbers)
        return
    with multiprocessing.get_context("fork").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        under_way = deque(pool.apply_async(run, (number,)) for number in islice(numbers, AHEAD * jobs))
        while under_way:
            yield under_way.popleft().get()
            under_way += [pool.apply_async(run, (number,)) for number in islice(numbers, 1)]
