"""The command: which scenarios on which backends, the report, and the exit code."""

import argparse
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from keyturn.demo.backends import BACKENDS
from keyturn.demo.report import Report
from keyturn.demo.scenario import Scenario, perform
from keyturn.demo.scenarios import SCENARIOS
from keyturn.demo.view import View
from keyturn.demo.waiting import PartFailed, signals_end_the_run

ALL = "all"
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only if every row held."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    console = Console(file=sys.stdout, highlight=False)
    try:
        with signals_end_the_run():
            return _run(options, console)
    except KeyboardInterrupt:
        console.print(Text("interrupted; everything that was started is gone"))
        return INTERRUPTED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keyturn demo", description="Rotate real credentials under live traffic.")
    parser.add_argument("--scenario", choices=[*SCENARIOS, ALL], default="happy")
    parser.add_argument("--backend", choices=[*BACKENDS, ALL], default="vault")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there, as JSON")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep there what the run wrote")
    parser.add_argument("--seed", type=int, metavar="N", help="draws the moments of the crash scenario")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, console: Console) -> int:
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    scenarios = list(SCENARIOS) if options.scenario == ALL else [options.scenario]
    backends = list(BACKENDS) if options.backend == ALL else [options.backend]
    several = ALL in (options.scenario, options.backend)
    reports = []
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
    with _folder(options.keep) as folder:
        for backend in backends:
            for name in scenarios:
                own = folder / name / backend if several else folder
                own.mkdir(parents=True, exist_ok=True, mode=0o700)
                report = _one(name, backend, own, seed, console)
                reports.append(report)
                _tell(report, console)
    if options.report is not None:
        written = [report.as_json() for report in reports]
        options.report.write_text(json.dumps(written if several else written[0], indent=2) + "\n")
    return 1 if any(report.broken for report in reports) else 0


def _one(name: str, backend: str, folder: Path, seed: int, console: Console) -> Report:
    parts = SCENARIOS[name](seed)
    reports = []
    for part in parts:
        own = folder / part.name if len(parts) > 1 else folder
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        reports.append(_part(part, backend, own, console))
    return Report.of_parts(name, reports)


def _part(part: Scenario, backend: str, folder: Path, console: Console) -> Report:
    view = View(f"{part.name} on {backend}", console)
    try:
        return perform(part, backend=backend, folder=folder, view=view)
    except (PartFailed, OSError) as error:
        return Report.of_failure(scenario=part.name, backend=backend, why=str(error))


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = [child.name for child in keep.iterdir()]
        if taken:
            raise SystemExit(f"{keep} holds {taken[0]} already: name a new or an empty folder")
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="keyturn-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def _tell(report: Report, console: Console) -> None:
    title = f"{report.scenario} on {report.backend}"
    counts = f"{report.tally.requests} requests, {report.tally.refused} refused, {report.tally.errors} failed"
    console.print(Text(f"{title}: {report.outcome}; {counts}; {report.seconds:.0f} s"), soft_wrap=True)
    for line in report.broken:
        console.print(Text(f"{title}: DID NOT HOLD: {line}"), soft_wrap=True)
