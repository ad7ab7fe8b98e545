"""Every store keeps the contract of its port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.ports.store import Store
from keyturn.stores.memory import MemoryStore
from keyturn.stores.sql import SqlStore
from keyturn.testing.store import StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqlStore.open(f"sqlite:///{tmp_path}/keyturn.db")
        yield store
        store.close()
