"""What PostgreSQL adds: several processes, a server that goes away, locks, a clock of its own, a password."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import LiteralString, TypeVar

import pytest
import time_machine
from psycopg import sql
from sqlalchemy import make_url
from tests.integration.postgres_server import PostgresServer

from keyturn.domain.errors import ConfigError, Invalid, KeyturnError, StaleRevision, Transient
from keyturn.ports.records import Commit
from keyturn.stores.sql import SqlStore, leases
from keyturn.stores.sql.postgres import open_postgres
from keyturn.testing.store_samples import NAME, NOW, add, at, begun, bucket, line, message, version

T = TypeVar("T")

TTL = timedelta(seconds=60)
WITHIN = 20.0
THE_CREDENTIAL: LiteralString = "SELECT 1 FROM credentials WHERE name = 'payments/api-key' FOR NO KEY UPDATE"
"""Locks what a commit of the credential locks first."""


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    store = SqlStore.open(postgres_url)
    yield store
    store.close()


@pytest.fixture
def other(postgres_url: str) -> Iterator[SqlStore]:
    """The store as another process has it."""
    other = SqlStore.open(postgres_url)
    yield other
    other.close()


@pytest.fixture
def database(postgres_store: str) -> str:
    return postgres_store


@contextmanager
def locked(postgres: PostgresServer, database: str, statement: LiteralString) -> Iterator[None]:
    """Another transaction holds the rows that a statement locks, for as long as this lasts."""
    with postgres.admin(database) as connection, connection.transaction():
        connection.execute(statement)
        yield


# Claims


def test_claims_do_not_wait_for_each_other(store: SqlStore, postgres: PostgresServer, database: str) -> None:
    """What another replica is claiming at this moment is left out at once, and the rest is claimed."""
    for lease in store.claim(["a", "b"], "x", ttl=TTL):
        store.release(lease)
    with locked(postgres, database, "SELECT 1 FROM leases WHERE name = 'a' FOR UPDATE"):
        assert [lease.name for lease in store.claim(["a", "b"], "y", ttl=TTL)] == ["b"]
    assert [lease.name for lease in store.claim(["a", "b"], "y", ttl=TTL)] == ["a", "b"]


def test_own_claim_is_renewed_once_a_commit_under_it_is_done(
    store: SqlStore, postgres: PostgresServer, database: str
) -> None:
    """While one thread of a process commits under a lease, another that renews it waits, and has it: it is not taken for
    lost. What another process is taking at this moment is left out all the same."""
    (mine,) = store.claim(["credential/x"], "a", ttl=TTL)
    with ThreadPoolExecutor(1) as threads:
        with locked(postgres, database, "SELECT 1 FROM leases WHERE name = 'credential/x' FOR SHARE"):
            renewing = threads.submit(lambda: store.claim(["credential/x", "free"], "a", ttl=TTL))
            waits_for_a_lock(postgres, database)
            assert list(store.claim(["credential/x"], "b", ttl=TTL)) == []
        renewed = renewing.result(WITHIN)
    assert [(lease.name, lease.token) for lease in renewed] == [("credential/x", mine.token), ("free", 1)]


def test_claim_is_not_taken_from_under_a_commit(postgres_url: str, other: SqlStore) -> None:
    """From the fence to the end of the transaction nobody takes the claim over, though it has run out."""
    late = datetime(2099, 1, 1, tzinfo=UTC)
    database = open_postgres(make_url(postgres_url))
    store = SqlStore(database, now=lambda: datetime(1999, 1, 1, tzinfo=UTC))
    (mine,) = store.claim(["credential/x"], "a", ttl=TTL)
    thief = SqlStore(database, now=lambda: late)
    with database.write() as connection:
        leases.fence(connection, mine)
        assert list(thief.claim(["credential/x"], "b", ttl=TTL)) == []
    assert [lease.owner for lease in thief.claim(["credential/x"], "b", ttl=TTL)] == ["b"]
    database.close()


def test_leases_run_by_the_servers_clock(store: SqlStore, other: SqlStore) -> None:
    """A replica whose clock is a day ahead neither takes a lease early nor keeps one longer."""
    (mine,) = store.claim(["table"], "a", ttl=TTL)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1), tick=True):
        assert list(other.claim(["table"], "b", ttl=TTL)) == []
        (theirs,) = other.claim(["another"], "b", ttl=TTL)
    assert abs(theirs.expires_at - mine.expires_at) < timedelta(hours=1)


def test_replica_that_stands_still_amid_a_transaction_holds_nobody_up(store: SqlStore) -> None:
    """The server ends a transaction whose process does not go on, before those that wait for its locks give up."""
    asked = "SELECT name, setting::int FROM pg_settings WHERE unit = 'ms' AND name ~ '_timeout$'"
    with store._database.read() as connection:
        shown = {row.name: row.setting for row in connection.exec_driver_sql(asked)}
    assert 0 < shown["idle_in_transaction_session_timeout"] < shown["lock_timeout"] < shown["statement_timeout"]


# Transactions


def test_commits_of_one_credential_come_one_after_another(
    store: SqlStore, postgres: PostgresServer, database: str
) -> None:
    """A commit waits for whoever else writes of its credential, and not for those who write of another."""
    rotation, elsewhere = begun(store), begun(store, id="r2", name="another")
    done: list[object] = []
    with ThreadPoolExecutor(1) as threads:
        with locked(postgres, database, THE_CREDENTIAL):
            waiting = threads.submit(lambda: done.append(store.commit(Commit(rotation=rotation))))
            waits_for_a_lock(postgres, database)
            store.commit(Commit(rotation=elsewhere))
            assert done == []
        waiting.result(WITHIN)
    assert done


def test_trail_stays_a_chain_when_two_processes_write_it(store: SqlStore, other: SqlStore) -> None:
    """Two processes that commit to one rotation at once leave one unbroken trail, and each commit is there once."""
    begun(store)

    def write(which: SqlStore) -> int:
        written = 0
        for number in range(25):
            rotation = which.live_of(NAME)
            assert rotation is not None
            try:
                which.commit(Commit(rotation=rotation, history=[line(rotation, str(number))]))
            except StaleRevision:
                continue
            written += 1
        return written

    with ThreadPoolExecutor(4) as threads:
        written = sum(threads.map(write, [store, other, store, other]))
    rotation = store.live_of(NAME)
    assert rotation is not None
    assert rotation.revision == written
    assert len(store.history(NAME)) == written + 1


def test_reading_sees_one_state(store: SqlStore, postgres_url: str) -> None:
    """What several statements of one reading show is of one moment, whatever is committed meanwhile."""
    store.register(NAME, version(), due_at=NOW)
    database = open_postgres(make_url(postgres_url))
    count = "SELECT count(*) FROM credentials"
    with database.read() as connection:
        before = connection.exec_driver_sql(count).scalar_one()
        store.register("another", version(name="another"), due_at=None)
        assert connection.exec_driver_sql(count).scalar_one() == before == 1
    database.close()


def test_commit_is_forced_to_disk(postgres: PostgresServer) -> None:
    """Where the server is set not to wait for its disk, the store's sessions do."""
    name = postgres.create_database()
    with postgres.admin() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))
    database = open_postgres(make_url(postgres.url(name)))
    with database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    database.close()


