"""Tables and times, for a terminal and for a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "accepted": "green",
    "advance": "green",
    "completed": "green",
    "COMPROMISED": "red",
    "current": "green",
    "disabled": "yellow",
    "foreign": "red",
    "halt": "red",
    "hold": "red",
    "missing": "red",
    "ours": "green",
    "problem": "red",
    "refused": "red",
    "rolled_back": "red",
    "unknown": "yellow",
    "unreachable": "yellow",
    "warning": "yellow",
}
"""Words whose cells have a colour."""

Row = Sequence[object]


def show_json(content: Any) -> None:
    """For programs: one JSON document."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def show_line(text: str, *, bold: bool = False) -> None:
    """One line, never wrapped in a pipe."""
    typer.secho(text, bold=bold or None)


def show_table(title: str, header: Sequence[str], rows: Sequence[Row]) -> None:
    """A table; plain columns when piped. Nothing without rows."""
    if not rows:
        return
    if sys.stdout.isatty():
        console = Console()
        console.print(rich_table(title, header, rows))
        return
    typer.echo(plain_table(title, header, rows))


def rich_table(title: str, header: Sequence[str], rows: Sequence[Row]) -> Table:
    """For a terminal."""
    # Without frames all of a status fits a terminal of ordinary height.
    table = Table(
        title=f"\n{title}", title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        # Text, not markup: what the daemon says may hold brackets.
        table.add_row(*(Text(text(cell), style=COLOURS.get(text(cell), "")) for cell in row))
    return table


def plain_table(title: str, header: Sequence[str], rows: Sequence[Row]) -> str:
    """For a pipe: no frame, no colour, as wide as it is."""
    cells = [[name.upper() for name in header], *([text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(["", title, *lines])


def text(cell: object) -> str:
    """A cell in words."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, list | tuple):
        return ", ".join(text(part) for part in cell) or "-"
    return str(cell)


def moment(given: str | None) -> str | None:
    """A time as the API gives it, to the second, in UTC as everything that keyturn records."""
    if given is None:
        return None
    return f"{datetime.fromisoformat(given).astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def versions(serials: Sequence[int]) -> str | None:
    """Serials as they are named everywhere."""
    return ", ".join(f"v{serial}" for serial in serials) or None
