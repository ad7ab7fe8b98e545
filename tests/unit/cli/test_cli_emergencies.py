"""Emergencies and other people's hands on the command line: what is said, its exit codes, and what is then told."""

from __future__ import annotations

import json

import pytest
from tests.unit.api.house import House
from tests.unit.cli.terminal import Terminal, overlapping, revision

from keyturn.app.daemon import Daemon
from keyturn.cli.application import run

WHY = ("--reason", "INC-7")


@pytest.fixture
def house(house: House) -> House:
    """With a second credential, so that one command can name two."""

    def twice(config: dict[str, object]) -> None:
        credentials = config["credentials"]
        assert isinstance(credentials, dict)
        credentials["refunds"] = {
            **credentials["payments"],
            "targets": [{"backend": "bao", "path": "refunds", "name": "bao"}],
        }

    house.configure(twice)
    house.backend.place("refunds").overwrite(house.authority.new_key("second").value.reveal())
    return house


def intruded(terminal: Terminal, daemon: Daemon) -> str:
    """A rotation held because somebody has put a value of their own; returns the id of it."""
    overlapping(terminal, daemon)
    terminal.house.backend.place("payments").overwrite("somebody's own")
    daemon.tick()
    daemon.tick()
    assert terminal("status", "payments", "--json") == 0
    found: str = json.loads(terminal.out)["seen"]["targets"][0]["id"]
    return found


def test_emergency_for_several_names(terminal: Terminal, daemon: Daemon) -> None:
    """A line for each; the overview and each status begin with it, and the table shows the mark with its cut."""
    assert terminal("emergency", "payments", "refunds", *WHY) == 0
    assert [line.split(":")[0] for line in terminal.out.splitlines()] == ["payments", "refunds"]
    daemon.tick()
    assert terminal("status") == 0
    assert terminal.out.startswith("EMERGENCY, compromised: payments (v1), refunds (v1); see ")
    assert terminal("status", "payments") == 0
    assert terminal.out.startswith("payments: EMERGENCY: v1 compromised, cut off at ")
    assert terminal("status", "payments", "--json") == 0
    version = json.loads(terminal.out)["versions"][0]
    assert terminal("status", "payments") == 0
    (row,) = [line for line in terminal.out.splitlines() if line.startswith("v1 ") and "COMPROMISED" in line]
    assert version["cut_at"][11:19] in row.rsplit("  ", 1)[1]


def test_one_refusal_keeps_nobody_waiting(terminal: Terminal, daemon: Daemon) -> None:
    """The others are reported, and the exit code is a refusal's."""
    assert terminal("emergency", "paymens", "refunds", *WHY) == 1
    assert terminal.err == "keyturn: no credential is called 'paymens'; configured are: payments, refunds\n"
    assert terminal.out.startswith("refunds: v1 is marked compromised")
    assert [rotation.credential for rotation in daemon.store.live()] == ["refunds"]


def test_emergency_is_json_for_each(terminal: Terminal, daemon: Daemon) -> None:
    """One document, an answer for each name."""
    assert terminal("emergency", "payments", "refunds", "--dry-run", "--json", *WHY) == 0
    assert [answer["dry_run"] for answer in json.loads(terminal.out)] == [True, True]
    assert daemon.store.live() == []


def test_emergency_under_way_wants_a_version(terminal: Terminal, daemon: Daemon) -> None:
    """Where two can be meant; with it, the grace is the caller's."""
    overlapping(terminal, daemon)
    before = revision(daemon)
    assert "name the one that is compromised with --version" in terminal.refused("emergency", "payments", *WHY)
    assert "grace_cap" in terminal.refused("emergency", "payments", "--version", "1", "--grace", "2h", *WHY)
    assert revision(daemon) == before
    assert terminal("emergency", "payments", "--version", "1", "--grace", "90s", *WHY) == 0
    assert "90 s after the last promote" in terminal.out


def test_cut_now(terminal: Terminal, daemon: Daemon) -> None:
    """Said as what it is."""
    assert terminal("emergency", "payments", "--cut-now", "--dry-run", *WHY) == 0
    assert "v1 would be marked compromised, and disabled at once, whoever still uses it" in terminal.out


