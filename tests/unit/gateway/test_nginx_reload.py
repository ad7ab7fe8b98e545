"""The barrier's judgement of start times: what cannot be told apart is never called loaded."""

from __future__ import annotations

import time

import pytest

from keyturn.plugins.gateway import nginx_processes as processes
from keyturn.plugins.gateway.nginx_processes import Nginx, Process
from keyturn.plugins.gateway.nginx_reload import ReloadRecord, Rules, judge
from keyturn.plugins.gateway.nginx_table_file import TableIdentity

NOW = processes.tick()
WRITE = NOW - 1000


def table(*, tick: int = WRITE, inode: int = 1) -> TableIdentity:
    # The middle of a tick, so that rounding does not matter here.
    modified = time.time() - processes.seconds(processes.tick() - tick) + processes.seconds(1) / 2
    return TableIdentity(device=1, inode=inode, modified_ns=int(modified * 1e9), size=1)


def nginx(*started: int, idle: bool = True, master: int = 100) -> Nginx:
    workers = tuple(Process(pid=1000 + number, started=tick) for number, tick in enumerate(started))
    return Nginx(master=Process(pid=999, started=master), idle=idle, workers=workers)


def record(of: TableIdentity, *, idle_at: int | None, boot: str | None = None) -> ReloadRecord:
    return ReloadRecord(table=of, boot=processes.boot() if boot is None else boot, idle_at=idle_at)


@pytest.mark.parametrize(
    ("seen", "rules"),
    [
        (nginx(WRITE + 51, WRITE + 52), Rules.LOADED),
        (nginx(WRITE + 50), Rules.OWED),  # in the very tick in which the master was seen idle
        (nginx(WRITE - 500, WRITE + 60), Rules.LOADING),
        (nginx(WRITE - 500), Rules.OWED),
        (nginx(WRITE - 500, idle=False), Rules.LOADING),
        (nginx(WRITE + 10), Rules.OWED),  # forked after the write, by a reload that had read before it
        (nginx(), Rules.LOADING),
    ],
)
def test_our_own_reloads_are_judged_by_the_record(seen: Nginx, rules: Rules) -> None:
    """Only workers forked after the master was seen idle, after the write, have read the table beyond doubt."""
    of = table()
    assert judge(table=of, record=record(of, idle_at=WRITE + 50), nginx=seen, grace=2) is rules


@pytest.mark.parametrize(
    ("seen", "rules"),
    [
        (nginx(WRITE + 10, WRITE + 11), Rules.LOADED),
        (nginx(WRITE), Rules.AMBIGUOUS),
        (nginx(WRITE + 1, WRITE + 9), Rules.AMBIGUOUS),
        (nginx(WRITE, idle=False), Rules.LOADING),
        (nginx(WRITE - 500, WRITE + 10), Rules.LOADING),
        (nginx(WRITE - 10), Rules.OWED),
    ],
)
def test_tables_of_other_hands_are_judged_by_their_time(seen: Nginx, rules: Rules) -> None:
    """A table that we did not write counts as loaded when every worker is clearly younger, and never in doubt."""
    of = table()
    for known in (None, record(table(inode=2), idle_at=WRITE + 5), record(table(inode=2), idle_at=None)):
        assert judge(table=of, record=known, nginx=seen, grace=2) is rules


def test_a_write_without_its_reload_is_owed_whatever_runs() -> None:
    """After a crash between write and reload no start time proves anything: a worker may have been replaced since."""
    of = table()
    assert judge(table=of, record=record(of, idle_at=None), nginx=nginx(NOW), grace=2) is Rules.OWED
    assert judge(table=of, record=record(of, idle_at=None), nginx=None, grace=2) is Rules.OWED


def test_a_machine_that_was_started_since_serves_the_newest() -> None:
    """A record of an earlier boot means that everything that runs was started after the write."""
    of = table()
    known = record(of, idle_at=NOW + 10**6, boot="another")
    assert judge(table=of, record=known, nginx=nginx(5), grace=2) is Rules.LOADED


def test_out_of_sight_time_decides() -> None:
    """Without a look at the processes a reload counts after the grace, and a table without a record never does."""
    of = table()
    young, old = processes.tick() - 50, processes.tick() - 250
    assert judge(table=of, record=record(of, idle_at=young), nginx=None, grace=2) is Rules.LOADING
    assert judge(table=of, record=record(of, idle_at=old), nginx=None, grace=2) is Rules.LOADED
    assert judge(table=of, record=None, nginx=None, grace=2) is Rules.OWED


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"table": 1, "boot": "", "idle_at": 1}', b"\xff"])
def test_a_spoilt_record_is_none(data: bytes) -> None:
    """A record that cannot be read leaves the judgement to the file times."""
    assert ReloadRecord.from_bytes(data) is None


def test_a_record_survives_writing() -> None:
    """What is written is read back."""
    for idle_at in (None, 17):
        known = record(table(), idle_at=idle_at)
        assert ReloadRecord.from_bytes(known.to_bytes()) == known
