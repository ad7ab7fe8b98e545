"""The database holds what it must by itself, and gives what is asked for without looking at the rest."""

import re
import sqlite3
import stat
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import event

from keyturn.domain.errors import ConfigError, Invalid, KeyturnError, Refused, Transient
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, Lease
from keyturn.stores.chain import first_broken
from keyturn.stores.sql import SqlStore
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.tables import metadata
from keyturn.testing.store_samples import NAME, NOW, at, begun, effect, ended, line, message, version


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyturn.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    store = SqlStore.open(f"sqlite:///{path}")
    yield store
    store.close()


def test_no_column_could_hold_a_secret() -> None:
    """No column's name suggests a secret value: versions are known by key id and fingerprint, tokens by digest."""
    names = {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns}
    assert not [name for name in names if re.search("secret|value|password|plain|private|credential_data", name)]
    assert "tokens.digest" in names


def test_one_live_rotation_is_held_by_the_database(store: SqlStore, path: Path) -> None:
    """Even a hand that bypasses the store cannot make two rotations of one credential live."""
    begun(store)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO rotations (id, credential, revision, live, phase, document) VALUES ('x', ?, 0, 1, '', '')",
            (NAME,),
        )
    connection.close()


def test_changed_line_is_found_in_the_database(store: SqlStore, path: Path) -> None:
    """A line of the trail that a hand changed in the file is found."""
    rotation = begun(store)
    store.commit(Commit(rotation=rotation, history=[line(rotation, str(number)) for number in range(4)]))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE history SET detail = 'nothing to see' WHERE number = 3")
    connection.close()
    assert first_broken(store.history(NAME)) == 2


def test_changed_record_is_refused_by_name(store: SqlStore, path: Path) -> None:
    """A rotation that a hand has cut short in the file is named, not half understood."""
    begun(store)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rotations SET document = substr(document, 1, 100)")
    connection.close()
    with pytest.raises(KeyturnError, match="rotation r1"):
        store.live()


def test_cost_follows_what_is_asked_for(path: Path) -> None:
    """What is due, live, open, waiting or in a span of time is found by an index, never by reading whole tables."""
    store = SqlStore.open(f"sqlite:///{path}")
    plans: dict[str, list[str]] = {}
    with sqlite3.connect(path) as plain:

        def explain(statement: str) -> None:
            if statement.startswith(("SELECT", "WITH")):
                plans[statement] = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {statement}")]

        # One thread uses one connection, again and again.
        with store._database.read() as connection:
            connection.connection.driver_connection.set_trace_callback(explain)  # type: ignore[union-attr]

        store.due(NOW)
        store.to_check(NOW)
        store.due_dates()
        store.current()
        store.unconfirmed()
        store.uncertain(NAME)
        store.live()
        store.rotating()
        store.live_of(NAME)
        store.latest_of(NAME)
        store.rotation("r1")
        store.journal("r1")
        store.open_intents(NAME)
        store.history(NAME)
        store.key_ids(["k"])
        store.bindings(NAME)
        store.outbox(NOW)
        store.usage(NAME, start=at(0), end=at(1))
        store.usage(NAME, start=at(0), end=at(1), sources=["log"])
        store.pooled(NAME)
        store.holes("log")
        store.dismissals(NAME)
        store.acknowledgements(NAME)
        store.uses(NAME)
        store.use_starts(NAME, "web", end=at(1))
        store.with_usage()
        store.detector("r1")
        store.holds(Lease(name="table", owner="a", token=1, expires_at=NOW))
    plain.close()
    store.close()
    assert len(plans) == 31
    # `names` is what the statement itself has walked so far, a row a credential with usage.
    scans = [step for plan in plans.values() for step in plan if step.startswith("SCAN") and step != "SCAN names"]
    # Two of these indexes hold the live and the waiting alone, and are read from end to end, as the credentials' names
    # are where something is asked of each: no version that was.
    assert sorted(scans) == [
        "SCAN credentials USING COVERING INDEX sqlite_autoindex_credentials_1",
        "SCAN deliveries USING INDEX ix_deliveries_waiting",
        "SCAN rotations USING INDEX ix_rotations_live",
        "SCAN rotations USING INDEX ix_rotations_live",
    ]


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Folders that are made are 0700, files 0600, whatever the umask."""
    store = SqlStore.open(f"sqlite:///{tmp_path}/var/lib/keyturn.db")
    begun(store)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "var").rglob("*")}
    store.close()
    assert modes.pop("lib") == 0o700
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    assert set(modes) == {"keyturn.db", "keyturn.db.lock", "keyturn.db-wal", "keyturn.db-shm"}
    assert set(modes.values()) == {0o600}


def test_each_commit_is_forced_to_disk(path: Path) -> None:
    """Every connection writes ahead, forces each commit to disk, and holds foreign keys."""
    database = open_sqlite(path)
    for transaction in (database.read, database.write):
        with transaction() as connection:
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert found == ["wal", 2]
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keyturn.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "mysql://u:hunter2@h/d",
        "sqlite:///file:x",
    ],
)
def test_wrong_url_is_one_clear_line(url: str) -> None:
    """A URL that names no SQLite file is a configuration error that shows the form, and no password."""
    with pytest.raises(ConfigError, match="sqlite:///") as caught:
        SqlStore.open(url)
    assert "hunter2" not in str(caught.value)


def test_place_that_is_no_file_is_one_clear_line(tmp_path: Path) -> None:
    """A folder in the file's place, or a file in the folder's, is a configuration error that names it."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "keyturn.db"):
        with pytest.raises(ConfigError, match=str(place)):
            SqlStore.open(f"sqlite:///{place}")