def test_reassert(terminal: Terminal, daemon: Daemon) -> None:
    """Dry first, then for real; another id is refused."""
    found = intruded(terminal, daemon)
    before = revision(daemon)
    line = terminal.refused("reassert", "payments", "--target", "bao", "--found", "99", *WHY)
    assert f"get {found} now, not 99" in line
    assert terminal("reassert", "payments", "--target", "bao", "--found", found, "--dry-run", *WHY) == 0
    assert "would get what overlap calls for" in terminal.out
    assert revision(daemon) == before
    assert terminal("reassert", "payments", "--target", "bao", "--found", found, *WHY) == 0
    assert "will get what overlap calls for" in terminal.out


def test_accept_and_the_history_of_it(terminal: Terminal, daemon: Daemon) -> None:
    """The trail tells who reported what, who accepted what, and which rotation took over from which."""
    found = intruded(terminal, daemon)
    assert terminal("emergency", "payments", "--version", "1", *WHY) == 0
    assert terminal("accept", "payments", "--target", "bao", "--found", found, *WHY) == 0
    assert "will give way to one that adopts" in terminal.out
    first = daemon.store.live_of("payments")
    daemon.tick()
    second = daemon.store.live_of("payments")
    assert first is not None
    assert second is not None
    assert terminal("history", "payments") == 0
    told = [line.split("Z  ")[-1] for line in terminal.out.splitlines()]
    who = first.started_by
    assert f"in overlap, {who} reported v1 compromised: INC-7" in told
    assert f"in overlap, {who} commanded accept {found} at bao: INC-7" in told
    end = next(
        number for number, line in enumerate(told) if line.startswith(f"gave way to {second.id}: An operator accepted")
    )
    assert told[end + 1] == f"Rotation {second.id}"
    assert f"began it: takes over from {first.id}" in told[end + 2]


def test_emergency_that_begins_a_rotation_is_told(terminal: Terminal, daemon: Daemon) -> None:
    """Who reported what and why, and not that somebody began something; another's words are left as they are."""
    assert terminal("emergency", "payments", *WHY) == 0
    assert terminal("rotate", "refunds", "--reason", "emergency drill: v1") == 0
    assert terminal("history", "payments") == 0
    assert terminal.out.splitlines()[1].endswith(" (operator) reported v1 compromised: INC-7")
    assert terminal("history", "refunds") == 0
    assert terminal.out.splitlines()[1].endswith(" (operator) began it: emergency drill: v1")


def test_lost_value_that_is_not_lost(terminal: Terminal, daemon: Daemon) -> None:
    """Refused with where it is."""
    overlapping(terminal, daemon)
    assert "is kept at every target" in terminal.refused("accept", "payments", "--lost", "1", *WHY)


def test_abandon(terminal: Terminal, daemon: Daemon) -> None:
    """Refused where a rollback is the way; allowed on the way back."""
    overlapping(terminal, daemon)
    assert "use `keyturn rollback payments`" in terminal.refused("abandon", "payments", *WHY)
    assert terminal("rollback", "payments") == 0
    daemon.tick()
    before = revision(daemon)
    another = terminal.refused("abandon", "payments", "--expect-version", "1", *WHY)
    assert "would be given up brings v2, not v1: look at `keyturn status payments`" in another
    named = ("abandon", "payments", "--expect-version", "2", *WHY)
    assert terminal(*named, "--dry-run") == 0
    assert revision(daemon) == before
    assert terminal(*named) == 0
    assert "will give way to a rotation that takes over" in terminal.out


def test_force_for_good(terminal: Terminal, daemon: Daemon) -> None:
    """Only where force is; it says that nothing brings the version back."""
    overlapping(terminal, daemon)
    force = ("force", "payments", "--version", "2", "--final", *WHY)
    assert "waits for no silence" in terminal.refused(*force)
    assert terminal("rollback", "payments") == 0
    daemon.tick()
    assert terminal(*force) == 0
    assert "no refused use brings it back" in terminal.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["emergency", "payments"], "Missing option '--reason'"),
        (["emergency", *WHY], "Missing argument 'NAME"),
        (["emergency", "a", "b", "--version", "1", *WHY], "a version is one credential's"),
        (["accept", "payments", *WHY], "give --target with --found, or --lost alone"),
        (["accept", "payments", "--target", "bao", *WHY], "give --target with --found, or --lost alone"),
        (["accept", "payments", "--target", "bao", "--found", "3", "--lost", "1", *WHY], "or --lost alone"),
        (["reassert", "payments", "--target", "bao", *WHY], "Missing option '--found'"),
        (["abandon", "payments"], "Missing option '--reason'"),
    ],
)
def test_command_line_that_is_wrong(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """One line, exit code 2, before anybody is asked."""
    assert run(words) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert said in line
