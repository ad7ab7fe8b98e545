from pathlib import Path

import pytest
from tests.unit.api.house import House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A configuration on fakes; `with house.daemon()` runs it."""
    return House(tmp_path, monkeypatch)
