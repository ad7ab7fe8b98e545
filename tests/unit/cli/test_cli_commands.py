"""The command against a real daemon: what it says, its exit codes, and that a refusal changes nothing."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.unit.api.house import House
from tests.unit.cli.terminal import Terminal, overlapping, revision

from keyturn.app.daemon import Daemon
from keyturn.cli.application import run


def test_rotate_says_what_it_did(terminal: Terminal, daemon: Daemon) -> None:
    """By name of the versions; who asked is on record."""
    assert terminal("rotate", "payments", "--expect-version", "1") == 0
    assert "from v1 to v2 has started" in terminal.out
    live = daemon.store.live_of("payments")
    assert live is not None
    assert live.started_by.endswith(" (operator)")


def test_dry_run_changes_nothing(terminal: Terminal, daemon: Daemon) -> None:
    """It says what would happen, in the same words."""
    assert terminal("rotate", "payments", "--dry-run") == 0
    assert terminal.out == "payments: a rotation from v1 to v2 would start\n"
    assert daemon.store.live() == []


def test_status_begins_with_what_blocks(terminal: Terminal, daemon: Daemon) -> None:
    """First line in words, then plain columns when piped: no frames, no colour."""
    overlapping(terminal, daemon)
    assert terminal("status", "payments") == 0
    lines = terminal.out.splitlines()
    assert lines[0].startswith("payments: v1 → v2 in overlap ")
    assert "Verifiers" in lines
    assert "\x1b" not in terminal.out
    assert any(line.split() == ["one", "v2", "accepted", "active"] for line in lines)
    assert any(line.split() == ["checkout", "-", "never", "-", "-", "-"] for line in lines)


def test_status_of_all(terminal: Terminal, daemon: Daemon) -> None:
    """The overview says whether anything moves or stands still."""
    assert terminal("status") == 0
    assert terminal.out.splitlines()[0] == "1 credential, none rotating"
    overlapping(terminal, daemon)
    assert terminal("status") == 0
    assert terminal.out.splitlines()[0] == "rotating: payments (in overlap); nothing stands still"


def test_status_of_all_begins_with_what_nothing_can_be_done_for(
    terminal: Terminal, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was seen to do last, it does no more."""

    def broken(*_: object) -> None:
        raise LookupError

    overlapping(terminal, daemon)
    monkeypatch.setattr("keyturn.runtime.step.decide", broken)
    daemon.tick()
    assert terminal("status") == 0
    assert terminal.out.splitlines()[0] == "nothing can be done for payments; see `keyturn status NAME`"
    assert "overlap  nothing can be done" in terminal.out


@pytest.mark.parametrize("words", [("status",), ("status", "payments"), ("history", "payments")])
def test_every_read_has_json(terminal: Terminal, daemon: Daemon, words: tuple[str, ...]) -> None:
    """One document for programs, the same that HTTP gives."""
    overlapping(terminal, daemon)
    assert terminal(*words, "--json") == 0
    assert json.loads(terminal.out)


def test_history_is_told(terminal: Terminal, daemon: Daemon) -> None:
    """Who began it, what moved it and why, in sentences with times."""
    assert terminal("history", "payments") == 0
    assert terminal.out == "payments: nothing has happened yet\n"
    overlapping(terminal, daemon)
    assert terminal("pause", "payments", "--reason", "freeze", "--for", "30m") == 0
    assert terminal("history", "payments") == 0
    title, *lines = terminal.out.splitlines()
    assert title.startswith("Rotation payments-")
    assert "began it: test" in lines[0]
    assert "→ overlap: Every verifier accepts the new version" in lines[1]
    assert "commanded pause: freeze" in lines[-1]


def test_pause_resume_and_rollback(terminal: Terminal, daemon: Daemon) -> None:
    """Each says what it did."""
    overlapping(terminal, daemon)
    assert terminal("pause", "payments") == 0
    assert "is to be paused in overlap until" in terminal.out
    assert terminal("resume", "payments") == 0
    assert terminal.out == "payments: goes on in overlap\n"
    assert terminal("rollback", "payments", "--expect-version", "1") == 0
    assert "v1 is to be what readers get again" in terminal.out


def test_name_that_does_not_exist(terminal: Terminal, daemon: Daemon) -> None:
    """The names that there are, for every command."""
    commands = ["status", "history", "rotate", "rollback", "pause", "resume"]
    for words in [*([command] for command in commands), ["force", "--version", "1", "--reason", "x"]]:
        line = terminal.refused(words[0], "paymens", *words[1:])
        assert line == "keyturn: no credential is called 'paymens'; configured are: payments"
    assert "there is no /v1/credentials/x/y/status here" in terminal.refused("status", "x/y")
    assert daemon.store.live() == []


def test_rotation_already_under_way(terminal: Terminal, daemon: Daemon) -> None:
    """Named with where it stands and what to look at."""
    overlapping(terminal, daemon)
    before = revision(daemon)
    line = terminal.refused("rotate", "payments")
    assert "a rotation of payments is under way already" in line
    assert "keyturn status payments" in line
    assert revision(daemon) == before


