"""Backups are whole, taken beside a writer, and become stores that remember that they are backups."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.ports.records import Commit
from keyturn.stores.chain import first_broken
from keyturn.stores.migrations import HEAD
from keyturn.stores.sql import SqlStore, backup
from keyturn.stores.sql.backup import back_up, examine, restore
from keyturn.testing.store_samples import NAME, NOW, begun, line, version


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'keyturn.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = SqlStore.open(url)
    yield store
    store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


def test_backup_of_a_store_in_use_holds_everything(store: SqlStore, url: str, file: Path) -> None:
    """The writer goes on while it is taken; it holds what was committed by then, in one file for its owner's eyes only."""
    rotation = begun(store)
    made = back_up(url, file)
    store.commit(Commit(rotation=rotation, history=[line(rotation, "after the backup")]))
    assert (made.schema, made.credentials, made.rotating) == (HEAD, 1, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in file.parent.iterdir() if "backup" in path.name} == {"backup.db"}
    copy = SqlStore.open(f"sqlite:///{file}")
    assert copy.live() == [rotation]
    assert "after the backup" not in {entry.detail for entry in copy.history(NAME)}
    copy.close()


def test_backup_is_of_one_moment_whatever_is_written_meanwhile(store: SqlStore, url: str, tmp_path: Path) -> None:
    """Each decision is one transaction: in every backup the rotation's revision and its trail agree, and the chain of the
    trail is unbroken, however often it is taken beside a busy writer."""
    rotation = begun(store)
    stop = threading.Event()

    def write() -> None:
        moving = rotation
        while not stop.is_set():
            moving = store.commit(Commit(rotation=moving, history=[line(moving, f"revision {moving.revision}")]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = [tmp_path / f"backup-{number}.db" for number in range(8)]
        for file in files:
            back_up(url, file)
    finally:
        stop.set()
        writer.join()
    revisions = []
    for file in files:
        copy = SqlStore.open(f"sqlite:///{file}")
        trail = copy.history(NAME, limit=100_000)
        (moved,) = copy.live()
        assert first_broken(trail) is None
        assert (
            len([entry for entry in trail if entry.detail.startswith("revision ")])
            == moved.revision - rotation.revision
        )
        revisions.append(moved.revision)
        copy.close()
    assert revisions == sorted(revisions)
    assert revisions[-1] > revisions[0]


def test_backup_overwrites_nothing_and_needs_a_store(store: SqlStore, url: str, file: Path) -> None:
    """A file that is there is left as it is; where there is no store there is nothing to back up."""
    file.write_text("somebody's own")
    with pytest.raises(ConfigError, match="choose another name"):
        back_up(url, file)
    assert file.read_text() == "somebody's own"
    with pytest.raises(ConfigError, match="nothing to back up"):
        back_up(f"sqlite:///{file.parent / 'none.db'}", file.parent / "b.db")
    with pytest.raises(ConfigError, match="cannot be written"):
        back_up(url, file.parent / "no-such-folder" / "b.db")


def test_restored_store_remembers_that_it_is_one(store: SqlStore, url: str, file: Path) -> None:
    """Everything is there again, and no credential is confirmed; the store of before is beside it, whole."""
    rotation = begun(store)
    back_up(url, file)
    store.register("later", version(name="later"), due_at=None)
    store.close()
    aside = restore(file, url, now=NOW, replace=True)
    again = SqlStore.open(url)
    assert again.live() == [rotation]
    assert list(again.unconfirmed()) == [NAME]
    found = again.credential(NAME)
    assert found is not None
    assert found.restored_at == NOW
    again.close()
    assert aside is not None
    before = SqlStore.open(f"sqlite:///{aside}")
    assert set(before.credentials()) == {NAME, "later"}
    assert list(before.unconfirmed()) == []
    before.close()


def test_restore_needs_no_store_to_be_there(store: SqlStore, url: str, file: Path, tmp_path: Path) -> None:
    """On a new machine the backup is all there is; its folder is made."""
    begun(store)
    back_up(url, file)
    fresh = f"sqlite:///{tmp_path / 'new' / 'state' / 'keyturn.db'}"
    assert restore(file, fresh, now=NOW) is None
    again = SqlStore.open(fresh)
    assert list(again.unconfirmed()) == [NAME]
    again.close()


def test_restore_touches_no_store_that_is_in_use_or_not_to_be_replaced(store: SqlStore, url: str, file: Path) -> None:
    """A daemon that runs keeps its store; one that does not keeps it without `--replace`."""
    begun(store)
    back_up(url, file)
    with pytest.raises(ConfigError, match="in use by another keyturn"):
        restore(file, url, now=NOW, replace=True)
    store.close()
    with pytest.raises(ConfigError, match="--replace"):
        restore(file, url, now=NOW)
    again = SqlStore.open(url)
    assert list(again.unconfirmed()) == []
    again.close()


def test_what_is_no_sound_backup_is_refused_before_anything_is_moved(
    store: SqlStore, url: str, file: Path, tmp_path: Path
) -> None:
    """Another file, a damaged one, one of a newer release: each is named, and the store stays."""
    begun(store)
    back_up(url, file)
    store.close()
    other = tmp_path / "other.db"
    other.write_text("not a database at all, but long enough to be read as one" * 50)
    newer = tmp_path / "newer.db"
    newer.write_bytes(file.read_bytes())
    connection = sqlite3.connect(newer)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    torn = tmp_path / "torn.db"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    torn.write_bytes(content)
    none = tmp_path / "none.db"
    for bad, said in ((other, "no backup"), (newer, "newer keyturn"), (torn, "damaged|no backup"), (none, "no file")):
        with pytest.raises(ConfigError, match=said):
            restore(bad, url, now=NOW, replace=True)
    again = SqlStore.open(url)
    assert list(again.credentials()) == [NAME]
    assert list(again.unconfirmed()) == []
    again.close()


def test_backup_of_an_earlier_release_is_brought_forward(file: Path, url: str) -> None:
    """A backup from before this release's schema is migrated as a store of it would be, and then marked."""
    connection = sqlite3.connect(file)
    connection.executescript(Path(__file__).with_name("store_0001.sql").read_text())
    connection.close()
    assert examine(file).schema == "0001"
    restore(file, url, now=NOW)
    again = SqlStore.open(url)
    assert sorted(again.unconfirmed()) == sorted(again.credentials())
    assert examine(file).schema == "0001"
    again.close()


# What a crash leaves behind


def crashed(path: Path) -> None:
    """A store as a daemon leaves it that died hard: what it wrote last stands in the log alone."""
    live = path.with_name("live.db")
    SqlStore.open(f"sqlite:///{live}").close()
    store = SqlStore.open(f"sqlite:///{live}")
    for number in range(20):
        store.register(f"later-{number}", version(name=f"later-{number}"), due_at=None)
    for piece in ("", "-wal", "-shm"):
        shutil.copy(f"{live}{piece}", f"{path}{piece}")
    store.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


@pytest.fixture
def lost(store: SqlStore, url: str, file: Path, tmp_path: Path) -> Path:
    """The place of a store that was backed up with one credential, and crashed later with many."""
    begun(store)
    back_up(url, file)
    store.close()
    path = tmp_path / "keyturn.db"
    crashed(path)
    return path


def confirmed_as_backed_up(url: str) -> None:
    """The store at a URL is the backup's, marked as one, and sound."""
    again = SqlStore.open(url)
    assert list(again.credentials()) == list(again.unconfirmed()) == [NAME]
    again.close()
    assert examine(Path(url.removeprefix("sqlite:///"))).credentials == 1


def test_log_of_a_lost_database_does_not_come_over_the_restored_store(lost: Path, url: str, file: Path) -> None:
    """The database is gone and its log is still there: it is moved aside, and the store is the backup, with its mark."""
    log = lost.with_name("keyturn.db-wal").read_bytes()
    lost.unlink()
    aside = restore(file, url, now=NOW)
    assert aside is not None
    assert aside.name.endswith("-wal")
    assert aside.read_bytes() == log
    confirmed_as_backed_up(url)


def test_damaged_store_is_moved_aside_in_all_its_pieces(lost: Path, url: str, file: Path) -> None:
    """What SQLite cannot read cannot be made one file of; its pieces stay together under the new name, as they were."""
    lost.write_bytes(b"no database" * 1000)
    before = {piece: lost.with_name(f"{lost.name}{piece}").read_bytes() for piece in ("", "-wal")}
    aside = restore(file, url, now=NOW, replace=True)
    assert aside is not None
    assert {piece: aside.with_name(f"{aside.name}{piece}").read_bytes() for piece in before} == before
    confirmed_as_backed_up(url)


def test_sound_store_is_moved_aside_with_what_its_log_holds(lost: Path, url: str, file: Path) -> None:
    """A store whose daemon died hard is one file afterwards, whole alone."""
    aside = restore(file, url, now=NOW, replace=True)
    assert aside is not None
    assert [path.name for path in lost.parent.iterdir() if path.name.startswith(aside.name)] == [aside.name]
    assert examine(aside).credentials == 20
    confirmed_as_backed_up(url)


def test_store_that_somebody_has_open_is_not_moved(
    lost: Path, url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's sqlite3 would take the restored store's log away when it ends: it is named, and everything stays."""
    monkeypatch.setattr(backup, "BUSY", 0.0)
    stranger = sqlite3.connect(lost)
    stranger.execute("SELECT count(*) FROM credentials").fetchone()
    with pytest.raises(ConfigError, match=r"another process has the store .* open"):
        restore(file, url, now=NOW, replace=True)
    stranger.close()
    assert examine(lost).credentials == 20


def test_backup_of_a_damaged_store_names_the_store(lost: Path, url: str, file: Path) -> None:
    """One line says that the store is damaged, and no file is left that looks like a backup."""
    content = bytearray(lost.read_bytes() + bytes(4096))
    content[100:2000] = bytes(1900)
    for damaged in (bytes(content), b"no database" * 1000):
        for piece in ("-wal", "-shm"):
            lost.with_name(f"{lost.name}{piece}").unlink(missing_ok=True)
        lost.write_bytes(damaged)
        to = file.with_name("another.db")
        with pytest.raises(ConfigError, match=r"keyturn\.db (is damaged|cannot be copied)") as caught:
            back_up(url, to)
        assert "\n" not in str(caught.value)
        assert not [path for path in file.parent.iterdir() if "another" in path.name]


def test_what_the_system_refuses_is_said_in_one_line(store: SqlStore, url: str, file: Path, tmp_path: Path) -> None:
    """A place that is below a file, and not a folder, is named with the system's word, by both commands."""
    begun(store)
    back_up(url, file)
    below = tmp_path / "backup.db" / "state" / "keyturn.db"
    for attempt in (lambda: restore(file, f"sqlite:///{below}", now=NOW), lambda: back_up(url, below)):
        with pytest.raises(ConfigError, match=r"cannot be written: Not a directory"):
            attempt()