def test_values_that_cannot_be_held_are_invalid(store: SqlStore) -> None:
    """Text that PostgreSQL cannot hold and a number without bounds are refused for good, and nothing is written."""
    with pytest.raises(Invalid):
        store.register("nul \0", version(), due_at=None)
    with pytest.raises(Invalid):
        store.register("\ud800", version(), due_at=None)
    with pytest.raises(Invalid):
        store.bind(begun(store).credential, "north", "7", 2**70)
    assert list(store.credentials()) == [NAME]


def test_source_is_late_without_bounds(store: SqlStore, postgres: PostgresServer, database: str) -> None:
    """What a source that is always late tells is taken for ever: the count goes beyond 32 bits."""
    add(store, watermark=at(60))
    with postgres.admin(database) as connection:
        connection.execute("UPDATE sources SET late = 2147483647")
    add(store, bucket(0))
    assert store.sources()["log"].late == 2**31


# Trouble


def test_store_goes_on_once_its_connections_were_cut(store: SqlStore, postgres: PostgresServer, database: str) -> None:
    """Sessions that the server ends are a transient failure at most, and the next calls have new ones."""
    rotation = begun(store)
    for _ in range(3):
        with postgres.admin(database) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyturn'"
            )
        rotation = soon(lambda: store.live_of(NAME)) or rotation
    assert store.commit(Commit(rotation=rotation)).revision == 1


