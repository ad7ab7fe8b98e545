"""`keyturn simulate` as it is called: exit codes, what it prints where, and that a seed says it all."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

from keyturn.cli.application import run
from keyturn.domain.tables import EDGES
from keyturn.runtime.outbox import Outbox
from keyturn.runtime.step import Step
from keyturn.runtime.tick import Runtime
from keyturn.testing.fakes import FakeIssuer
from keyturn.testing.simulation.clients import Client
from keyturn.testing.simulation.faults import FAULTS
from keyturn.testing.simulation.main import main
from keyturn.testing.simulation.sabotages import SABOTAGES

COMMAND = "import sys; from keyturn.cli.application import run; sys.exit(run(sys.argv[1:]))"


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            COMMAND,
            "simulate",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=300,
    )


@pytest.mark.slow
def test_seed_is_the_whole_trace(tmp_path: Path) -> None:
    """One seed gives one trace, to the byte, under any PYTHONHASHSEED."""
    seed = str(random.SystemRandom().randrange(2**32))
    traces = []
    for hashing in ("0", "1", "4242"):
        file = tmp_path / hashing
        done = simulate("--runs", "6", "--seed", seed, "--trace", str(file), PYTHONHASHSEED=hashing)
        assert done.returncode == 0, f"seed {seed}: {done.stdout}"
        traces.append(file.read_bytes())
    assert len(traces[0]) > 1000
    assert traces[0] == traces[1] == traces[2], f"seed {seed}"


@pytest.mark.slow
def test_json_is_one_object_on_stdout() -> None:
    """With --json standard output holds one object with the counts that were asked for, and progress goes elsewhere."""
    done = simulate("--runs", "3", "--seed", "1", "--json")
    report = json.loads(done.stdout)
    assert (report["runs"], report["violations"], report["seed"]) == (3, [], 1)
    assert report["rotations"] >= 3
    assert report["steps"] > report["rotations"]
    assert report["seconds"] > 0
    assert set(report["strength"]["faults"]) == set(FAULTS)
    assert len(report["strength"]["edges"]) == len({(before, to) for (before, _), (to, _) in EDGES.items()})
    assert "seed 1" in done.stderr


@pytest.mark.slow
def test_the_store_that_the_daemon_has_by_default_tells_the_same_story() -> None:
    """On SQLite a seed gives the same runs as in memory, step by step, and no promise is broken."""
    told = [
        json.loads(simulate("--runs", "4", "--seed", "5", "--store", kind, "--json").stdout)
        for kind in ("memory", "sqlite")
    ]
    same = ("runs", "rotations", "steps", "violations", "strength")
    assert [told[0][name] for name in same] == [told[1][name] for name in same]
    assert told[0]["violations"] == []


@pytest.mark.slow
def test_violation_is_exit_1_with_a_trace_for_people() -> None:
    """A broken product ends the run with exit 1, and with the seed, the run, the promise and what led there."""
    done = simulate("--runs", "50", "--seed", "2", "--sabotage", "never-revoke", "--json")
    assert done.returncode == 1
    (violation,) = json.loads(done.stdout)["violations"]
    assert violation["promise"] == "P5"
    assert violation["seed"] == 2
    assert any("means to promote v2" in line for line in violation["trace"])
    assert violation["trace"][-1].startswith("t+")


@pytest.mark.parametrize(
    ("owner", "broken"), [(Runtime, "tick"), (Runtime, "command"), (Step, "run"), (Outbox, "_send")]
)
def test_daemon_that_breaks_is_a_violation(
    owner: type, broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What breaks in the product in a tick or a command, contained there or not, is promise P10 broken, with its seed and
    run, whatever it is."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(28, "no space left")

    # A stand-in for the product's own code is asked for by the product's name.
    exec_globals = {**failing.__globals__, "__name__": "keyturn.runtime.tick"}
    monkeypatch.setattr(owner, broken, FunctionType(failing.__code__, exec_globals))
    arguments = ["--runs", "3", "--seed", "4", "--faults", "operator", "--jobs", "1", "--json"]
    assert run(["simulate", *arguments]) == 1
    violation = json.loads(capsys.readouterr().out)["violations"][0]
    assert (violation["promise"], violation["seed"]) == ("P10", 4)
    assert "OSError: [Errno 28] no space left" in violation["violation"]
    assert any("BROKEN P10" in line for line in violation["trace"])


@pytest.mark.parametrize(("owner", "broken"), [(Client, "act"), (FakeIssuer, "verifiers")])
def test_mistake_of_the_simulator_is_no_violation(owner: type, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the simulator itself does wrong, in a call that the product makes too, is neither the product's nor the trace
    file's."""

    def failing(_: object) -> None:
        raise OSError(5, "not the product's")

    monkeypatch.setattr(owner, broken, failing)
    with pytest.raises(OSError, match="not the product's"):
        main(["--runs", "1", "--seed", "1", "--jobs", "1"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--runs", "0"], "at least one"),
        (["--runs", "many"], "'many' is no whole number"),
        (["--seed", "x"], "'x' is no whole number"),
        (["--seconds", "-1"], "above zero"),
        (["--faults", "crash,rain"], "'rain' is no fault; there are crash"),
        (["--sabotage", "nothing"], "'nothing' is no sabotage"),
        (["--stores", "memory"], "unrecognized arguments"),
        (["--trace", "/nowhere/at/all", "--runs", "1"], "cannot write /nowhere/at/all"),
    ],
)
def test_wrong_argument_is_exit_2_with_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument is one clear line on standard error and exit 2, and nothing is simulated."""
    assert run(["simulate", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith("seed ")]
    assert len(lines) == 1
    assert told in lines[0]


def test_sabotages_are_listed_by_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list-sabotages` prints one name a line, at least twenty, and nothing else."""
    assert run(["simulate", "--list-sabotages"]) == 0
    assert capsys.readouterr().out.splitlines() == list(SABOTAGES)
    assert len(SABOTAGES) >= 20
