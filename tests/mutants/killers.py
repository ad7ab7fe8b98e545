"""What may kill a mutant: each a scenario without chance that passes on the machine as it is, by name, the cheap first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import ModuleType

import pytest
from tests.domain import (
    emergencies,
    rotations,
    test_answers,
    test_asked_first,
    test_chain_order,
    test_commands,
    test_guards,
    test_hands,
    test_machine,
    test_stuck,
    test_told_and_kept,
    test_traces,
    test_ways_back,
)

from keyturn.domain.errors import Refused
from keyturn.domain.phases import Phase

TRACES = (test_traces, test_answers, test_hands, test_asked_first)
EXAMPLES = (test_guards, test_chain_order, test_machine, test_ways_back, test_commands, test_told_and_kept, test_stuck)
ABOUT_TABLES = frozenset({"test_tables_are_closed", "test_ruling_without_an_edge_is_a_defect"})
"""Examples that look at the tables themselves: they would see any change, and prove nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killer:
    """One scenario; it raises where a promise is broken, or what it tells of does not happen."""

    kind: str
    run: Callable[[], None]

    def finds(self) -> str | None:
        """What it finds, if it finds anything: a broken promise, a ruling without an edge, or a way that is closed."""
        try:
            self.run()
        except (AssertionError, KeyError, Refused, pytest.fail.Exception) as found:
            return f"{type(found).__name__}: {found}"
        except (AttributeError, IndexError, TypeError, ValueError):
            return None  # it stumbled over what it did not expect, which proves nothing
        return None


def tests_of(module: ModuleType) -> Iterator[tuple[str, Callable[[], None]]]:
    """The tests of a module, one for each set of parameters."""
    for name, test in vars(module).items():
        if not name.startswith("test_") or name in ABOUT_TABLES:
            continue
        short = name.removeprefix("test_")
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        if not marks:
            yield short, test
            continue
        (names, values), *others = [mark.args for mark in marks]
        assert not others, f"{name}: one parametrize at most"
        names = [names] if isinstance(names, str) else list(names)
        for value in values:
            arguments = dict(zip(names, value if len(names) > 1 else [value], strict=True))
            shown = ", ".join(getattr(one, "__name__", str(one)) for one in arguments.values())
            yield f"{short}({shown})", partial(test, **arguments)


def one_event(phase: Phase, event: str, lag: int) -> None:
    """One event in one phase, and what becomes of it."""
    rotations.Rotations().clients_use_it(held=True, lag=lag, laggard=None, phase=phase, event=event)


def events() -> Iterator[tuple[str, Callable[[], None]]]:
    """The cases of `one_event_each`."""
    for event, phase, lag in product(rotations.EVENTS, rotations.PHASES, (0, 8)):
        yield f"{event} in {phase}, lag {lag}", partial(one_event, phase, event, lag)


def one_report(phase: Phase, leaked: tuple[bool, ...], grace: int, cut_now: bool, lag: int) -> None:
    """The old version, the new one or both reported compromised in one phase, and what becomes of it."""
    world = emergencies.Emergencies()
    world.clients_use_it(held=True, lag=lag, laggard=None, phase=phase, event="nothing")
    for new in leaked:
        world.version_is_leaked(new=new, grace=grace, cut_now=cut_now)
    world.tick(5, 2)
    world.outlook()


def reports() -> Iterator[tuple[str, Callable[[], None]]]:
    """The cases of `one_report_each`."""
    told = {"old": (False,), "new": (True,), "old, then new": (False, True), "new, then old": (True, False)}
    graces = {"no grace": (0, False), "grace": (20, False), "cut now": (60, True)}
    for (what, leaked), (how, (grace, cut_now)), phase, lag in product(
        told.items(), graces.items(), rotations.PHASES, (0, 8)
    ):
        yield f"{what} leaked in {phase}, {how}, lag {lag}", partial(one_report, phase, leaked, grace, cut_now, lag)


def _every() -> Iterator[tuple[str, Killer]]:
    sources = (
        *(("a trace", tests_of(module)) for module in TRACES),
        ("one event", events()),
        ("one report", reports()),
        *(("an example", tests_of(module)) for module in EXAMPLES),
    )
    for kind, scenarios in sources:
        yield from ((name, Killer(kind=kind, run=run)) for name, run in scenarios)


KILLERS: Mapping[str, Killer] = dict(_every())
