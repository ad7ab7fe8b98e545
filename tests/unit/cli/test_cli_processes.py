"""`keyturn serve` and `status --watch` as processes of their own, and the way to the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest
import requests
from tests.unit.api.house import House, command

from keyturn.cli import application
from keyturn.cli.application import run

ROOT = Path(__file__).parents[3]
WITHIN = 30.0


@contextmanager
def started(house: House, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the code that is beside the tests, which finds the fakes; gone afterwards."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), str(house.folder / "fakes")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        command(*words), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().rstrip("\n")


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process that was told to stop still said; that ends with 0."""
    out, err = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_told_to_stop(house: House, number: signal.Signals) -> None:
    """It says where it answers, answers, and ends with 0, its store free for the next."""
    house.configure(lambda config: config.update(tick="50ms"))
    with started(house, "serve", "--config", str(house.file)) as process:
        first = line_of(process.stdout)
        assert first.startswith("keyturn serves at http://127.0.0.1:")
        house.url = first.split()[3].rstrip(";")
        assert house.ask("GET", "/readyz", token=None).status_code == 200
        process.send_signal(number)
        out, err = ended(process)
        assert out == ""
        assert all(line.startswith("{") for line in err.splitlines())
        assert f'"reason": "{number.name}"' in err
    with house.daemon():
        pass


def test_serve_says_in_one_line_what_it_misses(house: House) -> None:
    """A backend that is not up keeps nothing from starting, and the line names it with its mend."""
    house.configure(lambda config: config["backends"]["bao"].update(problem="no answer at http://x: start it"))
    with started(house, "serve", "--config", str(house.file)) as process:
        line_of(process.stdout)
        line = line_of(process.stdout)
        process.terminate()
        _, err = ended(process)
        assert line == "keyturn misses: backend bao: no answer at http://x: start it; it keeps trying", err


def test_serve_after_a_kill_goes_on_at_once(house: House) -> None:
    """SIGKILL leaves no lock behind, and a half-made start is completed by the next."""
    for _ in range(3):
        with started(house, "serve", "--config", str(house.file)) as process:
            line_of(process.stdout)
            process.kill()
    with started(house, "serve", "--config", str(house.file)) as process:
        assert line_of(process.stdout).startswith("keyturn serves at")
        process.terminate()
        ended(process)


def test_what_was_answered_outlives_a_kill(house: House) -> None:
    """A source that got its answer need not send again, and one that got none may: after SIGKILL in the midst of batches
    each counts once."""
    key_id = house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
    start = datetime.now(UTC).replace(microsecond=0)
    answered, enough = [0] * 4, threading.Event()

    def push(node: int, number: int) -> bool:
        line = {"key_id": key_id, "client": f"node-{node}", "start": start.isoformat(), "successes": 1, "failures": 0}
        headers = {"Idempotency-Key": f"{node}/{number}"}
        answer = house.push({**line, "matched": True, "identified": True}, headers=headers)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["duplicate"])

    def push_on(node: int) -> None:
        with suppress(requests.ConnectionError):
            while True:
                push(node, answered[node])
                answered[node] += 1
                if sum(answered) >= 40:
                    enough.set()

    with started(house, "serve", "--config", str(house.file)) as process, ThreadPoolExecutor(4) as threads:
        house.url = line_of(process.stdout).split()[3].rstrip(";")
        running = [threads.submit(push_on, node) for node in range(4)]
        assert enough.wait(WITHIN)
        process.kill()
        for one in running:
            one.result(WITHIN)
    with house.daemon() as daemon:
        for node, count in enumerate(answered):
            assert all(push(node, number) for number in range(count))
            push(node, count)  # the one that got no answer
        rows = daemon.store.usage("payments", start=start, end=start + timedelta(seconds=1))
        assert {row.client: row.successes for row in rows} == {
            f"node-{node}": count + 1 for node, count in enumerate(answered)
        }


