"""What many runs amount to: counts, how strong the runs were, and what was broken."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keyturn.domain.phases import Phase
from keyturn.domain.tables import EDGES
from keyturn.testing.simulation.run import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One run that broke a promise, and its trace without what did not matter."""

    seed: int
    run: int
    promise: str
    text: str
    trace: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "run": self.run,
            "promise": self.promise,
            "violation": self.text,
            "trace": list(self.trace),
        }

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"BROKEN: seed {self.seed}, run {self.run}: {self.promise}: {self.text}"
        for line in self.trace:
            yield f"  {line}"


@dataclass(slots=True, kw_only=True)
class Report:
    """Adds up outcomes."""

    seed: int
    store: str
    faults_asked: tuple[str, ...]
    sabotage: str | None = None
    runs: int = 0
    rotations: int = 0
    steps: int = 0
    seconds: float = 0.0
    breaches: list[Breach] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    edges: Counter[tuple[Phase, Phase]] = field(default_factory=Counter)
    faults_a_rotation: list[float] = field(default_factory=list)
    writes_a_rotation: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.runs += 1
        self.rotations += outcome.rotations
        self.steps += outcome.steps
        self.faults += outcome.faults
        self.edges += outcome.edges
        if outcome.rotations:
            self.faults_a_rotation += [outcome.faults.total() / outcome.rotations] * outcome.rotations
            self.writes_a_rotation += [outcome.journal_writes / outcome.rotations] * outcome.rotations

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "rotations": self.rotations,
            "steps": self.steps,
            "violations": [one.as_json() for one in self.breaches],
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "store": self.store,
            "sabotage": self.sabotage,
            "strength": {
                "median_faults_a_rotation": _median(self.faults_a_rotation),
                "median_journal_writes_a_rotation": _median(self.writes_a_rotation),
                "faults": {name: self.faults[name] for name in self.faults_asked},
                "edges": {f"{before} → {after}": self.edges[before, after] for before, after in edges()},
            },
        }

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"{self.runs} runs, {self.rotations} rotations, {self.steps} steps in {self.seconds:.1f} s (seed {self.seed})"
        yield (
            f"in the median {_median(self.faults_a_rotation):g} faults and "
            f"{_median(self.writes_a_rotation):g} journal writes a rotation"
        )
        yield ""
        yield f"{'edge of the machine':<28}{'taken':>8}"
        for before, after in edges():
            yield f"{before + ' → ' + after:<28}{self.edges[before, after]:>8}"
        yield ""
        yield f"{'fault':<28}{'met':>8}"
        for name in self.faults_asked:
            yield f"{name:<28}{self.faults[name]:>8}"
        yield ""
        yield "every promise held" if not self.breaches else f"{len(self.breaches)} runs broke a promise"
        for breach in self.breaches:
            yield from breach.lines()


def edges() -> list[tuple[Phase, Phase]]:
    """Every way from one phase to another that the machine has."""
    return list(dict.fromkeys((before, to) for (before, _), (to, _) in EDGES.items()))


def _median(numbers: list[float]) -> float:
    return round(statistics.median(numbers), 2) if numbers else 0.0
