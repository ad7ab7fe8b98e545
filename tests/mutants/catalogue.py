"""Every mutant of the machine: generated from its tables, its chain, and its readings of what may be unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from tests.mutants.readings import read_as_zero
from tests.mutants.sabotages import SABOTAGES
from tests.mutants.surgery import (
    Patch,
    drop,
    edge,
    exchanged,
    gone,
    guards_swapped,
    named,
    no_edge,
    no_guard,
    swapped,
)

from keyturn.domain import machine
from keyturn.domain.guards import CHAIN
from keyturn.domain.phases import Phase
from keyturn.domain.rows import Row
from keyturn.domain.tables import ALWAYS, EDGES, PHASES, STANDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The machine with one change."""

    name: str
    patch: Patch
    touches: frozenset[tuple[str, ...]] = frozenset()
    """What it changes: a scenario that touches none of it goes as ever. Empty where that is not known."""


def mutant(name: str, patch: Patch, *touches: tuple[str, ...]) -> Mutant:
    """A mutant, and what it changes."""
    return Mutant(name=name, patch=patch, touches=frozenset(touches))


def guards() -> Iterator[Mutant]:
    """Each guard removed, and each changed with the next."""
    for guard, _ in CHAIN:
        yield mutant(f"no guard {named(guard)}", no_guard(guard), ("guard", named(guard)))
    for at, ((one, _), (other, _)) in enumerate(pairwise(CHAIN)):
        change = ("guards", named(one), named(other))
        yield mutant(f"guard {named(other)} before {named(one)}", guards_swapped(at), change)


def edges() -> Iterator[Mutant]:
    """Each edge dropped, each led to every other phase, and each added that is not there."""
    for phase, ruling in EDGES:
        yield mutant(f"no edge {phase} {ruling}", no_edge(phase, ruling), ("edge", phase, ruling))
    for (phase, ruling), (there, _) in EDGES.items():
        for to in Phase:
            if to is not there:
                yield mutant(f"edge {phase} {ruling} to {to}", edge(phase, ruling, to), ("edge", phase, ruling))
    for phase, ruling in product(PHASES, sorted(machine.MOVING)):
        if (phase, ruling) not in EDGES:
            change = ("edge", phase, ruling)
            yield mutant(f"added edge {phase} {ruling}", edge(phase, ruling, Phase.ROLLED_BACK), change)


def rows() -> Iterator[Mutant]:
    """Each row dropped from a phase, from what stands, from what is always done, or everywhere; each changed with the
    next."""
    for phase, its in PHASES.items():
        yield from _rows("PHASES", phase, its)
    for phase, its in STANDING.items():
        if its is PHASES[phase]:
            others = {one: rows for one, rows in STANDING.items() if one is not phase}
            yield mutant(f"standing {phase}: nothing", _standing(others))
        else:
            yield from _rows("STANDING", phase, its)
    for row in ALWAYS:
        kept = [one for one in ALWAYS if one is not row]
        yield mutant(f"always without {named(row)}", _always(kept), ("ALWAYS", named(row)))
    for at, (one, other) in enumerate(pairwise(ALWAYS)):
        yield mutant(
            f"always: {named(other)} before {named(one)}", _always(exchanged(ALWAYS, at)), ("ALWAYS", named(one))
        )
    for name in sorted({named(row) for its in PHASES.values() for row in its} | set(map(named, ALWAYS))):
        places = [
            (table, phase, name) for table, held in (("PHASES", PHASES), ("STANDING", STANDING)) for phase in held
        ]
        yield mutant(f"nowhere {name}", gone(name), *places, ("ALWAYS", name))


def _rows(table: str, phase: Phase, its: Sequence[Row]) -> Iterator[Mutant]:
    where = phase if table == "PHASES" else f"standing {phase}"
    for row in its:
        patch = drop(phase, named(row), of=table)
        yield mutant(f"{where} without {named(row)}", patch, (table, phase, named(row)))
    for at, (one, other) in enumerate(pairwise(its)):
        patch = swapped(phase, at, of=table)
        yield mutant(f"{where}: {named(other)} before {named(one)}", patch, (table, phase, named(one), named(other)))


def _always(rows: Sequence[Row]) -> Patch:
    return lambda patch: patch.setattr(machine, "ALWAYS", tuple(rows))


def _standing(by_phase: Mapping[Phase, tuple[Row, ...]]) -> Patch:
    return lambda patch: patch.setattr(machine, "STANDING", by_phase)


def others() -> Iterator[Mutant]:
    """Unknown read as zero, and what was thought of by hand."""
    for name, patch in {**read_as_zero(), **{f"sabotage: {name}": patch for name, patch in SABOTAGES.items()}}.items():
        yield mutant(name, patch)


MUTANTS: Mapping[str, Mutant] = {one.name: one for one in (*guards(), *edges(), *rows(), *others())}