def test_serve_tells_systemd_that_it_serves(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it answers, and never with a configuration that it cannot start with: a start job of `Type=notify` fails then."""
    address = house.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(WITHIN)
        with started(house, "serve", "--config", str(house.file)) as process:
            assert systemd.recv(100) == b"READY=1"
            house.url = line_of(process.stdout).split()[3].rstrip(";")
            assert house.ask("GET", "/livez", token=None).status_code == 200
            process.terminate()
            ended(process)
        house.configure(lambda config: config["credentials"]["payments"].update(issuer="door"))
        with started(house, "serve", "--config", str(house.file)) as process:
            assert process.wait(WITHIN) == 2
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_serve_where_systemd_does_not_listen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that was left in the environment by somebody else is no reason not to serve; the log says it."""
    monkeypatch.setenv("NOTIFY_SOCKET", "@no-such-socket-of-keyturn")
    with started(house, "serve", "--config", str(house.file)) as process:
        line_of(process.stdout)
        process.terminate()
        _, err = ended(process)
        assert "systemd cannot be told" in err


def test_serve_with_a_wrong_configuration(house: House) -> None:
    """One line each, exit code 2, and nothing is made."""
    house.configure(lambda config: config["credentials"]["payments"].update(issuer="door"))
    with started(house, "serve", "--config", str(house.file)) as process:
        out, err = process.communicate(timeout=WITHIN)
    assert (process.returncode, out) == (2, "")
    (line,) = err.splitlines()
    assert "credentials.payments.issuer: there is no issuer 'door'" in line
    assert not house.state.exists()


def test_watching_in_a_pipe_prints_each_change(house: House) -> None:
    """The first line now, the next when it is another."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        where = ["--url", house.url, "--token-file", str(house.state / "tokens" / "viewer")]
        with started(house, "status", "payments", "--watch", *where) as process:
            assert line_of(process.stdout) == "payments: no rotation has run yet; the next starts on command"
            assert house.ask("POST", "/v1/credentials/payments/rotate").status_code == 200
            assert line_of(process.stdout).startswith("payments: v1 → v2 in introduce")
            process.send_signal(signal.SIGINT)
            assert process.wait(WITHIN) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_reader_that_has_seen_enough(house: House) -> None:
    """`| head` is no error worth a traceback."""
    with started(house, "check", "--schema") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(WITHIN) in (0, 1)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_command_imports_neither_daemon_nor_demo() -> None:
    """An operator's command stays quick: no web framework, no database, no vendor's library."""
    heavy = ("fastapi", "sqlalchemy", "boto3", "hvac", "uvicorn", "apscheduler", "keyturn.demo", "keyturn.app")
    code = f"import sys, keyturn.cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WITHIN)
    assert found.stdout.strip() == "[]"


def test_demo_gets_its_own_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything after `demo` is the demo's, and so is the exit code."""
    (tmp_path / "stand_in_demo.py").write_text("def main(arguments):\n    print(arguments)\n    return 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(application, "DEMO", "stand_in_demo")
    assert run(["demo", "--scenario", "happy", "--keep", "x", "--help"]) == 7
    assert capsys.readouterr().out.strip() == "['--scenario', 'happy', '--keep', 'x', '--help']"


def test_demo_without_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing, and how it is installed."""
    (tmp_path / "bare_demo.py").write_text("import there_is_no_such_wheel\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(application, "DEMO", "bare_demo")
    assert run(["demo"]) == 2
    assert capsys.readouterr().err == (
        "keyturn: the demo needs there_is_no_such_wheel, which is not installed: pip install 'keyturn[demo]'\n"
    )


def test_example_configuration_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """What the repository shows is accepted; what it misses is around it, never in it: exit code 1, not 2."""
    assert run(["check", "--config", str(ROOT / "config" / "example.yaml")]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "backend openbao" in captured.out
    assert not (ROOT / "config" / "var").exists()


def test_example_configuration_is_accepted_offline(capsys: pytest.CaptureFixture[str]) -> None:
    """`--offline` asks nothing outside: the example is accepted on a machine that has nothing."""
    assert run(["check", "--offline", "--config", str(ROOT / "config" / "example.yaml")]) == 0
    assert "holds together" in capsys.readouterr().out