def test_store_goes_on_once_the_server_is_back(postgres: PostgresServer, store: SqlStore) -> None:
    """While the server is away every call fails transiently and names it; once it is back the same store works, with all
    that was committed."""
    rotation = store.commit(Commit(rotation=begun(store), messages=[message()], notifiers=["hook"]))
    postgres.part.kill()
    for call in (store.live, lambda: store.commit(Commit(rotation=rotation)), lambda: store.claim(["x"], "a", ttl=TTL)):
        with pytest.raises(Transient, match=rf"postgresql://keyturn@127\.0\.0\.1:{postgres.port}/"):
            call()
    postgres.start()
    assert soon(lambda: store.live_of(NAME)) == rotation
    assert len(store.outbox(NOW)) == 1


def test_statement_that_is_cancelled_is_transient(store: SqlStore, postgres: PostgresServer, database: str) -> None:
    """A call that waited too long fails transiently, and writes nothing."""
    rotation = begun(store)
    with (
        ThreadPoolExecutor(1) as threads,
        locked(postgres, database, THE_CREDENTIAL),
    ):
        waiting = threads.submit(store.commit, Commit(rotation=rotation, history=[line(rotation)]))
        waits_for_a_lock(postgres, database)
        with postgres.admin(database) as connection:
            connection.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        with pytest.raises(Transient):
            waiting.result(WITHIN)
    assert len(store.history(NAME)) == 1


# Secrets


def open_wrongly(url: str) -> str:
    """Everything that an attempt to open shows to anybody."""
    heard: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(self.format(record))

    listening, root = Listening(logging.DEBUG), logging.getLogger()
    level = root.level
    root.addHandler(listening)
    root.setLevel(logging.DEBUG)
    try:
        SqlStore.open(url)
    except KeyturnError as error:
        return "\n".join([*heard, *traceback.format_exception(error), repr(error)])
    finally:
        root.removeHandler(listening)
        root.setLevel(level)
    raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: url, "does not exist"),
        (lambda url: url.set(port=1), "refused"),
        (lambda url: url.set(host="no-such-host.invalid"), "no-such-host"),
        (lambda url: url.set(username="nobody"), "password authentication failed"),
        (lambda url: url.set(query={"sslpassword": "hunter2-and-more"}), "sslpassword"),
        (lambda url: url.set(query={"password": "hunter2-and-more"}), "store.password"),
        (lambda url: url.set(query={"no_such_option": "1"}), "no_such_option"),
        (lambda url: url.set(drivername="postgresql+asyncpg"), "asyncpg"),
    ],
    ids=["database", "port", "host", "user", "sslpassword", "password", "option", "driver"],
)
def test_no_error_shows_the_password(postgres: PostgresServer, change: Callable[[object], object], says: str) -> None:
    """Whatever is wrong with the URL or the server, the error says what, and neither it, its causes nor any log shows the
    password (promise P6)."""
    url = make_url(postgres.url("no-such-database", password=None)).set(password="hunter2-and-more")
    if says == "does not exist":
        url = url.set(password=postgres.password)
    shown = open_wrongly(change(url).render_as_string(hide_password=False))  # type: ignore[attr-defined]
    assert says in shown
    assert "hunter2-and-more" not in shown
    assert postgres.password not in shown


def test_store_shows_no_password(store: SqlStore, postgres: PostgresServer) -> None:
    """Neither the store nor anything in it prints the password that it was opened with."""
    parts = [store, vars(store), store._database, vars(store._database), store._database._engine, store._database.place]
    assert not [part for part in parts if postgres.password in repr(part) or postgres.password in str(part)]


def test_wrong_password_is_the_operators_to_mend(postgres: PostgresServer, postgres_store: str) -> None:
    """A password that the server refuses is no trouble that passes by itself, and the message says where it is set."""
    with pytest.raises(ConfigError, match=r"store\.password"):
        SqlStore.open(postgres.url(postgres_store, password="wrong"))


def waits_for_a_lock(postgres: PostgresServer, database: str) -> None:
    """Return once some session does."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def waiting() -> bool:
        with postgres.admin(database) as connection:
            return connection.execute(asked).fetchone() != (0,)

    assert soon(waiting)


def soon(call: Callable[[], T | None]) -> T | None:
    """What a call gives once it no longer fails, and gives something."""
    end = time.monotonic() + WITHIN
    while True:
        found = None
        with suppress(Transient):
            found = call()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.02)
