"""Group commit: one flush for what several threads write, and each write still whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError

from keyturn.domain.errors import Refused
from keyturn.stores.sql import group_commit
from keyturn.stores.sql.group_commit import GroupCommit

DISK_FULL = OperationalError("COMMIT", None, Exception("the disk is full"))


class Desk:
    """A database with one table, and a way to have several threads write to it as one group."""

    def __init__(self, path: Path) -> None:
        self.engine: Engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"isolation_level": None, "check_same_thread": False},
        )
        with self.engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE words (word TEXT)")
            connection.commit()
        self.commits = 0
        self.full = False
        self.group = GroupCommit(self.begin)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            if self.full:
                raise DISK_FULL
            self.commits += 1

    def words(self) -> list[str]:
        with self.engine.connect() as connection:
            return sorted(connection.exec_driver_sql("SELECT word FROM words").scalars())

    def write(self, word: str, then: Callable[[Connection], None] = lambda _: None) -> str:
        with self.group.write() as connection:
            connection.exec_driver_sql("INSERT INTO words VALUES (?)", (word,))
            then(connection)
        return word

    def together(
        self, *writes: Callable[[], str], then: Callable[[Connection], None] = lambda _: None
    ) -> list[str | BaseException]:
        """The ends of these, which are one group: the first goes on only when all the others wait for their turn."""

        def queued(connection: Connection) -> None:
            until = time.monotonic() + 60
            while self.group._waiting < len(writes):
                assert time.monotonic() < until, "the others did not queue"
                time.sleep(0.001)
            then(connection)

        with ThreadPoolExecutor(len(writes) + 1) as pool:
            began = pool.submit(self.write, "first", queued)
            while not self.group._turn.locked() and not began.done():
                time.sleep(0.001)
            ends: list[Future[str]] = [began, *(pool.submit(write) for write in writes)]
        return [end.exception() or end.result() for end in ends]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "words.db")
    yield desk
    desk.engine.dispose()


def refuse(_: Connection) -> None:
    raise Refused("no")


def test_writes_that_queue_are_committed_with_one_flush(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while another writes is committed with it; whoever comes alone, at once, and not once it is overdue."""
    monkeypatch.delattr(GroupCommit, "flush")
    desk.write("alone")
    assert desk.commits == 1
    ends = desk.together(*(lambda word=word: desk.write(word) for word in "abcde"))
    assert ends == ["first", *"abcde"]
    assert desk.commits == 2
    assert desk.words() == sorted(["alone", "first", *"abcde"])


def test_group_has_a_greatest_size(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many queue, no write waits for more than so many others."""
    monkeypatch.setattr(group_commit, "MOST", 2)
    desk.together(*(lambda word=word: desk.write(word) for word in "abc"))
    assert desk.commits == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_write_that_fails_is_undone_alone(desk: Desk, place: int) -> None:
    """An error takes back the one write that met it, wherever it stood in the group."""
    writes: list[Callable[[], str]] = [lambda: desk.write("a"), lambda: desk.write("b")]
    writes.insert(place, lambda: desk.write("refused", refuse))
    ends = desk.together(*writes)
    assert [end for end in ends if isinstance(end, str)] == ["first", "a", "b"]
    assert isinstance(ends[1 + place], Refused)
    assert desk.words() == ["a", "b", "first"]


def test_commit_that_fails_fails_all_of_its_group(desk: Desk) -> None:
    """Nobody is told that a write is on disk that is not, also not one that was refused for what another had written."""
    desk.full = True
    ends = desk.together(lambda: desk.write("a"), lambda: desk.write("refused", refuse))
    assert ends == [DISK_FULL] * 3
    desk.full = False
    assert desk.write("b") == "b"
    assert desk.words() == ["b"]


def test_all_fail_when_the_database_takes_everything_back(desk: Desk) -> None:
    """A statement that makes the database give the whole transaction up, as on a full disk, fails all that was part of it,
    and none that comes after."""

    def collapse(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise DISK_FULL

    assert desk.together(lambda: desk.write("a", collapse)) == [DISK_FULL] * 2
    assert desk.together(lambda: desk.write("b"), lambda: desk.write("c"), then=collapse) == [DISK_FULL, "b", "c"]
    assert desk.words() == ["b", "c"]


def test_group_does_not_wait_for_one_that_never_comes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that was to join and did not holds nobody up."""
    monkeypatch.setattr(group_commit, "OVERDUE", 0.01)
    desk.group._waiting += 1
    assert desk.write("a") == "a"
    assert desk.words() == ["a"]
