"""Where the explorer, on the machine as it is, meets what a mutant changes: in every state with one adverse event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.explorer import search
from tests.explorer.moves import Move
from tests.explorer.search import Search
from tests.explorer.state import State, start
from tests.mutants.touched import Touch, watch

PATHS = 6
"""How many ways to the same meeting are kept."""


class Meetings(Search):
    """A search that remembers where it met what."""

    def __init__(self, seconds: float) -> None:
        super().__init__(roots=[start(budget=1)], seconds=seconds)
        self.times: Counter[Touch] = Counter()
        self.where: dict[Touch, list[int]] = {}
        self.at = search.NOWHERE
        decide = search.look_and_decide
        met: set[Touch] = set()

        def look(state: State) -> object:
            met.clear()
            decision = decide(state)
            for touch in met:
                self.times[touch] += 1
                known = self.where.setdefault(touch, [])
                if len(known) < PATHS and self.at not in known:
                    known.append(self.at)
            return decision

        with pytest.MonkeyPatch.context() as patch:
            watch(patch, met)
            patch.setattr(search, "look_and_decide", look)
            self.run()

    def _follow(self, at: int, state: State, move: Move) -> None:
        self.at = at
        super()._follow(at, state, move)

    def paths(self, touches: frozenset[Touch]) -> Iterator[list[str]]:
        """The shortest ways to where any of this is met."""
        for at in sorted({at for touch in touches for at in self.where.get(touch, [])}):
            yield self.path(at)[1:]
