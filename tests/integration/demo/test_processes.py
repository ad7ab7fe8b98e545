"""A family of processes is gone with its parent, however the parent ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.demo.loopback import PortClaims
from keyturn.demo.processes import Family, lean_environment
from keyturn.demo.waiting import PartFailed, wait_until

PARENT = Path(__file__).with_name("parent_of_parts.py")
GONE_WITHIN = 5.0


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@contextlib.contextmanager
def parent_of_parts(folder: Path, ending: str) -> Iterator[subprocess.Popen[bytes]]:
    parent = subprocess.Popen(
        [sys.executable, str(PARENT), str(folder), ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=lean_environment(),
    )
    with parent:
        try:
            yield parent
        finally:
            # A test that failed half-way must not wait for a parent that nobody ended.
            parent.kill()


def forked_by(log: Path) -> int:
    """The child of a process that wrote the number which os.fork gave it."""
    wait_until(lambda: log.read_text().endswith("\n"), within=20, what="it forked")
    return int(log.read_text())


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "error"])
def test_nothing_outlives_the_parent(ending: str, tmp_path: Path) -> None:
    """Killed, interrupted or failed, a parent leaves no part and no part's child behind."""
    with parent_of_parts(tmp_path, ending) as parent:
        assert parent.stdout is not None
        pids: list[int] = json.loads(parent.stdout.readline())
        pids.append(forked_by(tmp_path / "stubborn.log"))
        assert [pid for pid in pids if not runs(pid)] == []
        assert len(pids) == 7
        begun = time.monotonic()
        if ending == "error":
            assert parent.stdin is not None
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
        else:
            os.kill(parent.pid, getattr(signal, ending))
        wait_until(
            lambda: not runs(parent.pid) and not any(runs(pid) for pid in pids),
            within=GONE_WITHIN,
            what=f"everything was gone after {ending}",
        )
        assert time.monotonic() - begun < GONE_WITHIN


def test_a_part_that_dies_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """A wait ends at once when its part has ended, and quotes the part's log."""
    with Family() as family:
        words = [sys.executable, "-c", "raise SystemExit('no such mount')"]
        part = family.start("broken", words, log=tmp_path / "log")
        begun = time.monotonic()
        with pytest.raises(PartFailed, match=r"(?s)it answered: broken ended .*no such mount"):
            wait_until(lambda: False, within=60, what="it answered", part=part)
        assert time.monotonic() - begun < 30


def test_a_part_can_be_killed_and_started_again_under_its_name(tmp_path: Path) -> None:
    """A name is free again once its process ended, and both wrote to the same log."""
    with Family() as family:
        words = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
        log = tmp_path / "log"
        first = family.start("daemon", words, log=log)
        wait_until(lambda: "up" in log.read_text(), within=20, what="it ran", part=first)
        with pytest.raises(PartFailed, match="runs already"):
            family.start("daemon", words, log=log)
        first.kill()
        assert not runs(first.pid)
        assert first.exit_code == -signal.SIGKILL
        second = family.start("daemon", words, log=log)
        wait_until(lambda: log.read_text() == "up\nup\n", within=20, what="again", part=second)
        assert family.parts == (second,)
    assert not runs(second.pid)


def test_what_a_killed_part_started_goes_with_it(tmp_path: Path) -> None:
    """When only the leader was killed, and its end was seen, its children still end with the family."""
    code = "import os, time; child = os.fork(); child and os.write(1, b'%d\\n' % child); time.sleep(600)"
    log = tmp_path / "log"
    with Family() as family:
        part = family.start("leader", [sys.executable, "-c", code], log=log)
        child = forked_by(log)
        part.send(signal.SIGKILL)
        wait_until(lambda: part.exit_code == -signal.SIGKILL, within=10, what="its end was seen")
        assert runs(child)
    assert not runs(child)


def test_a_stopped_process_is_gone_all_the_same(tmp_path: Path) -> None:
    """A part that was frozen with SIGSTOP does not survive the family."""
    with Family() as family:
        part = family.start("frozen", [sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log")
        part.send(signal.SIGSTOP)
        begun = time.monotonic()
        family.stop()
        assert time.monotonic() - begun < GONE_WITHIN
    assert not runs(part.pid)


def test_parts_inherit_no_secret_of_whoever_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and proxies in our environment do not reach a part."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for children")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "not for children")
    names = set(lean_environment())
    assert not names & {"AWS_SECRET_ACCESS_KEY", "HTTP_PROXY", "VAULT_TOKEN"}


def test_ports_are_never_given_out_twice() -> None:
    """Claims that live at once never overlap, also across claimers."""
    claimers = [PortClaims() for _ in range(4)]
    try:
        firsts = [claimer.claim(2) for claimer in claimers for _ in range(25)]
        ports = [port for first in firsts for port in (first, first + 1)]
        assert len(set(ports)) == len(ports)
    finally:
        for claimer in claimers:
            claimer.release()
