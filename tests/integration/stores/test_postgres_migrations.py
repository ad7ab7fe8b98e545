"""The same migrations make the same tables on PostgreSQL, by one process at a time, and lose nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import make_url
from tests.integration.postgres_server import PostgresServer
from tests.integration.stores.test_postgres import waits_for_a_lock

from keyturn.domain.errors import KeyturnError
from keyturn.ports.records import Commit, Dismissal
from keyturn.ports.store import Store
from keyturn.stores.migrations import HEAD, SCRIPTS, upgrade
from keyturn.stores.sql import SqlStore, rotations
from keyturn.stores.sql.postgres import open_postgres
from keyturn.stores.sql.tables import metadata
from keyturn.testing.store_samples import NOW, at, begun, line, planned, version

FIRST_RELEASE = Path(__file__).parents[2] / "unit" / "stores" / "store_0001.sql"


def test_migrations_make_the_tables(postgres: PostgresServer) -> None:
    """A database that the migrations made differs in nothing from what the tables say, conditions of indexes included."""
    indexes = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    migrated = open_postgres(make_url(postgres.url(postgres.create_database())))
    upgrade(migrated)
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        made = set(map(tuple, connection.exec_driver_sql(indexes)))
    migrated.close()
    direct = open_postgres(make_url(postgres.url(postgres.create_database())))
    with direct.write() as connection:
        metadata.create_all(connection)
        assert set(map(tuple, connection.exec_driver_sql(indexes))) == made
    direct.close()


def test_replicas_that_start_together_make_the_tables_once(postgres: PostgresServer) -> None:
    """Of replicas that open an empty database at once one makes the tables, and the others wait for it."""
    url = postgres.url(postgres.create_database())
    with ThreadPoolExecutor(6) as threads:
        stores = list(threads.map(SqlStore.open, [url] * 6))
    begun(stores[0])
    assert [len(store.live()) for store in stores] == [1] * 6
    for store in stores:
        store.close()


def test_failed_upgrade_leaves_the_database_as_it_was(postgres: PostgresServer, tmp_path: Path) -> None:
    """An upgrade that fails half way is undone as a whole, and lets the next one in."""
    name = postgres.create_database()
    scripts = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (last,) = sorted((scripts / "versions").glob("0002*.py"))
    last.write_text(last.read_text().replace("connection = op.get_bind()", "raise RuntimeError('out of luck')"))
    database = open_postgres(make_url(postgres.url(name)))
    with pytest.raises(RuntimeError, match="out of luck"):
        upgrade(database, scripts=scripts)
    database.close()
    with postgres.admin(name) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    store = SqlStore.open(postgres.url(name))
    begun(store)
    store.close()


def test_somebody_elses_database_is_refused(postgres: PostgresServer) -> None:
    """A database with tables that keyturn did not make is refused and left alone."""
    name = postgres.create_database()
    with postgres.admin(name) as connection:
        connection.execute("CREATE TABLE recipes (name text)")
    with pytest.raises(KeyturnError, match="somebody else"):
        SqlStore.open(postgres.url(name))
    with postgres.admin(name) as connection:
        assert connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == [
            ("recipes",)
        ]


def first_schema(postgres: PostgresServer, folder: Path) -> str:
    """A database with the first release's tables and the rows of its sample store."""
    name = postgres.create_database()
    scripts = folder / "first"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for later in sorted((scripts / "versions").glob("0*.py"))[1:]:
        later.unlink()
    database = open_postgres(make_url(postgres.url(name)))
    upgrade(database, scripts=scripts, head="0001")
    database.close()
    sample = sqlite3.connect(folder / "sample.db")
    sample.executescript(FIRST_RELEASE.read_text())
    with postgres.admin(name) as connection:
        # In an order that keeps the foreign keys.
        for table in [one.name for one in metadata.sorted_tables]:
            if not sample.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
                continue
            columns = [row[1] for row in sample.execute(f"PRAGMA table_info({table})")]
            truths = {column.name for column in metadata.tables[table].c if column.type.python_type is bool}
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join(sql.Placeholder() * len(columns)),
            )
            for row in sample.execute(f"SELECT * FROM {table}"):  # noqa: S608 - names of our own
                named = zip(columns, row, strict=True)
                connection.execute(statement, [bool(value) if column in truths else value for column, value in named])
        for table in ("rotations", "deliveries"):
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'number'), (SELECT max(number) FROM {}))").format(
                    sql.Literal(table), sql.Identifier(table)
                )
            )
    sample.close()
    return name


REWRITE = """op.execute("UPDATE rotations SET document = 'of another kind'")"""


