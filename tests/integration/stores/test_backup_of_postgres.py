"""A backup of PostgreSQL is the same file as one of SQLite, and each becomes the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, inspect, make_url, select
from tests.integration.postgres_server import PostgresServer

from keyturn.domain.errors import ConfigError
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit
from keyturn.stores.chain import first_broken
from keyturn.stores.migrations import upgrade
from keyturn.stores.sql import SqlStore, transfer
from keyturn.stores.sql.backup import back_up, check_place, examine, restore
from keyturn.stores.sql.postgres import SETTINGS, open_postgres
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.tables import metadata
from keyturn.testing.store_samples import NAME, NOW, begun, effect, ended, line, message, version


def furnished(url: str) -> SqlStore:
    """A store with something of most kinds."""
    store = SqlStore.open(url)
    first = begun(store, id="r0", name="other")
    ended(store, first, Phase.COMPLETED)
    rotation = begun(store)
    store.commit(
        Commit(
            rotation=rotation,
            intents=[effect()],
            messages=[message()],
            notifiers=["ops"],
            history=[line(rotation, "☃ on the way")],
        )
    )
    store.bind(NAME, "north", "7", 1)
    return store


def rows(store: SqlStore) -> dict[str, list[tuple[object, ...]]]:
    with store._database.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in ("credentials", "leases")
        }


def test_postgres_to_file_to_sqlite_and_back(postgres_url: str, tmp_path: Path) -> None:
    """Every row is the same after PostgreSQL → backup → SQLite → backup, and the trail's chain is unbroken."""
    store = furnished(postgres_url)
    before = rows(store)
    file = tmp_path / "of-postgres.db"
    made = back_up(postgres_url, file)
    assert (made.credentials, made.rotating) == (2, 1)
    store.close()

    url = f"sqlite:///{tmp_path / 'keyturn.db'}"
    restore(file, url, now=NOW)
    copy = SqlStore.open(url)
    assert rows(copy) == before
    assert first_broken(copy.history(NAME)) is None
    assert set(copy.unconfirmed()) == {NAME, "other"}
    back_up(url, tmp_path / "of-sqlite.db")
    copy.close()


def test_file_to_postgres_goes_on_counting(postgres_url: str, tmp_path: Path) -> None:
    """A backup becomes a PostgreSQL store in which rotations begin and messages are queued as if it had always been one."""
    url = f"sqlite:///{tmp_path / 'keyturn.db'}"
    store = furnished(url)
    before = rows(store)
    file = tmp_path / "backup.db"
    back_up(url, file)
    store.close()
    check_place(postgres_url)
    restore(file, postgres_url, now=NOW)
    assert {path.name for path in tmp_path.iterdir() if "restored" in path.name} == set()

    server = SqlStore.open(postgres_url)
    assert rows(server) == before
    assert set(server.unconfirmed()) == {NAME, "other"}
    second = begun(server, id="r9", name="third")
    server.commit(Commit(rotation=second, messages=[message("m9")], notifiers=["ops"]))
    assert {item.message.id for item in server.outbox(NOW)} >= {"m1", "m9"}
    assert server.live()[-1].id == "r9"
    server.close()


def test_no_row_of_a_server_is_overwritten(postgres_url: str, tmp_path: Path) -> None:
    """A database that holds something is left as it is, whatever is said."""
    url = f"sqlite:///{tmp_path / 'keyturn.db'}"
    furnished(url).close()
    file = tmp_path / "backup.db"
    back_up(url, file)
    server = SqlStore.open(postgres_url)
    server.register("theirs", version(name="theirs"), due_at=None)
    with pytest.raises(ConfigError, match="not empty") as refused:
        restore(file, postgres_url, now=NOW, replace=True)
    with pytest.raises(ConfigError, match=re.escape(str(refused.value))):
        check_place(postgres_url)
    assert list(server.credentials()) == ["theirs"]
    server.close()
    assert examine(file).credentials == 2


def test_dry_run_leaves_a_database_as_it_is(postgres: PostgresServer) -> None:
    """Looked at, an empty database has no tables afterwards; one with tables that are not keyturn's is refused."""
    url = postgres.url(postgres.create_database())
    check_place(url)
    database = open_postgres(make_url(url))
    with database.write() as connection:
        assert inspect(connection).get_table_names() == []
        connection.exec_driver_sql("CREATE TABLE theirs (id integer)")
    database.close()
    with pytest.raises(ConfigError, match="somebody else's tables"):
        check_place(url)


def test_backup_of_a_big_store_is_read_bit_by_bit_and_at_leisure(
    postgres: PostgresServer, postgres_store: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is fetched from the server a batch at a time; while a batch is written to the file, none of the timeouts that
    protect the other replicas ends the reading session."""
    monkeypatch.setattr(transfer, "AT_ONCE", 2)
    store = SqlStore.open(postgres_url)
    for number in range(6):
        store.register(f"c{number}", version(name=f"c{number}"), due_at=None)
    store.close()
    source, copy = open_postgres(make_url(postgres_url)), open_sqlite(tmp_path / "copy.db")
    upgrade(copy)
    last: list[str] = []
    reading: list[Connection] = []

    @event.listens_for(source._engine, "before_cursor_execute")
    def remember(connection: Connection, *_: object) -> None:
        reading.append(connection)

    @event.listens_for(copy._engine, "before_cursor_execute")
    def look(_: Connection, __: object, statement: str, *___: object) -> None:
        if "INTO credentials" not in statement:
            return
        with postgres.admin(postgres_store) as admin:
            asked = "SELECT query FROM pg_stat_activity WHERE application_name = 'keyturn' AND state = 'idle in transaction'"
            last.extend(str(query) for (query,) in admin.execute(asked))
        session = reading[-1].connection.driver_connection
        assert session is not None
        for name in SETTINGS:
            assert session.execute(f"SHOW {name}").fetchone() == ("0",)

    transfer.transfer(source, copy)
    source.close()
    copy.close()
    assert examine(tmp_path / "copy.db").credentials == 6
    assert len(last) == 3
    assert all(query.startswith("FETCH") for query in last)


def test_upgrade_is_not_ended_by_a_timeout(postgres_url: str) -> None:
    """A revision may have much to think about between two statements."""
    database = open_postgres(make_url(postgres_url))
    with database.upgrading() as connection:
        assert {connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in SETTINGS} == {"0"}
    with database.write() as connection:
        assert "0" not in {connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in SETTINGS}
    database.close()
