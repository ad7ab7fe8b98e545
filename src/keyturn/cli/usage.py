"""`keyturn usage`: who uses which version, and the way from the old to the new."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from keyturn.cli.connection import Connection
from keyturn.cli.output import Row, moment, show_json, show_line, show_table

HEIGHT = 8
COLOURS = ("yellow", "green", "cyan", "magenta")
"""Of the versions, the oldest first."""
MARKS = "-#*+"
"""The same without colours."""
WIDTH = 40
"""Of a bar in a pipe."""


def show_usage(daemon: Connection, name: str, *, minutes: int, as_json: bool) -> None:
    """Print who uses which version of a credential."""
    usage = daemon.get(f"/v1/credentials/{quote(name, safe='')}/usage", minutes=minutes)
    if as_json:
        show_json(usage)
        return
    _show_standouts(usage)
    _show_crossover(usage)
    show_table(
        "Clients",
        ["client", "version", "last use", "per min", "ok", "failed", "silent for", "needed", "told by", "note"],
        [row for client in usage["clients"] for row in _client(client)],
    )
    sources: list[Row] = [
        (source["name"], source["kind"], moment(source["watermark"]), source["late"], source["trouble"] or None)
        for source in usage["sources"]
    ]
    show_table("Usage sources", ["source", "kind", "complete up to", "late", "trouble"], sources)


def _show_standouts(usage: dict[str, Any]) -> None:
    lines = usage["stands_out"]
    if not lines:
        show_line(f"{usage['name']}: nothing stands out")
    for line in lines:
        if sys.stdout.isatty():
            Console().print(Text(f"! {usage['name']}: {line}", style="bold red"))
        else:
            show_line(f"! {usage['name']}: {line}")


def _show_crossover(usage: dict[str, Any]) -> None:
    """Columns of uses in a terminal, the versions upon each other; a line a step in a pipe."""
    crossover = usage["crossover"]
    series = {int(serial): counts for serial, counts in crossover["uses"].items() if any(counts)}
    if not series:
        return
    start, step = datetime.fromisoformat(crossover["start"]), timedelta(seconds=crossover["step_seconds"])
    if sys.stdout.isatty():
        Console().print(_columns(series, start, step))
    else:
        show_line(bars(series, start, step))


def _columns(series: dict[int, list[int]], start: datetime, step: timedelta) -> Text:
    points = len(next(iter(series.values())))
    tallest = max(sum(counts[point] for counts in series.values()) for point in range(points))
    text = Text("\nUses, the newest on the right\n", style="bold")
    for level in range(HEIGHT, 0, -1):
        for point in range(points):
            text.append(*_cell(series, point, (level - 0.5) * tallest / HEIGHT))
        text.append("\n")
    ends = f"{start:%H:%M} UTC", f"{start + points * step:%H:%M} UTC"
    text.append(ends[0] + ends[1].rjust(points - len(ends[0])) + "\n", style="dim")
    for number, serial in enumerate(series):
        text.append(f"█ v{serial}  ", style=COLOURS[number % len(COLOURS)])
    return text


def _cell(series: dict[int, list[int]], point: int, height: float) -> tuple[str, str]:
    """The version that fills a column at a height, the newest at the foot."""
    filled = 0
    for number, (_, counts) in reversed(list(enumerate(series.items()))):
        filled += counts[point]
        if height <= filled:
            return "█", COLOURS[number % len(COLOURS)]
    return " ", ""


def bars(series: dict[int, list[int]], start: datetime, step: timedelta) -> str:
    """A line a step: time, uses by version, and a bar of their shares."""
    lines = ["", f"{'UTC':19}  {'  '.join(f'v{serial}'.rjust(7) for serial in series)}"]
    points = len(next(iter(series.values())))
    for point in range(points):
        counts = [counts[point] for counts in series.values()]
        total = sum(counts)
        if not total:
            continue
        bar = "".join(MARKS[n % len(MARKS)] * round(WIDTH * count / total) for n, count in enumerate(counts))
        numbers = "  ".join(str(count).rjust(7) for count in counts)
        lines.append(f"{start + point * step:%Y-%m-%d %H:%M:%S}  {numbers}  {bar}")
    return "\n".join(lines)


def _client(client: dict[str, Any]) -> list[Row]:
    gone, moved = client["dismissal"], client["acknowledgement"]
    notes = [] if client["declared"] else ["not declared"]
    notes += [] if gone is None else [f"declared gone by {gone['by']}: {gone['why']}"]
    notes += [] if moved is None else [f"moved to v{moved['serial']} by the word of {moved['by']}: {moved['why']}"]
    if not client["versions"]:
        return [(client["client"], None, "never", None, None, None, None, None, None, "; ".join(notes) or None)]
    return [
        (
            client["client"],
            f"v{use['serial']}{'' if use['state'] in (None, 'current') else ' ' + use['state']}",
            moment(use["last_use"]),
            f"{use['per_minute']:.1f}",
            use["successes"],
            use["failures"],
            words(use["silent_for_seconds"]),
            words(client["required_silence_seconds"]),
            use["told_by"],
            "; ".join(notes) or None,
        )
        for use in client["versions"]
    ]


def words(seconds: float | None) -> str | None:
    """A length of time as people say it, its two largest units."""
    if seconds is None:
        return None
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