@pytest.mark.parametrize("command", ["rotate", "rollback"])
def test_version_that_is_not_what_the_caller_believes(terminal: Terminal, daemon: Daemon, command: str) -> None:
    """Refused before anything happens."""
    if command == "rollback":
        overlapping(terminal, daemon)
    before = revision(daemon)
    assert "v1, not v7" in terminal.refused(command, "payments", "--expect-version", "7")
    assert revision(daemon) == before


def test_force_where_nothing_waits_for_silence(terminal: Terminal, daemon: Daemon) -> None:
    """The phase is named, and where force means something."""
    overlapping(terminal, daemon)
    before = revision(daemon)
    line = terminal.refused("force", "payments", "--version", "1", "--reason", "x")
    assert "in monitor and rollback" in line
    assert revision(daemon) == before


def test_denied_permission(terminal: Terminal, daemon: Daemon) -> None:
    """A token that may not says whose it is and which would do."""
    line = terminal.refused("rotate", "payments", token="viewer")
    assert line == "keyturn: the token 'viewer' is a viewer's, and this needs operator: use that token"
    assert daemon.store.live() == []
    (terminal.house.state / "tokens" / "stale").write_text("ktok_nonsense")
    assert "the token is not known" in terminal.refused("rotate", "payments", token="stale")


def test_unreachable_address(terminal: Terminal, house: House) -> None:
    """The address, the reason, and both mends."""
    with house.daemon():
        pass
    line = terminal.refused("status")
    assert f"cannot reach the daemon at {house.url} (Connection refused)" in line
    assert "`keyturn serve`" in line
    assert "--url" in line


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://"])
def test_address_that_is_none(terminal: Terminal, daemon: Daemon, url: str) -> None:
    """A mistyped --url is the caller's mistake: exit code 2."""
    assert "is no address: write --url http://HOST:PORT" in terminal.refused("status", url=url, code=2)


def test_token_that_cannot_be_had(terminal: Terminal, daemon: Daemon) -> None:
    """Missing, unreadable and empty tokens each say so."""
    folder = terminal.house.state / "tokens"
    assert "there is no token" in terminal.refused("status", token="nothing")
    (folder / "folder").mkdir()
    assert "cannot be read: Is a directory" in terminal.refused("status", token="folder")
    (folder / "empty").touch()
    assert "is empty" in terminal.refused("status", token="empty")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rotat", "payments"], "No such command 'rotat'"),
        (["rotate"], "Missing argument 'NAME'"),
        (["rotate", "payments", "--resaon", "x"], "No such option"),
        (["rotate", "payments", "--expect-version", "one"], "Invalid value for '--expect-version'"),
        (["force", "payments", "--version", "1"], "Missing option '--reason'"),
        (["force", "payments", "--reason", "x"], "Missing option '--version'"),
        (["history", "payments", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_command_line_that_is_wrong(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """One line, exit code 2, and where to read more."""
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert said in line
    assert line.endswith("See `keyturn --help`.")


def test_wrong_length_of_a_pause(terminal: Terminal, daemon: Daemon) -> None:
    """What the daemon refuses to read is one line too."""
    overlapping(terminal, daemon)
    before = revision(daemon)
    assert "lasting: write a length of time" in terminal.refused("pause", "payments", "--for", "soon")
    assert revision(daemon) == before


def test_daemon_is_found_by_its_configuration(
    house: House, daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config or KEYTURN_CONFIG gives address and token; KEYTURN_URL and KEYTURN_TOKEN_FILE take their places."""
    port = house.url.rsplit(":", 1)[1]
    house.configure(lambda config: config["http"].update(listen=f"0.0.0.0:{port}"))
    assert run(["status", "--config", str(house.file)]) == 0
    monkeypatch.setenv("KEYTURN_CONFIG", str(house.file))
    assert run(["status"]) == 0
    monkeypatch.setenv("KEYTURN_TOKEN_FILE", str(house.state / "tokens" / "viewer"))
    monkeypatch.setenv("KEYTURN_URL", house.url)
    monkeypatch.setenv("KEYTURN_CONFIG", str(house.folder / "nothing.yaml"))
    assert run(["status"]) == 0
    assert run(["rotate", "payments"]) == 1
    capsys.readouterr()


def test_no_daemon_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a configuration and without an address there is nobody to ask."""
    for name in ("KEYTURN_CONFIG", "KEYTURN_URL", "KEYTURN_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("keyturn.cli.connection.DEFAULT_CONFIG", tmp_path / "nothing.yaml")
    assert run(["status"]) == 2
    assert "which daemon? give --config FILE" in capsys.readouterr().err
    assert run(["check"]) == 2
    assert "which configuration?" in capsys.readouterr().err


class Page(BaseHTTPRequestHandler):
    """Another server's answers."""

    def do_GET(self) -> None:
        self.send_response(500 if self.path.startswith("/broken") else 200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "answers, but not as keyturn does"), ("/broken", "answers 500, and not as keyturn does")],
)
def test_answer_of_something_else(terminal: Terminal, daemon: Daemon, path: str, said: str) -> None:
    """Another server at the address is told from the daemon."""
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert said in terminal.refused("status", url=f"http://127.0.0.1:{server.server_port}{path}")
