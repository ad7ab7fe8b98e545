"""`python -m benchmarks.fleet`: tables, and what stands beside each figure. The exit status is 1 when not all was done that
was measured, and when a tick costs more the more credentials are not due."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import drift, idle, restart, throughput

PARTS = ("idle", "drift", "throughput", "restart")
GROWTH = 1.5
"""The quickest tick with all credentials over that with a tenth of them, at most: what is not due is to cost nothing, and
two runs differ."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--credentials", type=int, default=100_000, help="registered, none due; a tenth of it too")
    parser.add_argument("--checks", type=int, default=278, help="for drift, due at once: what 100,000 have due a tick")
    parser.add_argument("--rotations", type=int, default=2_000, help="at once, against OpenBao")
    parser.add_argument("--live", type=int, default=10_000, help="rotations under way at the restart")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    # Logs are written, as the daemon writes them, and read by nobody.
    with Path("/dev/null").open("w") as nowhere:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere))
        found = measured(PARTS if options.part == "all" else (options.part,), options)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _show(found)
    lacking = [*shortfalls(found), *grown(found)]
    sys.stderr.writelines(f"{line}\n" for line in lacking)
    return 1 if lacking else 0


def shortfalls(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What was measured of fewer than were asked for: those figures say nothing."""
    return [
        f"{part}: {row[done]} of {row[asked]} {what}"
        for part, done, asked, what in (
            ("throughput", "completed", "rotations", "rotations were completed"),
            ("restart", "gone_on", "rotations", "rotations went on"),
            ("restart", "settled", "open_intents", "intents of the killed process were given an outcome"),
            ("drift", "checked", "credentials", "credentials were checked"),
        )
        for row in found.get(part, ())
        if row[done] < row[asked]
    ]


def grown(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Where keyturn's tick costs more with credentials that nothing is to be done for."""
    return [
        f"idle: a tick takes {row['least_tick']:.2f} times as long with {row['credentials']:g} times as many credentials"
        for row in found.get("growth", ())
        if row["what"] == "ticks" and row["least_tick"] > GROWTH
    ]


def _show(found: dict[str, list[dict[str, Any]]]) -> None:
    console = Console()
    for title, rows in found.items():
        table = Table(*dict.fromkeys(name for row in rows for name in row), title=title)
        for row in rows:
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
        console.print(table)


def measured(parts: Sequence[str], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """One list of rows for each part."""
    found: dict[str, list[dict[str, Any]]] = {}
    if "idle" in parts:
        counts = (options.credentials // 10, options.credentials)
        found["idle"] = [{"what": what, **idle.measure(count, what)} for what in ("ticks", "jobs") for count in counts]
        found["growth"] = idle.growth(found["idle"])
    if "drift" in parts:
        found["drift"] = [drift.measure(options.checks, options.credentials)]
    if "throughput" in parts:
        found["throughput"] = [throughput.measure(options.rotations)]
    if "restart" in parts:
        found["restart"] = [restart.measure(options.live)]
    return found


if __name__ == "__main__":
    sys.exit(main())
