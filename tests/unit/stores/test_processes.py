"""One process has the store, and what it was told is committed outlives any death of it."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.stores.chain import first_broken
from keyturn.stores.sql import SqlStore
from keyturn.testing.store_samples import NAME, NOW

KILLS = 6
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyturn.db"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Starts a process that has the store open when this returns."""
    started = []

    def start(mode: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("store_process.py"), mode, f"sqlite:///{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_second_opener_is_refused(start: Start, path: Path) -> None:
    """While one process has the store, another is told which file, which process, and what to do; so is a second
    opener by another name of the file."""
    holder = start("hold")
    other_name = path.with_name("link.db")
    other_name.symlink_to(path)
    for name in (path, other_name):
        with pytest.raises(ConfigError) as caught:
            SqlStore.open(f"sqlite:///{name}")
        assert str(path) in str(caught.value)
        assert f"process {holder.pid}" in str(caught.value)
        assert "stop that one" in str(caught.value)


def test_second_opener_in_one_process_is_refused(path: Path) -> None:
    """A process cannot open its own store twice either; once closed it can be opened again."""
    store = SqlStore.open(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="in use"):
        SqlStore.open(f"sqlite:///{path}")
    store.close()
    SqlStore.open(f"sqlite:///{path}").close()


def test_store_is_free_after_a_graceful_end(start: Start, path: Path) -> None:
    """A process that closes its store lets the next one in."""
    holder = start("hold")
    holder.communicate("")
    assert holder.returncode == 0
    SqlStore.open(f"sqlite:///{path}").close()


def test_store_is_free_at_once_after_a_kill(start: Start, path: Path) -> None:
    """The lock dies with its holder: right after SIGKILL the store opens, the file of the lock still there."""
    holder = start("hold")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert path.with_name("keyturn.db.lock").read_text() == f"{holder.pid}\n"
    store = SqlStore.open(f"sqlite:///{path}")
    assert store.live_of(NAME) is not None
    store.close()


@pytest.mark.slow
def test_committed_is_never_lost(start: Start, path: Path) -> None:
    """A process SIGKILLed again and again amid a stream of commits loses none that it was told of, and leaves none half
    written."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    moments = random.Random(seed)
    for _ in range(KILLS):
        writer = start("stream")
        assert writer.stdout is not None
        for _ in range(moments.randrange(1, 40)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = [int(line) for line in writer.communicate()[0].splitlines() if line]
        store = SqlStore.open(f"sqlite:///{path}")
        rotation = store.live_of(NAME)
        assert rotation is not None
        revision = rotation.revision
        assert not told or revision in (told[-1], told[-1] + 1), f"seed {seed}"
        history = store.history(NAME, limit=10_000)
        assert [entry.detail for entry in history] == ["begun", *(f"commit {n}" for n in range(1, revision + 1))]
        assert first_broken(history) is None
        assert len(store.journal(rotation.id)) == len(store.open_intents(NAME)) == revision
        assert {intent.outcome for intent in store.open_intents(NAME)} == {None}
        assert len(store.outbox(NOW, limit=10_000)) == revision
        store.close()