def test_file_of_another_kind_is_refused(path: Path) -> None:
    """A file that is no database is refused and left as it is, and its lock is given back."""
    path.write_bytes(b"no database, but a letter " * 100)
    for _ in range(2):
        with pytest.raises(KeyturnError, match=r"keyturn\.db is damaged"):
            SqlStore.open(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"no database")


def test_damaged_file_is_said_to_be(store: SqlStore, path: Path) -> None:
    """Pages that were overwritten are reported with the mend, as no transient trouble."""
    rotation = begun(store)
    for _ in range(200):
        rotation = store.commit(Commit(rotation=rotation, history=[line(rotation, "x" * 500)]))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (size - 8192))
    with pytest.raises(KeyturnError, match="damaged") as caught:
        SqlStore.open(f"sqlite:///{path}").history(NAME)
    assert not isinstance(caught.value, Transient)


def test_lock_of_a_stranger_is_transient(path: Path) -> None:
    """While another program holds the file locked, writing fails transiently with the mend, and works afterwards."""
    SqlStore.open(f"sqlite:///{path}").close()
    database = open_sqlite(path, busy_timeout=0.01)
    store = SqlStore(database)
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked"):
        begun(store)
    assert store.credential(NAME) is None
    stranger.execute("ROLLBACK")
    stranger.close()
    begun(store)
    store.close()


def test_full_disk_is_transient_and_writes_nothing(path: Path) -> None:
    """When the disk is full a commit fails transiently, leaves nothing of itself, and succeeds once there is room."""
    SqlStore.open(f"sqlite:///{path}").close()
    database = open_sqlite(path)
    pages = {"max": 1}

    @event.listens_for(database._engine, "begin")
    def limit(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages['max']}")  # type: ignore[attr-defined]

    store = SqlStore(database)
    pages["max"] = 2**30
    rotation = begun(store)
    pages["max"] = 1
    big = Commit(rotation=rotation, intents=[effect()], history=[line(rotation, "x" * 100_000)])
    with pytest.raises(Transient, match="disk is full"):
        store.commit(big)
    assert (len(store.history(NAME)), dict(store.journal("r1")), store.rotation("r1")) == (1, {}, rotation)
    pages["max"] = 2**30
    store.commit(big)
    store.close()


def test_values_that_cannot_be_held_are_invalid(store: SqlStore) -> None:
    """Text that is no Unicode, a moment without a zone and a number without bounds are refused for good."""
    with pytest.raises(Invalid):
        store.register("\ud800", version(), due_at=None)
    with pytest.raises(Invalid):
        store.enqueue([message()], ["hook"], now=NOW.replace(tzinfo=None))
    with pytest.raises(Invalid):
        store.bind(begun(store).credential, "north", "7", 2**70)
    assert list(store.outbox(NOW)) == []


def test_moments_of_other_zones_come_back_in_utc(store: SqlStore) -> None:
    """Whatever zone a moment was given in, it comes back in UTC."""
    store.register(NAME, version(), due_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=45))))
    found = store.credential(NAME)
    assert found is not None
    assert found.due_at == NOW
    assert str(found.due_at).endswith("+00:00")


def test_state_survives_a_restart(path: Path) -> None:
    """A store opened again holds what the one before it was told."""
    store = SqlStore.open(f"sqlite:///{path}", now=lambda: NOW)
    rotation = store.commit(Commit(rotation=begun(store), intents=[effect()], messages=[message()], notifiers=["hook"]))
    (lease,) = store.claim(["table"], "a", ttl=at(1) - at(0))
    journal, outbox, history = store.journal("r1"), store.outbox(NOW), store.history(NAME)
    assert journal[effect().id].opened_at == NOW
    store.close()
    again = SqlStore.open(f"sqlite:///{path}", now=lambda: NOW)
    assert (again.live_of(NAME), again.journal("r1"), again.outbox(NOW)) == (rotation, journal, outbox)
    assert again.history(NAME) == history
    assert again.holds(lease)
    assert list(again.claim(["table"], "b", ttl=at(1) - at(0))) == []
    ended(again, rotation, Phase.COMPLETED)
    again.close()


def test_closed_store_refuses(store: SqlStore) -> None:
    """After `close` nothing is read or written any more, since the lock is gone; closing again is no error."""
    store.close()
    store.close()
    with pytest.raises(KeyturnError, match="closed") as caught:
        begun(store)
    assert not isinstance(caught.value, Refused)
    with pytest.raises(KeyturnError, match="closed"):
        store.live()
