"""Daemons with failpoints, as processes: started, told by HTTP what an operator wants, and looked at."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, Part, python_module
from keyturn.demo.waiting import wait_until

ROOT = Path(__file__).parents[2]
READY_WITHIN = 90.0
ANSWER_WITHIN = 5.0
EVERY = 1.0
"""The share that is all points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of a daemon at its failpoints."""

    at: Sequence[str] = ("*",)
    """Patterns of points."""
    share: float = 0.0
    """Of all points: those that lots are drawn for."""
    seed: int = 0
    signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A tick, or work on one credential in it."""

    what: str
    """`tick`, or the credential's name."""
    at: float
    took: float
    pid: int
    ruled: str = ""
    """Why nothing, or what, came of a look at the credential; empty for a tick, and where the world was not looked at."""


@dataclass
class Daemon:
    """One daemon that is started again when it was killed."""

    family: Family
    folder: Path
    name: str
    port: int
    lease: float | None = None
    always: bool = False
    """It is started again also when it ends by itself, as one does that finds no database; else only when killed."""
    points: bool = True
    """It has failpoints; many rotations at once would make too many."""
    sabotage: str | None = None
    """How it is broken on purpose."""
    journal: Path | None = None
    """Where it writes down its points, beside others that do so too; None: alone."""
    part: Part | None = None
    _session: requests.Session = field(default_factory=requests.Session)

    @property
    def config_file(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    @property
    def looks_file(self) -> Path:
        """When it worked on what, and how long its ticks took."""
        return self.folder / f"{self.name}.looks"

    def configure(self, config: Mapping[str, object]) -> None:
        self._session.trust_env = False
        write_private(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def plan(self, plan: Plan) -> None:
        """From now on, at the next point too."""
        words = {
            "at": list(plan.at),
            "share": plan.share,
            "seed": plan.seed,
            "signal": plan.signal.name,
            "journal": str(self._points),
            "lease": self.lease,
            "always": self.always,
            "points": self.points,
            "looks": str(self.looks_file),
        }
        fresh = self._file("plan.new")
        fresh.write_text(json.dumps(words))
        fresh.replace(self._file("plan"))

    def start(self) -> Part:
        script = ("tests.chaos.lives",) if self.sabotage is None else ("tests.chaos.sabotages", self.sabotage)
        words = (str(self._file("plan").resolve()), "serve", "--config", str(self.config_file.resolve()))
        self.part = self.family.start(self.name, python_module(*script, *words), log=self._file("log"), cwd=ROOT)
        return self.part

    def wait_ready(self) -> None:
        wait_until(self.answers, within=READY_WITHIN, what=f"{self.name} answered", part=self.part)

    def answers(self) -> bool:
        try:
            return self._session.get(f"{self._url}/livez", timeout=ANSWER_WITHIN).status_code == 200
        except requests.RequestException:
            return False

    @property
    def met(self) -> list[dict[str, Any]]:
        """The points at which it was killed or sent to sleep, in order."""
        file = Path(f"{self._points}.met")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def looks(self) -> list[Look]:
        """What it worked on, in order, each written down when it was done."""
        file = self.looks_file
        return [Look(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def ticks(self, since: float) -> int:
        """How many have begun since then, and ended."""
        return sum(look.what == "tick" and look.at > since for look in self.looks)

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return self.pids[-1]

    @property
    def pids(self) -> list[int]:
        """Every process that ever served, the newest last."""
        file = self._file("lives")
        return [int(word) for word in file.read_text().split()] if file.exists() else []

    def send(self, number: signal.Signals) -> None:
        """A signal to the process that serves now."""
        os.kill(self.pid, number)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> requests.Response | None:
        """The answer; None while nobody answers."""
        token = self.folder / "state" / "tokens" / "operator"
        try:
            return self._session.request(
                method,
                f"{self._url}/v1/credentials/{path}",
                json=body,
                headers={"Authorization": f"Bearer {token.read_text().strip()}"},
                timeout=ANSWER_WITHIN,
            )
        except (OSError, requests.RequestException):
            return None

    @property
    def _url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def _points(self) -> Path:
        return self.journal or self.folder / self.name

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"
