"""What a run came to, from the clients' records, the gateways' logs and probes of the authority."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyturn.demo.traffic import Tally

ENDS = {"completed": "completed", "rolled_back": "rolled_back"}
ENOUGH_REQUESTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntry:
    """One line of the daemon's trail that changed the phase."""

    phase: str
    entered_at: str
    reason: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.entered_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One scenario on one backend."""

    scenario: str
    backend: str
    outcome: str
    tally: Tally
    phases: Sequence[PhaseEntry]
    old_proven_dead: bool
    seconds: float
    further: Mapping[str, object] = field(default_factory=dict)
    """What this scenario has to say beyond the others."""
    broken: Sequence[str] = ()
    """What did not hold, one line each."""

    @classmethod
    def of_failure(cls, *, scenario: str, backend: str, why: str) -> "Report":
        """A run whose parts did not come up, or went away: nothing is known, so nothing holds."""
        nothing = Tally(requests=0, refused=0, errors=0, refused_old=0, refused_new=0, refused_clients=frozenset())
        return cls(
            scenario=scenario,
            backend=backend,
            outcome="not started",
            tally=nothing,
            phases=(),
            old_proven_dead=False,
            seconds=0.0,
            broken=[why],
        )

    @classmethod
    def of_parts(cls, name: str, parts: Sequence["Report"]) -> "Report":
        """The report of a scenario in several parts: its first part's, with each part's below it. What did not hold in
        any of them did not hold."""
        first, *others = parts
        if not others:
            return first
        return replace(
            first,
            scenario=name,
            seconds=sum(part.seconds for part in parts),
            further={**first.further, "parts": [part.as_json() for part in parts]},
            broken=[f"{part.scenario}: {line}" for part in parts for line in part.broken],
        )

    def as_json(self) -> dict[str, object]:
        return {
            "scenario": self.scenario,
            "backend": self.backend,
            "outcome": self.outcome,
            "requests": self.tally.requests,
            "refused": self.tally.refused,
            "errors": self.tally.errors,
            "refused_by_version": self.tally.refused_by_version,
            "phases": [
                {"phase": entry.phase, "entered_at": entry.entered_at, "reason": entry.reason} for entry in self.phases
            ],
            "old_proven_dead": self.old_proven_dead,
            "seconds": round(self.seconds, 1),
            **self.further,
            "did_not_hold": list(self.broken),
        }


def phases_of(history: Iterable[Mapping[str, Any]]) -> tuple[PhaseEntry, ...]:
    """The phases in the order in which they were entered."""
    return tuple(
        PhaseEntry(phase=str(line["phase"]), entered_at=str(line["at"]), reason=str(line["reason"]))
        for line in history
        if line["kind"] in ("started", "transition")
    )


def outcome_of(phase: str, *, hold: str, halted: bool) -> str:
    """How the rotation stands, in the report's words."""
    if halted:
        return "halted"
    if phase in ENDS:
        return ENDS[phase]
    if hold:
        return "held"
    return "monitoring" if phase == "monitor" else phase or "not started"


def row(held: bool, text: str) -> list[str]:
    """A line about something that must hold, when it does not."""
    return [] if held else [text]


def traffic_rows(tally: Tally, *, refused_per_log: int) -> list[str]:
    """What must hold of every run's traffic."""
    return [
        *row(tally.requests >= ENOUGH_REQUESTS, f"only {tally.requests} requests, of {ENOUGH_REQUESTS} at least"),
        *row(
            tally.refused == refused_per_log,
            f"the clients recorded {tally.refused} refused requests, and the gateways' logs {refused_per_log}",
        ),
    ]


def unnoticed_rows(tally: Tally) -> list[str]:
    """Nobody noticed anything."""
    by = tally.refused_by_version
    return [
        *row(tally.refused == 0, f"{tally.refused} requests were refused (old {by['old']}, new {by['new']})"),
        *row(tally.errors == 0, f"{tally.errors} requests failed"),
    ]


def outcome_rows(outcome: str, *wanted: str) -> list[str]:
    """The rotation ended as it should."""
    return row(outcome in wanted, f"the outcome is {outcome}, not {' or '.join(wanted)}")


def death_rows(what: str, alive: Sequence[str]) -> list[str]:
    """A key that must be dead is."""
    return [f"the {what} key is not proven dead: {line}" for line in alive]
