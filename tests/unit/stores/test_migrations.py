"""The schema is made and brought forward by migrations, which agree with the tables."""

import json
import shutil
import sqlite3
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from keyturn.domain.errors import ConfigError, KeyturnError
from keyturn.domain.model import Force
from keyturn.domain.policy import Policy
from keyturn.ports.records import Commit
from keyturn.stores.chain import first_broken
from keyturn.stores.codec import ROTATION
from keyturn.stores.memory import MemoryStore
from keyturn.stores.migrations import HEAD, SCRIPTS, upgrade
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.tables import metadata
from keyturn.testing.store_samples import NAME, NOW, begun

FOLLOWING = f"{int(HEAD) + 1:04}"
NEXT = f'''"""One more table."""

import sqlalchemy as sa
from alembic import op

revision = "{FOLLOWING}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("credentials", sa.Column("note", sa.String))
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyturn.db"


def following_release(folder: Path, *, broken: bool = False) -> Path:
    """The scripts of a release with one revision more."""
    scripts = folder / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT + ("    raise RuntimeError('out of luck')\n" if broken else "")
    (scripts / "versions" / f"{FOLLOWING}_more.py").write_text(text)
    return scripts


def schema_of(path: Path) -> tuple[str, set[str]]:
    """The revision and the tables of a file."""
    connection = sqlite3.connect(path)
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return revision, names


def test_migrations_make_the_tables(path: Path) -> None:
    """A database that the migrations made differs in nothing from what the tables say."""
    database = open_sqlite(path)
    upgrade(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_partial_indexes_are_those_of_the_tables(path: Path) -> None:
    """Alembic does not compare the conditions of indexes: they are the same as the tables'."""
    database = open_sqlite(path)
    upgrade(database)
    migrated = sqlite3.connect(path)
    query = "SELECT name, replace(sql, '\"', '') FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    made = dict(migrated.execute(query).fetchall())
    migrated.close()
    database.close()
    direct = open_sqlite(path.with_name("direct.db"))
    with direct.write() as connection:
        metadata.create_all(connection)
        assert {row[0]: row[1] for row in connection.exec_driver_sql(query)} == made
    direct.close()
    assert len([sql for sql in made.values() if "WHERE" in sql]) == 7


def test_head_is_the_last_revision() -> None:
    """The scripts form one line that ends where the store expects it."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEAD]
    assert script.get_bases() == ["0001"]


def test_scripts_are_in_the_package() -> None:
    """The scripts are where an installed package has them, not beside a checkout."""
    assert (files("keyturn.stores") / "migrations" / "env.py").is_file()
    assert (files("keyturn.stores") / "migrations" / "versions" / "0001_everything.py").is_file()


@pytest.fixture
def first_release(path: Path) -> Path:
    """A store as the first release left it: its rotations live and ended, in every field and phase that matters."""
    connection = sqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("store_0001.sql").read_text())
    connection.close()
    return path


LATER = {
    "credentials": {"check_at", "restored_at"},
    "sources": {"blind_since", "trouble"},
    "batches": {"digest"},
    "uses": {"source"},
}


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    """Everything in a table, without the columns that later revisions added."""
    connection = sqlite3.connect(path)
    columns = [
        row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in LATER.get(table, ())
    ]
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()  # noqa: S608 - names of our own
    connection.close()
    return rows


def test_first_releases_store_opens_and_loses_nothing(first_release: Path) -> None:
    """Every row of a store of the first release is there after the upgrade, and everything can be read and goes on."""
    tables = sorted(schema_of(first_release)[1] - {"alembic_version", "rotations"})
    before = {table: rows_of(first_release, table) for table in tables}
    assert all(before.values()), "a table without rows proves nothing"
    store = SqlStore.open(f"sqlite:///{first_release}")
    assert {table: rows_of(first_release, table) for table in tables} == before
    assert [rotation.id for rotation in store.live()] == ["full", "young", "back"]
    for name in store.credentials():
        assert first_broken(store.history(name)) is None
    for rotation in store.live():
        assert store.commit(Commit(rotation=rotation)) == replace(rotation, revision=rotation.revision + 1)
    assert store.journal("full").keys() == {"full/0-introduce/stage/v9"}
    assert len(store.outbox(NOW)) == 2
    store.close()


def test_first_releases_rotations_mean_the_same(first_release: Path) -> None:
    """What a rotation of the first release said in its own words is said in today's; all else of it is as it was."""
    connection = sqlite3.connect(first_release)
    written = {
        name: json.loads(text)["rotation"] for name, text in connection.execute("SELECT id, document FROM rotations")
    }
    connection.close()
    store = SqlStore.open(f"sqlite:///{first_release}")
    found = {name: store.rotation(name) for name in written}
    store.close()
    rotations = {name: rotation for name, rotation in found.items() if rotation is not None}
    assert rotations.keys() == written.keys() == {"ended", "full", "young", "back"}
    # Its old version was being revoked, or its new one on the way back: no intent of that kind is forgotten.
    assert {name: set(one.revoked) for name, one in rotations.items()} == {
        "ended": set(),
        "full": {11, 1},
        "young": set(),
        "back": {2},
    }
    assert {name: set(one.served) for name, one in rotations.items()} == {
        "ended": {1, 2},
        "full": {11, 2},
        "young": {1},
        "back": {1, 2},
    }
    assert rotations["full"].forced == {11: Force(by="Zoë", why="it is gone", final=True)}
    assert {one.policy.grace for one in rotations.values()} == {Policy().grace}
    assert rotations["full"].hold is not None
    assert rotations["full"].hold.evidence == {}
    for stood in (one for rotation in written.values() for one in (rotation["hold"], rotation["halted"]) if one):
        stood["evidence"] = {}
    for name, rotation in rotations.items():
        today = json.loads(ROTATION.write(rotation))["rotation"]
        for renamed in ("revoking", "force"):
            written[name].pop(renamed)
        assert {key: value for key, value in today.items() if key in written[name] and key != "policy"} == {
            key: value for key, value in written[name].items() if key != "policy"
        }
        assert today["policy"].items() >= written[name]["policy"].items()
        fresh = json.loads(ROTATION.write(begun(MemoryStore())))["rotation"]
        added = set(today) - set(written[name]) - {"revoked", "served", "forced"}
        assert {key: today[key] for key in added} == {key: fresh[key] for key in added}


def test_first_releases_credentials_at_rest_are_checked_at_once(first_release: Path) -> None:
    """What never rotated and what has ended is due for a look; what is under way is not."""
    store = SqlStore.open(f"sqlite:///{first_release}")
    assert list(store.to_check(NOW)) == ["idle", "new"]
    assert {name: one.check_at is None for name, one in store.credentials().items()} == {
        "back": True,
        "full": True,
        "idle": False,
        "new": False,
        "young": True,
    }
    store.close()


def test_older_store_is_upgraded(path: Path, tmp_path: Path) -> None:
    """A store of the release before gains what is new when it is opened, and keeps what it holds."""
    store = SqlStore.open(f"sqlite:///{path}")
    rotation = begun(store)
    store.close()
    database = open_sqlite(path)
    upgrade(database, scripts=following_release(tmp_path), head=FOLLOWING)
    assert SqlStore(database).live_of(NAME) == rotation
    database.close()
    revision, tables = schema_of(path)
    assert revision == FOLLOWING
    assert "more" in tables


def test_failed_upgrade_leaves_the_store_as_it_was(path: Path, tmp_path: Path) -> None:
    """An upgrade that fails half way is undone as a whole: the release before still opens the store."""
    SqlStore.open(f"sqlite:///{path}").close()
    before = schema_of(path)
    database = open_sqlite(path)
    with pytest.raises(RuntimeError, match="out of luck"):
        upgrade(database, scripts=following_release(tmp_path, broken=True), head=FOLLOWING)
    database.close()
    assert schema_of(path) == before
    store = SqlStore.open(f"sqlite:///{path}")
    begun(store)
    store.close()


def test_newer_store_is_refused(path: Path, tmp_path: Path) -> None:
    """A store that a newer release has written is refused with both schemas and the mend, and left as it is."""
    database = open_sqlite(path)
    upgrade(database, scripts=following_release(tmp_path), head=FOLLOWING)
    database.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"schema {FOLLOWING}.*knows {HEAD}.*newer keyturn"):
            SqlStore.open(f"sqlite:///{path}")
    assert schema_of(path)[0] == FOLLOWING


def test_somebody_elses_database_is_refused(path: Path) -> None:
    """A database with tables that keyturn did not make is refused and left alone."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    with pytest.raises(KeyturnError, match="somebody else"):
        SqlStore.open(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_path_with_odd_characters(tmp_path: Path) -> None:
    """Per cent signs, spaces, question marks and letters of any kind in the path are no trouble."""
    path = tmp_path / "50% ö ☃" / "key#turn.db"
    store = SqlStore.open(f"sqlite:///{path}")
    begun(store)
    store.close()
    assert path.is_file()
