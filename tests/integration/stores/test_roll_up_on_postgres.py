"""Usage is rolled up while sources go on telling of it, where the database has more than one writer."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from keyturn.stores.sql import SqlStore
from keyturn.testing.store_samples import NAME, NOW, add, at, bucket, version


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    store = SqlStore.open(postgres_url, now=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def other(postgres_url: str) -> Iterator[SqlStore]:
    other = SqlStore.open(postgres_url, now=lambda: NOW)
    yield other
    other.close()


@pytest.mark.parametrize("statement", ["SELECT min(usage.start", "DELETE FROM usage", "INSERT INTO slots"])
def test_use_that_is_told_meanwhile_is_not_lost(store: SqlStore, other: SqlStore, statement: str) -> None:
    """A use of the day that is being rolled up is kept, as its slot or as its bucket, before whichever statement another
    replica adds it."""
    store.register(NAME, version(), due_at=None)
    add(store, bucket(0, successes=1))
    told: list[bool] = []

    @event.listens_for(store._database._engine, "before_cursor_execute")
    def meanwhile(_connection: Any, _cursor: Any, said: str, *_others: object) -> None:
        if said.startswith(statement) and not told:
            told.append(add(other, bucket(60, successes=1)))

    assert store.roll_up(NAME, at(90))
    assert told == [True]
    assert len(other.use_starts(NAME, "web", end=at(90))) == 2
    store.roll_up(NAME, at(90))
    assert len(other.use_starts(NAME, "web", end=at(90))) == 2
