"""How much of a database's usage is rolled up at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.stores.sql import SqlStore, slots
from keyturn.testing.store_samples import NAME, NOW, add, at, bucket, everything, version


def test_a_day_of_many_clients_is_rolled_up_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction takes the oldest buckets and about as many as one bears, all that start together at once, however
    many a day has; no slot that a client used is lost."""
    monkeypatch.setattr(slots, "AT_ONCE", 4)
    store = SqlStore.open(f"sqlite:///{tmp_path / 'keyturn.db'}", now=lambda: NOW)
    store.register(NAME, version(), due_at=None)
    clients = ("web", "job", "cron")
    add(store, *(bucket(number, client, successes=1) for number in range(5) for client in clients))
    left = [len(everything(store))]
    while store.roll_up(NAME, at(4)):
        left.append(len(everything(store)))
    assert left == [15, 9, 3]
    while store.roll_up(NAME, at(9)):
        pass
    assert [len(store.use_starts(NAME, client, end=at(9))) for client in clients] == [2, 2, 2]
    store.close()