def following_release(folder: Path) -> tuple[Path, str]:
    """The scripts of a release that writes its rotations in another way, and its revision."""
    scripts, revision = folder / "following", f"{int(HEAD) + 1:04}"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / f"{revision}_more.py").write_text(
        f"from alembic import op\n\nrevision, down_revision = '{revision}', '{HEAD}'\n\ndef upgrade():\n    {REWRITE}\n"
    )
    return scripts, revision


def test_replica_of_the_release_before_writes_no_more(postgres: PostgresServer, tmp_path: Path) -> None:
    """An upgrade waits for the commit under way; the replica that was left running is then refused whatever decides, and
    takes no claim, so that others have its work."""
    name = postgres.create_database()
    database, newer = (open_postgres(make_url(postgres.url(name))) for _ in range(2))
    upgrade(database)
    left = SqlStore(database)
    rotation = begun(left)
    left.register("other", version(name="other"), due_at=None)
    (held,) = left.claim(["x"], "left", ttl=timedelta(seconds=60))
    next_one, word = planned(left, id="r2", name="other"), Dismissal(client="web", at=NOW, by="ada", why="gone")
    scripts, revision = following_release(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        with database.write() as connection:
            rotations.commit(connection, Commit(rotation=rotation), NOW)
            upgrading = threads.submit(upgrade, newer, scripts=scripts, head=revision)
            waits_for_a_lock(postgres, name)
        upgrading.result()
    rotation = replace(rotation, revision=1)
    for write in (
        lambda: left.commit(Commit(rotation=rotation, claim=held)),
        lambda: left.begin(next_one, line(next_one)),
        lambda: left.dismiss(word, line(rotation)),
        lambda: left.claim(["x"], "left", ttl=timedelta(seconds=60)),
        lambda: left.claim(["y"], "left", ttl=timedelta(seconds=60)),
    ):
        with pytest.raises(KeyturnError, match=f"schema {revision}, and this keyturn knows {HEAD}: a newer keyturn"):
            write()
    with postgres.admin(name) as connection:
        found = connection.execute("SELECT revision, document FROM rotations").fetchall()
        assert found == [(1, "of another kind")]
        assert connection.execute("SELECT name FROM leases").fetchall() == [("x",)]
    database.close()
    newer.close()


def test_commit_that_waits_for_an_upgrade_sees_it(postgres: PostgresServer) -> None:
    """It is judged by the schema as the upgrade leaves it, not as it was when the commit began to wait."""
    name = postgres.create_database()
    store = SqlStore.open(postgres.url(name))
    rotation = begun(store)
    for _ in range(10):  # until the driver has its statements prepared
        rotation = store.commit(Commit(rotation=rotation))
    with ThreadPoolExecutor(1) as threads:
        with postgres.admin(name) as connection, connection.transaction():
            connection.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            waiting = threads.submit(store.commit, Commit(rotation=rotation))
            waits_for_a_lock(postgres, name)
        with pytest.raises(KeyturnError, match="schema 9999"):
            waiting.result()
    store.close()


EVERYTHING: list[Callable[[Store], Any]] = [
    lambda store: store.credentials(),
    lambda store: store.live(),
    lambda store: {name: store.latest_of(name) for name in store.credentials()},
    lambda store: {name: store.history(name) for name in store.credentials()},
    lambda store: {name: store.open_intents(name) for name in store.credentials()},
    lambda store: [store.journal(name) for name in ("ended", "full", "young", "back")],
    lambda store: {name: store.bindings(name) for name in store.credentials()},
    lambda store: {name: store.usage(name, start=at(-100), end=at(100)) for name in store.credentials()},
    lambda store: {name: store.uses(name) for name in store.credentials()},
    lambda store: store.detector("full"),
    lambda store: store.sources(),
    lambda store: store.outbox(NOW),
    lambda store: store.tokens(),
    lambda store: store.due(NOW),
    lambda store: store.to_check(NOW),
]


def test_first_releases_data_means_the_same_as_on_sqlite(postgres: PostgresServer, tmp_path: Path) -> None:
    """The first release's rows, brought to this schema on PostgreSQL and on SQLite, are the same values."""
    ours = SqlStore.open(postgres.url(first_schema(postgres, tmp_path)), now=lambda: NOW)
    theirs = SqlStore.open(f"sqlite:///{tmp_path / 'sample.db'}", now=lambda: NOW)
    for look in EVERYTHING:
        found = look(ours)
        assert found == look(theirs)
        assert found, "nothing proves nothing"
    begun(ours, id="next", name="new")
    assert ours.rotating()[-1] == "new"
    ours.close()
    theirs.close()
