"""Draws the machine for ARCHITECTURE.md from its own tables: `python -m tests.unit.docs.drawing` writes it there."""

from __future__ import annotations

import inspect
from pathlib import Path

from keyturn.domain.guards import CHAIN
from keyturn.domain.phases import Phase
from keyturn.domain.tables import ALWAYS, EDGES, PHASES, STANDING
from keyturn.domain.verdicts import Ruling

PAGE = Path(__file__).parents[3] / "ARCHITECTURE.md"
BEGIN, END = "<!-- drawn from the tables: begin -->\n", "<!-- drawn from the tables: end -->\n"


def drawing() -> str:
    """Phases, edges, who may cause each, and the order of rows and guards, as Markdown."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> introduce"]
    lines += [f"    {phase} --> {to}: {ruling}" for (phase, ruling), (to, _) in EDGES.items()]
    lines += ["```", "", "| from | ruling | to | caused by |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {phase} | {ruling} | {to} | {', '.join(_causes(phase, ruling))} |"
        for (phase, ruling), (to, _) in EDGES.items()
    ]
    lines += ["", "| phase | rows, in order (*standing*: also under a hold) |", "| --- | --- |"]
    for phase, rows in PHASES.items():
        standing = STANDING.get(phase, ())
        alone = [row for row in standing if row not in rows]
        names = [f"*{row.__name__}*" if row in standing else row.__name__ for row in (*alone, *rows)]
        lines.append(f"| {phase} | {' · '.join(names)} |")
    names = [row.__name__ for row in ALWAYS]
    lines.append(f"| every one but an end, beside all else, under a hold or halt too | {' · '.join(names)} |")
    lines += ["", "| guard, in order | asked in | may rule |", "| --- | --- | --- |"]
    for guard, phases in CHAIN:
        asked = [phase for phase in Phase if phase in phases]
        lines.append(f"| {guard.__name__} | {', '.join(asked)} | {', '.join(_rulings(guard))} |")
    return "\n".join(lines) + "\n"


def _causes(phase: Phase, ruling: Ruling) -> list[str]:
    if ruling is Ruling.ADVANCE:
        return ["every row done"]
    causes = [guard.__name__ for guard, phases in CHAIN if phase in phases and ruling in _rulings(guard)]
    if ruling is Ruling.SUPERSEDE and (phase, Ruling.ROLL_BACK) in EDGES:
        causes.append("roll_back where nothing can be restored")
    return causes


def _rulings(guard: object) -> list[Ruling]:
    """What a guard may rule, read off its own words."""
    source = inspect.getsource(guard)  # type: ignore[arg-type]
    named = {ruling for ruling in Ruling if f"Ruling.{ruling.name}" in source}
    named |= {Ruling.HOLD} if "hold(" in source else set()
    named |= {Ruling.WAIT} if " wait(" in source else set()
    return [ruling for ruling in Ruling if ruling in named]


def page_with(drawn: str) -> str:
    """The page with the drawing between its marks."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + drawn + END + after


if __name__ == "__main__":
    PAGE.write_text(page_with(drawing()))
