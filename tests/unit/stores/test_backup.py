"""Backups are whole, taken beside a writer, and become stores that remember that they are backups."""

from __future__ import annotations

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
from keyturn.stores.sql import SqlStore
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
