"""The schema is made and brought forward by migrations, which agree with the tables."""

import shutil
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from keyturn.domain.errors import ConfigError, KeyturnError
from keyturn.stores.migrations import HEAD, SCRIPTS, upgrade
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.tables import metadata
from keyturn.testing.store_samples import NAME, begun

NEXT = '''"""One more table."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


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
    (scripts / "versions" / "0002_more.py").write_text(text)
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
    assert len([sql for sql in made.values() if "WHERE" in sql]) == 5


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


def test_older_store_is_upgraded(path: Path, tmp_path: Path) -> None:
    """A store of the release before gains what is new when it is opened, and keeps what it holds."""
    store = SqlStore.open(f"sqlite:///{path}")
    rotation = begun(store)
    store.close()
    database = open_sqlite(path)
    upgrade(database, scripts=following_release(tmp_path), head="0002")
    assert SqlStore(database).live_of(NAME) == rotation
    database.close()
    revision, tables = schema_of(path)
    assert revision == "0002"
    assert "more" in tables


def test_failed_upgrade_leaves_the_store_as_it_was(path: Path, tmp_path: Path) -> None:
    """An upgrade that fails half way is undone as a whole: the release before still opens the store."""
    SqlStore.open(f"sqlite:///{path}").close()
    before = schema_of(path)
    database = open_sqlite(path)
    with pytest.raises(RuntimeError, match="out of luck"):
        upgrade(database, scripts=following_release(tmp_path, broken=True), head="0002")
    database.close()
    assert schema_of(path) == before
    store = SqlStore.open(f"sqlite:///{path}")
    begun(store)
    store.close()


def test_newer_store_is_refused(path: Path, tmp_path: Path) -> None:
    """A store that a newer release has written is refused with both schemas and the mend, and left as it is."""
    database = open_sqlite(path)
    upgrade(database, scripts=following_release(tmp_path), head="0002")
    database.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"schema 0002.*knows 0001.*newer keyturn"):
            SqlStore.open(f"sqlite:///{path}")
    assert schema_of(path)[0] == "0002"


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
