"""Taking the machine apart: each function makes a `Patch`, which breaks one thing for as long as it is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pytest

from keyturn.domain import machine
from keyturn.domain.guards import Guard
from keyturn.domain.phases import Phase
from keyturn.domain.rows import Row
from keyturn.domain.verdicts import Ruling

T = TypeVar("T")
Patch = Callable[[pytest.MonkeyPatch], None]


def named(one: Row | Guard) -> str:
    """The name of a row or guard."""
    return getattr(one, "__name__", "")


def together(*patches: Patch) -> Patch:
    """Several at once."""

    def all_of_them(patch: pytest.MonkeyPatch) -> None:
        for one in patches:
            one(patch)

    return all_of_them


def table(name: str, phase: Phase, change: Callable[[Sequence[Row]], Sequence[Row]]) -> Patch:
    """Change the rows of one phase in `PHASES` or `STANDING`; where the tables share the rows, in both."""

    def changed(patch: pytest.MonkeyPatch) -> None:
        before: Mapping[Phase, tuple[Row, ...]] = vars(machine)[name]
        for each in ("PHASES", "STANDING"):
            held: Mapping[Phase, tuple[Row, ...]] = vars(machine)[each]
            if held.get(phase) is before[phase]:
                patch.setattr(machine, each, {**held, phase: tuple(change(before[phase]))})

    return changed


def drop(phase: Phase, *names: str, of: str = "PHASES") -> Patch:
    """Leave rows out of a phase."""
    return table(of, phase, lambda rows: [row for row in rows if named(row) not in names])


def gone(name: str) -> Patch:
    """Leave a row out wherever it stands."""

    def everywhere(patch: pytest.MonkeyPatch) -> None:
        for each in ("PHASES", "STANDING"):
            held: Mapping[Phase, tuple[Row, ...]] = vars(machine)[each]
            kept = {phase: tuple(row for row in rows if named(row) != name) for phase, rows in held.items()}
            patch.setattr(machine, each, kept)
        patch.setattr(machine, "ALWAYS", tuple(row for row in vars(machine)["ALWAYS"] if named(row) != name))

    return everywhere


def first(phase: Phase, row: Row) -> Patch:
    """Put a row before all others of its phase."""
    return table("PHASES", phase, lambda rows: [row, *[one for one in rows if one is not row]])


def swapped(phase: Phase, at: int, *, of: str = "PHASES") -> Patch:
    """Change a row's place with the next."""
    return table(of, phase, lambda rows: exchanged(rows, at))


def exchanged(items: Sequence[T], at: int) -> list[T]:
    """A sequence in which one item and the next have changed places."""
    return [*items[:at], items[at + 1], items[at], *items[at + 2 :]]


def no_edge(phase: Phase, ruling: Ruling) -> Patch:
    """Take an edge away."""
    return lambda patch: patch.setattr(
        machine, "EDGES", {key: to for key, to in vars(machine)["EDGES"].items() if key != (phase, ruling)}
    )


def edge(phase: Phase, ruling: Ruling, to: Phase) -> Patch:
    """Let an edge lead elsewhere, or add one."""

    def led(patch: pytest.MonkeyPatch) -> None:
        edges = vars(machine)["EDGES"]
        reason = edges[phase, ruling][1] if (phase, ruling) in edges else None
        patch.setattr(machine, "EDGES", {**edges, (phase, ruling): (to, reason)})

    return led


def no_guard(*guards: Guard) -> Patch:
    """Take guards out of the chain."""
    return lambda patch: patch.setattr(
        machine, "CHAIN", tuple(link for link in vars(machine)["CHAIN"] if link[0] not in guards)
    )


def guards_swapped(at: int) -> Patch:
    """Ask a guard after the next."""
    return lambda patch: patch.setattr(machine, "CHAIN", tuple(exchanged(vars(machine)["CHAIN"], at)))


def guards_replaced(guard: Guard, by: Guard, phases: frozenset[Phase]) -> Patch:
    """Ask another guard in the place of one, in these phases."""
    return lambda patch: patch.setattr(
        machine, "CHAIN", tuple((by, phases) if link[0] is guard else link for link in vars(machine)["CHAIN"])
    )


def asked_first(guard: Guard) -> Patch:
    """Ask a guard before all others."""
    return lambda patch: patch.setattr(
        machine, "CHAIN", tuple(sorted(vars(machine)["CHAIN"], key=lambda link: link[0] is not guard))
    )


def row_replaced(phase: Phase, row: Row, by: Row) -> Patch:
    """Put another row in the place of one."""
    return table("PHASES", phase, lambda rows: [by if one is row else one for one in rows])
