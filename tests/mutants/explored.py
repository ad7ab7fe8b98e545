"""The explorer as a killer: led along a path to where a mutant matters, it looks at everything that may follow."""

from __future__ import annotations

from collections.abc import Sequence

from tests.explorer import promises
from tests.explorer.daemon import look_and_decide
from tests.explorer.search import TICK, Search, step, steps
from tests.explorer.state import start

SECONDS = 30.0
"""More than any path needs that was found to lead to a breach."""


def explore(path: Sequence[str]) -> None:
    """Raise `AssertionError` with the first breach on the path, or after it; where a mutant leaves the path, from there."""
    state = start(budget=1)
    for label in path:
        for what in promises.breaches(state):
            raise AssertionError(what)
        if label not in {move.label for move in steps(state)}:
            break
        if label == TICK:
            for what in promises.judged(state, look_and_decide(state)):
                raise AssertionError(what)
        state = step(state, label)
    search = Search(roots=[state], seconds=SECONDS, first=True)
    search.run()
    for what in search.breaches:
        raise AssertionError(what)
