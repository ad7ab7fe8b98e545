"""Command lines in this process, against a daemon on fakes."""

from __future__ import annotations

import pytest
from tests.unit.api.house import House

from keyturn.app.daemon import Daemon
from keyturn.cli.application import run


class Terminal:
    """Runs command lines in this process and keeps what they print."""

    def __init__(self, house: House, capsys: pytest.CaptureFixture[str]) -> None:
        self.house = house
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *words: str, token: str = "operator", url: str | None = None) -> int:  # noqa: S107
        self._capsys.readouterr()
        where = ["--url", url or self.house.url, "--token-file", str(self.house.state / "tokens" / token)]
        code = run([*words, *where])
        self.out, self.err = self._capsys.readouterr()
        return code

    def refused(self, *words: str, code: int = 1, token: str = "operator", url: str | None = None) -> str:  # noqa: S107
        """The one line that a refusal is."""
        assert self(*words, token=token, url=url) == code, self.out + self.err
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("keyturn: ")
        return line


def overlapping(terminal: Terminal, daemon: Daemon) -> None:
    """A rotation under way, in OVERLAP."""
    assert terminal("rotate", "payments", "--reason", "test") == 0
    for _ in range(5):
        daemon.tick()


def revision(daemon: Daemon) -> int | None:
    live = daemon.store.live_of("payments")
    return None if live is None else live.revision
