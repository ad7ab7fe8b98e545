"""The demo as a process that is watched from outside."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told apart from a later one with its number by when it started."""

    pid: int
    started: str


@dataclass
class WholeDemo:
    """A running demo, and what was seen of its processes."""

    process: subprocess.Popen[bytes]
    output_file: Path
    seen: set[Process] = field(default_factory=set)
    arguments_and_environments: set[bytes] = field(default_factory=set)

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def watch(self, until: Callable[[], bool], *, within: float) -> None:
        """Look at its processes again and again until something is so."""
        deadline = time.monotonic() + within
        while True:
            done = until()
            self._look()
            if done:
                return
            assert time.monotonic() < deadline, self.output
            time.sleep(POLL)

    def wait(self, *, within: float) -> int:
        self.watch(lambda: self.process.poll() is not None, within=within)
        return self.process.wait()

    def left(self) -> list[Process]:
        """Those of its processes that are still there."""
        now = {Process(pid, started) for pid, (_, started) in _processes().items()}
        return sorted(self.seen & now, key=lambda process: process.pid)

    def _look(self) -> None:
        table = _processes()
        family = {self.process.pid}
        grown = True
        while grown:
            children = {pid for pid, (parent, _) in table.items() if parent in family} - family
            family |= children
            grown = bool(children)
        for pid in family & table.keys():
            self.seen.add(Process(pid, table[pid][1]))
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    self.arguments_and_environments.add(Path(f"/proc/{pid}/{name}").read_bytes())


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and start of every process that is not just waiting to be reaped."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[int(stat.parent.name)] = (int(fields[1]), fields[19])
    return found


@contextlib.contextmanager
def whole_demo(folder: Path, *arguments: str, sabotage: Path | None = None) -> Iterator[WholeDemo]:
    """Start `python -m keyturn.demo`; it is not left behind, whatever the test does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST"))}
    if sabotage is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(sabotage), environment.get("PYTHONPATH", "")]))
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "keyturn.demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield WholeDemo(process=process, output_file=output)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        process.kill()
        process.wait()


def read_report(file: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def files_below(folder: Path) -> Sequence[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
