"""What a scenario touches on the machine as it is: a mutant that changes nothing of it goes the same way, and lives.

Guards that rule, alone or where the next would have ruled too; rows that say something, alone or where the next would
have; edges that are taken. A mutant is named by what it changes in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import pytest
from tests.mutants.surgery import named

from keyturn.domain import machine
from keyturn.domain.effects import Effect
from keyturn.domain.guards import CHAIN, Guard
from keyturn.domain.phases import Phase
from keyturn.domain.rows import Row
from keyturn.domain.situation import Situation
from keyturn.domain.tables import ALWAYS, EDGES, PHASES, STANDING
from keyturn.domain.verdicts import Ruling, Verdict

Touch = tuple[str, ...]


def touched(scenario: Callable[[], None]) -> set[Touch]:
    """Everything that a scenario touches."""
    found: set[Touch] = set()
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, found)
        scenario()
    return found


def watch(patch: pytest.MonkeyPatch, found: set[Touch]) -> None:
    """Have everything that is touched from now on added."""
    patch.setattr(machine, "CHAIN", tuple(_watched_guards(found)))
    patch.setattr(machine, "_walk", _watched_rows(found))
    patch.setattr(machine, "_standing", _watched_standing(found))
    patch.setattr(machine, "ALWAYS", tuple(_watched_always(found)))
    patch.setattr(machine, "EDGES", _WatchedEdges(EDGES, found))


def _watched_guards(found: set[Touch]) -> Iterator[tuple[Guard, frozenset[Phase]]]:
    for (guard, phases), (following, its) in pairwise([*CHAIN, (lambda _: None, frozenset())]):

        def watched(
            s: Situation, guard: Guard = guard, following: Guard = following, its: frozenset[Phase] = its
        ) -> Verdict | None:
            verdict = guard(s)
            if verdict is not None:
                found.add(("guard", named(guard)))
                if s.rotation.phase in its and following(s) is not None:
                    found.add(("guards", named(guard), named(following)))
            return verdict

        yield watched, phases


def _watched_rows(found: set[Touch]) -> object:
    walk = vars(machine)["_walk"]

    def watched(s: Situation, rows: tuple[Row, ...]) -> tuple[Verdict, tuple[Effect, ...]]:
        phase = s.rotation.phase
        for at, row in enumerate(rows):
            if row(s):
                if rows is PHASES.get(phase):
                    found.add(("PHASES", phase, named(row)))
                    if at + 1 < len(rows) and rows[at + 1](s):
                        found.add(("PHASES", phase, named(row), named(rows[at + 1])))
                break
        return walk(s, rows)  # type: ignore[no-any-return]

    return watched


def _watched_standing(found: set[Touch]) -> object:
    standing = vars(machine)["_standing"]

    def watched(s: Situation) -> tuple[Effect, ...]:
        phase = s.rotation.phase
        found.update(("STANDING", phase, named(row)) for row in STANDING.get(phase, ()) if row(s))
        return standing(s)  # type: ignore[no-any-return]

    return watched


def _watched_always(found: set[Touch]) -> Iterator[Row]:
    for row in ALWAYS:

        def watched(s: Situation, row: Row = row) -> object:
            outcome = row(s)
            if outcome:
                found.add(("ALWAYS", named(row)))
            return outcome

        yield watched  # type: ignore[misc]


class _WatchedEdges(dict[tuple[Phase, Ruling], object]):
    def __init__(self, edges: Mapping[tuple[Phase, Ruling], object], found: set[Touch]) -> None:
        super().__init__(edges)
        self.found = found

    def __getitem__(self, key: tuple[Phase, Ruling]) -> object:
        self.found.add(("edge", *key))
        return super().__getitem__(key)
