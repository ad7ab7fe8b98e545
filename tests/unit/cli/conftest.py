from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.api.house import House
from tests.unit.cli.terminal import Terminal

from keyturn.app.daemon import Daemon


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A configuration on fakes; `with house.daemon()` runs it."""
    return House(tmp_path, monkeypatch)


@pytest.fixture
def terminal(house: House, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(house, capsys)


@pytest.fixture
def daemon(house: House) -> Iterator[Daemon]:
    """A daemon that has read its one credential."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        yield daemon
