"""Every mutant of the machine: generated from its tables, its chain, and its readings of what may be unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product

from tests.mutants.readings import read_as_zero
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
from keyturn.domain.verdicts import Ruling


def guards() -> Iterator[tuple[str, Patch]]:
    """Each guard removed, and each changed with the next."""
    for guard, _ in CHAIN:
        yield f"no guard {named(guard)}", no_guard(guard)
    for at, ((one, _), (other, _)) in enumerate(pairwise(CHAIN)):
        yield f"guard {named(other)} before {named(one)}", guards_swapped(at)


def edges() -> Iterator[tuple[str, Patch]]:
    """Each edge dropped, each led to every other phase, and each added that is not there."""
    for phase, ruling in EDGES:
        yield f"no edge {phase} {ruling}", no_edge(phase, ruling)
    for (phase, ruling), (there, _) in EDGES.items():
        for to in Phase:
            if to is not there:
                yield f"edge {phase} {ruling} to {to}", edge(phase, ruling, to)
    for phase, ruling in product(PHASES, sorted(machine.MOVING)):
        if (phase, ruling) not in EDGES:
            yield f"added edge {phase} {ruling}", edge(phase, ruling, Phase.ROLLED_BACK)


def rows() -> Iterator[tuple[str, Patch]]:
    """Each row dropped from a phase, from what stands, from what is always done, or everywhere; each changed with the
    next."""
    for phase, its in PHASES.items():
        for row in its:
            yield f"{phase} without {named(row)}", drop(phase, named(row))
        for at, (one, other) in enumerate(pairwise(its)):
            yield f"{phase}: {named(other)} before {named(one)}", swapped(phase, at)
    for phase, its in STANDING.items():
        if its is PHASES[phase]:
            yield f"standing {phase} does nothing", _standing({one: rows for one, rows in STANDING.items() if one is not phase})
            continue
        for row in its:
            yield f"standing {phase} without {named(row)}", drop(phase, named(row), of="STANDING")
        for at, (one, other) in enumerate(pairwise(its)):
            yield f"standing {phase}: {named(other)} before {named(one)}", swapped(phase, at, of="STANDING")
    for row in ALWAYS:
        yield f"always without {named(row)}", _always([one for one in ALWAYS if one is not row])
    for at, (one, other) in enumerate(pairwise(ALWAYS)):
        yield f"always: {named(other)} before {named(one)}", _always(exchanged(ALWAYS, at))
    for name in sorted({named(row) for its in PHASES.values() for row in its} | set(map(named, ALWAYS))):
        yield f"nowhere {name}", gone(name)


def _standing(rows: Mapping[Phase, Sequence[Row]]) -> Patch:
    return lambda patch: patch.setattr(machine, "STANDING", rows)


def _always(rows: Sequence[Row]) -> Patch:
    return lambda patch: patch.setattr(machine, "ALWAYS", tuple(rows))


MUTANTS: Mapping[str, Patch] = dict([*guards(), *edges(), *rows(), *read_as_zero().items()])
