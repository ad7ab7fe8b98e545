"""`python -m benchmarks.evidence`: the tables, the runs and the verdict. Exits with 1 when a bar is missed."""

from __future__ import annotations

import argparse
import json
import platform
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.evidence import cost, silence
from benchmarks.evidence.methods import METHODS
from benchmarks.evidence.report import Row, draw, found_soon, judged, markdown
from benchmarks.evidence.scenarios import FAULTY, HEALTHY, Scenario
from benchmarks.evidence.streams import FAILING, make

FINE_RUNS = 30
"""Runs of each healthy scenario in buckets of 10 s too, which is what the daemon uses."""
QUICK = 2


def run(scenario: Scenario, seed: int) -> list[Row]:
    """Every method's word on one stream."""
    stream = make(scenario, seed)
    rows = []
    for name, method in METHODS.items():
        alarm = method(stream)
        row = Row(scenario=scenario.name, length=scenario.length, seed=seed, method=name, alarm=alarm)
        if stream.onset is not None:
            missed = alarm is None or alarm < stream.onset
            end = len(stream.new[0]) if alarm is None or missed else alarm + 1
            requests = int(stream.new[0][stream.onset : end, FAILING].sum())
            row = replace(row, missed=missed, requests=requests, seconds=(end - stream.onset) * stream.length)
        rows.append(row)
    return rows


def rows_of(scenario: Scenario, runs: int, seed: int, out: Path | None) -> list[Row]:
    """All runs of a scenario. With a directory each is kept there, and those of an earlier call are not run again."""
    if out is None:
        return [row for number in range(runs) for row in run(scenario, seed + number)]
    file = out / f"{seed}" / f"{scenario.title.translate(str.maketrans(' /%', '_-p'))}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = _kept(file)
    with file.open("a", encoding="utf-8") as lines:
        for number in range(runs):
            if seed + number not in kept:
                kept[seed + number] = run(scenario, seed + number)
                lines.write(f"{json.dumps([asdict(row) for row in kept[seed + number]])}\n")
                lines.flush()
    return [row for number in range(runs) for row in kept[seed + number]]


def _kept(file: Path) -> dict[int, list[Row]]:
    """The runs in a file by seed; a last line that an interruption cut short is taken out."""
    if not file.exists():
        return {}
    whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
    file.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
    runs = [[Row(**row) for row in json.loads(line)] for line in whole.splitlines()]
    return {rows[0].seed: rows for rows in runs}


def plan(options: argparse.Namespace) -> list[tuple[Scenario, int]]:
    """The scenarios asked for, and how many runs of each."""
    if options.quick:
        short = [replace(scenario, hours=min(scenario.hours, 3)) for scenario in HEALTHY]
        quick = [*short, *(scenario for scenario in FAULTY if scenario.hours < 1)]
        planned = [(scenario, QUICK) for scenario in quick]
    else:
        fine = [(replace(scenario, length=10), min(FINE_RUNS, options.runs)) for scenario in HEALTHY]
        planned = [(scenario, options.runs) for scenario in (*HEALTHY, *FAULTY)] + fine
    wanted = options.scenario
    return [(one, runs) for one, runs in planned if not wanted or any(part in one.title for part in wanted)]


def failures(options: argparse.Namespace, seed: int, console: Console) -> bool:
    """Run the scenarios, print and keep their table; whether every bar holds."""
    table = Table("scenario", "runs", *METHODS, "bar", "holds")
    everything: list[Row] = []
    lines: list[Sequence[str]] = []
    held, false, healthy = True, 0, 0
    for scenario, runs in plan(options):
        start = time.process_time()
        rows = rows_of(scenario, runs, seed, options.out)
        everything += rows
        line = judged(scenario, rows)
        if not scenario.faulty:
            false += sum(row.alarm is not None for row in rows if row.method == "keyturn")
            healthy += runs
        holds = found_soon(scenario, rows) if options.quick else line.holds
        held &= holds
        lines.append((scenario.title, f"{runs}", *line.cells, line.bar, "yes" if holds else "NO"))
        table.add_row(*lines[-1])
        sys.stderr.write(f"{scenario.title}: {line.cells[0]} ({time.process_time() - start:.0f} s)\n")
    console.print(table)
    console.print(f"false rollbacks in all: {false} of {healthy} (bar: 1 %)")
    if options.out is not None:
        text = markdown(["scenario", "runs", *METHODS, "bar", "holds"], lines)
        (options.out / f"{seed}" / "table.md").write_text(text, encoding="utf-8")
        if not options.scenario and not options.quick:
            draw(everything, options.out / f"{seed}" / "delay.png")
    return held and false <= max(0.01 * healthy, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="of each scenario (default: 300)")
    parser.add_argument("--seed", type=int, default=None, help="of the first run (default: a fresh one)")
    parser.add_argument("--scenario", action="append", default=[], help="only those whose title holds this; repeatable")
    parser.add_argument("--quick", action="store_true", help="few runs of short rotations, for CI")
    parser.add_argument("--silence", action="store_true", help="the silence table alone")
    parser.add_argument("--cost", action="store_true", help="the detector's cost alone")
    parser.add_argument(
        "--out", type=Path, default=None, help="where runs are kept, and a call with their seed goes on"
    )
    options = parser.parse_args(arguments)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    console = Console(width=200)
    console.print(f"seed {seed}, Python {platform.python_version()}")
    alone = options.silence or options.cost
    held = True
    if not alone:
        held = failures(options, seed, console)
    if options.silence or not (alone or options.quick or options.scenario):
        lines, silent = silence.table(options.runs * 10, seed)
        held &= silent
        table = Table("uses", "late, 30 d known", "median", "late, 90 d known", "median", "bar of late")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    if options.cost or not (alone or options.quick or options.scenario):
        table = Table("clients", "bucket", "detector, µs", "plain counting, µs", "ratio")
        for row in cost.costs():
            table.add_row(*row)
        console.print(table)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
