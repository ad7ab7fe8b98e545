"""Every store keeps the contract of its port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.ports.store import Store
from keyturn.stores.memory import MemoryStore
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeClock
from keyturn.testing.store import StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return MemoryStore(now=clock.now)


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
        store = SqlStore.open(f"sqlite:///{tmp_path}/keyturn.db", now=clock.now)
        yield store
        store.close()
