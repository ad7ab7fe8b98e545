"""A connection that comes back goes to whoever waits for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from keyturn.domain.errors import KeyturnError, Transient
from keyturn.stores.sql import sqlite
from keyturn.stores.sql.connections import Connections
from keyturn.stores.sql.sqlite import open_sqlite

THREADS = 8


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """With room for two connections, and no patience of its own."""
    engine = create_engine(
        f"sqlite:///{tmp_path / 'words.db'}",
        connect_args={"check_same_thread": False},
        pool_size=2,
        max_overflow=0,
        pool_timeout=0,
    )
    yield engine
    engine.dispose()


def test_more_threads_than_connections_are_all_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many transactions at once has its turn, however few connections there are."""
    monkeypatch.setattr(sqlite, "CONNECTIONS", 2)
    database = open_sqlite(tmp_path / "keyturn.db")
    together = threading.Barrier(THREADS)

    def look(_: int) -> int:
        together.wait()
        done = 0
        for _ in range(50):
            with database.read() as connection:
                done += connection.exec_driver_sql("SELECT 1").scalar_one()
        return done

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(look, range(THREADS))) == [50] * THREADS
    database.close()


def test_taken_ones_are_waited_for_and_no_longer_than_patience_lasts(engine: Engine) -> None:
    """While all are taken the next is told so; one that came back, well or not, is there for it, and one thread has one."""
    connections = Connections(engine, "here", most=2, patience=0.0)
    one, two = connections.take(), connections.take()
    for end in (connections.give_back, connections.drop):
        with pytest.raises(Transient, match="here is overloaded"):
            connections.take()
        end(one)
        one = connections.take()
    connections.give_back(two)
    assert connections.take() is two


def test_place_of_a_connection_that_could_not_be_made_is_free_again(tmp_path: Path) -> None:
    """A database that cannot be reached now takes no places from later."""
    nowhere = create_engine(f"sqlite:///{tmp_path / 'no-such-folder' / 'words.db'}")
    connections = Connections(nowhere, "here", most=1, patience=0.0)
    for _ in range(2):
        with pytest.raises(Exception, match="unable to open"):
            connections.take()
    (tmp_path / "no-such-folder").mkdir()
    connections.drop(connections.take())
    nowhere.dispose()


def test_closed_while_some_are_lent(engine: Engine) -> None:
    """What is lent can be used to its end, and nothing is lent any more."""
    connections = Connections(engine, "here", most=2)
    with ExitStack() as ends:
        lent = connections.take()
        ends.callback(connections.give_back, lent)
        connections.close()
        assert lent.exec_driver_sql("SELECT 1").scalar_one() == 1
        with pytest.raises(KeyturnError, match="closed"):
            connections.take()
    assert lent.closed
