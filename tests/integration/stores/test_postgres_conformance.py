"""PostgreSQL keeps the contract of the store, also when two processes share it."""

from collections.abc import Iterator

import pytest

from keyturn.ports.store import Store
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeClock
from keyturn.testing.store import StoreConformance


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def store(self, postgres_url: str, clock: FakeClock) -> Iterator[Store]:
        store = SqlStore.open(postgres_url, now=clock.now)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, postgres_url: str, clock: FakeClock) -> Iterator[Store]:
        other = SqlStore.open(postgres_url, now=clock.now)
        yield other
        other.close()
