"""The command: what to simulate, how often, and what to say of it."""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from itertools import count, takewhile
from pathlib import Path

from keyturn.ports.store import Store
from keyturn.stores.sql.store import SqlStore
from keyturn.testing.simulation.faults import FAULTS
from keyturn.testing.simulation.plan import Plan, plan
from keyturn.testing.simulation.quiet import quiet
from keyturn.testing.simulation.report import Breach, Report
from keyturn.testing.simulation.run import Outcome, simulate
from keyturn.testing.simulation.sabotages import SABOTAGES
from keyturn.testing.simulation.shrink import shrunk
from keyturn.testing.simulation.side_by_side import cores, outcomes
from keyturn.testing.simulation.world import OpenStore

HELD, BROKEN, USAGE = 0, 1, 2
EVERY = 2.0
"""Seconds between two words on standard error."""
DEFAULT_RUNS = 100


class Unwritable(Exception):
    """A file of the simulator's own cannot be written."""


class Parser(argparse.ArgumentParser):
    """One clear line for a wrong argument."""

    def error(self, message: str) -> object:  # type: ignore[override]
        sys.stderr.write(f"keyturn: {message}. See `keyturn simulate --help`.\n")
        raise SystemExit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; 0 when every promise held, 1 when one was broken, 2 for wrong arguments or where nothing can be written."""
    try:
        options = _parsed(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE
    if options.list_sabotages:
        sys.stdout.write("".join(f"{name}\n" for name in SABOTAGES))
        return HELD
    try:
        report = _run(options)
    except Unwritable as error:
        sys.stderr.write(f"keyturn: {error}\n")
        return USAGE
    if options.json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(report.lines()) + "\n")
    return BROKEN if report.breaches else HELD


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="keyturn simulate",
        description="Run the product's own code against simulated faults and hold it to its promises.",
        allow_abbrev=False,
    )
    parser.add_argument("--runs", type=_count, metavar="N", help=f"so many runs (default {DEFAULT_RUNS})")
    parser.add_argument("--seconds", type=_seconds, metavar="T", help="start no run after so many seconds")
    parser.add_argument("--seed", type=_seed, metavar="S", help="draws everything (default: a fresh one, printed)")
    parser.add_argument(
        "--faults", type=_faults, default=tuple(FAULTS), metavar="A,B", help=f"only these of: {', '.join(FAULTS)}"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write there what happened in every run")
    parser.add_argument(
        "--store", choices=("memory", "sqlite"), default="memory", help="where the product keeps its state"
    )
    parser.add_argument("--sabotage", type=_sabotage, metavar="NAME", help="break the product; stop when that is seen")
    parser.add_argument("--list-sabotages", action="store_true", help="print the names of the sabotages")
    parser.add_argument(
        "--jobs", type=_count, default=cores(), metavar="N", help="so many runs at once (default: one a core)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError("at least one is needed")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("a number of seconds above zero is needed")
    return number


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _faults(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FAULTS:
            raise argparse.ArgumentTypeError(f"{name!r} is no fault; there are {', '.join(FAULTS)}")
    return names


def _sabotage(text: str) -> str:
    if text not in SABOTAGES:
        raise argparse.ArgumentTypeError(f"{text!r} is no sabotage; `keyturn simulate --list-sabotages` names them")
    return text


def _run(options: argparse.Namespace) -> Report:
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    report = Report(seed=seed, store=options.store, faults_asked=options.faults, sabotage=options.sabotage)
    sys.stderr.write(f"seed {seed}\n")
    runs = options.runs if options.runs is not None or options.seconds is not None else DEFAULT_RUNS
    began = said = time.monotonic()
    sabotage = SABOTAGES[options.sabotage]() if options.sabotage is not None else nullcontext()
    run = partial(_drawn, seed, options.faults, options.store, options.trace is not None)
    numbers = takewhile(lambda _: not _over(began, options.seconds), count() if runs is None else range(runs))
    with _writing(options.trace) as write, quiet(), _swept_between_runs(), sabotage:
        for outcome in outcomes(run, numbers, options.jobs):
            write("".join(f"{report.runs}: {line}\n" for line in outcome.lines))
            report.add(outcome)
            if outcome.violation is not None:
                broken = outcome.violation
                sys.stderr.write(
                    f"run {outcome.plan.run}: {broken.promise}: {broken.text}; looking for less that breaks it\n"
                )
                report.breaches.append(_breach(outcome, options.store))
                if options.sabotage is not None:
                    break
            if time.monotonic() - said > EVERY:
                said = time.monotonic()
                sys.stderr.write(f"{report.runs} runs, {report.rotations} rotations, {len(report.breaches)} broken\n")
    report.seconds = time.monotonic() - began
    return report


@contextmanager
def _writing(file: Path | None) -> Iterator[Callable[[str], object]]:
    """Writes into the trace file, if one was asked for. Raises `Unwritable`."""
    if file is None:
        yield lambda _: None
        return
    with _about(file):
        trace = file.open("w", encoding="utf-8", newline="\n")

    def write(text: str) -> None:
        with _about(file):
            trace.write(text)

    try:
        yield write
    finally:
        with _about(file):
            trace.close()


@contextmanager
def _about(file: Path | str) -> Iterator[None]:
    """What goes wrong within is about this file."""
    try:
        yield
    except OSError as error:
        raise Unwritable(f"cannot write {file}: {error.strerror}") from error


@contextmanager
def _swept_between_runs() -> Iterator[None]:
    """A world is one heap of cycles and dies as a whole: looked for within a run there is nothing to be found."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _over(began: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - began >= seconds


def _drawn(seed: int, faults: Sequence[str], store: str, told: bool, number: int) -> Outcome:
    outcome = _one(plan(seed, number, faults), store, told=told)
    gc.collect()
    return outcome


def _one(drawn: Plan, store: str, *, told: bool) -> Outcome:
    with _opening(store) as opened:
        return simulate(drawn, told=told, opened=opened)


def _breach(outcome: Outcome, store: str) -> Breach:
    """The same breach with the fewest disturbances that can be found."""
    shorter = shrunk(outcome, lambda drawn: _one(drawn, store, told=False))
    told = _one(shorter, store, told=True)
    violation = told.violation or outcome.violation
    assert violation is not None
    return Breach(
        seed=outcome.plan.seed,
        run=outcome.plan.run,
        promise=violation.promise,
        text=violation.text,
        trace=told.lines,
    )


def _folder() -> tempfile.TemporaryDirectory[str]:
    with _about("a store's folder"):
        return tempfile.TemporaryDirectory(prefix="keyturn-simulate-", ignore_cleanup_errors=True)


@contextmanager
def _opening(kind: str) -> Iterator[OpenStore | None]:
    if kind == "memory":
        yield None
        return
    with (
        _folder() as folder,
        ExitStack() as open_ones,
    ):

        def opened(now: Callable[[], datetime]) -> Store:
            store = SqlStore.open(f"sqlite:///{folder}/keyturn.db", now=now)
            open_ones.callback(store.close)
            return store

        yield opened
