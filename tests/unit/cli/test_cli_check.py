"""`keyturn check`: what can be found without rotating."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.api.house import House

from keyturn.cli.application import run
from keyturn.ports.records import Told, UsageRow


def checked(house: House, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["check", "--config", str(house.file), *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_sound_configuration(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything answers: exit code 0; what is worth knowing is a warning."""
    code, out, err = checked(house, capsys)
    assert (code, err) == (0, "")
    assert "sound; 1 credential, 4 parts asked: a rotation can work" in out
    assert "warning" in out
    assert "problem " not in out


def test_wrong_configuration(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """All its problems, one line each, exit code 2; nothing was made."""

    def spoil(config: dict[str, Any]) -> None:
        config["colour"] = "red"
        config["tick"] = "soon"

    house.configure(spoil)
    code, out, err = checked(house, capsys)
    assert (code, out) == (2, "")
    assert [line.split(": ")[2] for line in err.splitlines()] == ["tick", "colour"]
    assert not house.state.exists()


def test_checking_leaves_nothing_behind(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """No store, no tokens: it can run beside the daemon and before it."""
    checked(house, capsys)
    assert not house.state.exists()


@pytest.mark.parametrize(
    ("spoil", "about", "said"),
    [
        (lambda c: c["backends"]["bao"].update(problem="sealed: unseal it"), "backend bao", "sealed: unseal it"),
        (lambda c: c["issuers"]["gateway"].update(problem="no table"), "issuer gateway", "no table"),
        (
            lambda c: c["sources"].update(pushed={"type": "fake"}),
            "source pushed",
            "fake source: may not read; grant it the right to",
        ),
        (
            lambda c: c["credentials"]["payments"].update(sources=[]),
            "credential payments",
            "silence can never be known",
        ),
    ],
)
def test_problem_is_in_the_table_and_the_exit_code(
    house: House, capsys: pytest.CaptureFixture[str], spoil: Any, about: str, said: str
) -> None:
    """What would stop a rotation: exit code 1, a row with what it is about and the mend, and the same in JSON."""
    house.configure(spoil)
    code, out, err = checked(house, capsys)
    assert (code, err) == (1, "")
    assert "1 problem" in out.splitlines()[0]
    (row,) = [line for line in out.splitlines() if line.startswith("problem")]
    assert about in row
    assert said in row
    code, out, err = checked(house, capsys, "--json")
    findings = json.loads(out)["findings"]
    assert (code, json.loads(out)["ok"]) == (1, False)
    assert [finding["subject"] for finding in findings if finding["severity"] == "problem"] == [about]


def test_sources_that_see_no_failures(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Evidence cannot roll the credential back: to be known, and no reason to stop."""
    house.configure(lambda config: config["sources"]["pushed"].update(sees_failures=False))
    code, out, _ = checked(house, capsys)
    assert code == 0
    assert "evidence cannot roll it back" in out


def test_listening_beyond_loopback(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens would cross the network in clear: a warning with the mend."""
    house.configure(lambda config: config["http"].update(listen="0.0.0.0:8290"))
    code, out, _ = checked(house, capsys)
    assert code == 0
    assert "put a TLS proxy in front" in out


def test_overlap_that_is_too_short(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Found before anything is asked."""
    house.configure(lambda config: config["policies"]["quick"].update(client_refresh="1h"))
    code, _, err = checked(house, capsys)
    assert code == 2
    assert "is shorter than propagation + client_refresh + pool_lifetime = 1:00:02" in err


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            {"silence_floor": "3d12h"},
            "silence_floor: its old version is disabled after as little as 3 days, 12:00:00 of",
        ),
        ({"silence_floor": "3d12h"}, "a job that runs once a week is not waited for with a chance of 50%"),
        (
            {"silence_few": "9d"},
            "silence_few: its old version is disabled after as little as 9 days, 0:00:00 of silence",
        ),
        ({"silence_few": "9d"}, "a job that runs less often than that is not waited for"),
        ({"unseen_share": 0.5}, "unseen_share: "),
    ],
)
def test_what_a_policy_risks_is_told(
    house: House, capsys: pytest.CaptureFixture[str], policy: dict[str, object], said: str
) -> None:
    """A policy that waits for less silence than was shown to be safe says so, and rotates all the same."""
    safe = {"silence_floor": "15d", "silence_few": "14d", "silence_unseen": "60d", "unseen_share": 0.05}
    house.configure(lambda config: config["policies"]["quick"].update(safe))
    assert "disabled after as little as" not in checked(house, capsys)[1]
    house.configure(lambda config: config["policies"]["quick"].update(safe | policy))
    code, out, _ = checked(house, capsys)
    assert code == 0
    (line,) = [line for line in out.splitlines() if "disabled after as little as" in line]
    assert line.startswith("warning   credential payments")
    assert said in line


def test_schema_needs_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Editors get the JSON Schema from the command."""
    assert run(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "ConfigFile"


def test_credential_too_quiet_to_be_judged_is_named(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a daemon runs, its history says whose clients come too seldom, and what a canary would have to do."""

    def listen(config: dict[str, Any]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            config["http"]["listen"] = f"127.0.0.1:{free.getsockname()[1]}"
        config["credentials"]["payments"]["clients"] = ["checkout", "batch"]
        config["policies"]["quick"]["minimum_overlap"] = "1h"

    house.configure(listen)
    house.furnish()
    assert "too quiet" not in checked(house, capsys)[1]
    with house.daemon() as daemon:
        daemon.tick()
        now = datetime.now(UTC)
        assert "too quiet" not in checked(house, capsys)[1]  # nothing is known yet
        daemon.store.add_usage([Told(source="pushed", rows=[], watermark=now - timedelta(days=2))], received_at=now)
        for client, times in (("checkout", 48 * 13), ("batch", 48 * 11)):
            row = UsageRow(
                credential="payments",
                serial=1,
                client=client,
                start=now.replace(microsecond=0) - timedelta(days=1),
                length=timedelta(seconds=1),
                successes=times,
                failures=0,
            )
            daemon.store.add_usage([Told(source="pushed", rows=[row], watermark=None)], received_at=now)
        code, out, _ = checked(house, capsys)
        (line,) = [line for line in out.splitlines() if "too quiet to be judged" in line]
        assert line.startswith("warning   credential payments")
        assert "batch present it fewer than 12 times within the minimum overlap of 1:00:00" in line
        assert "a canary" in line
        assert "every 0:05:00" in line
        assert code == 0
