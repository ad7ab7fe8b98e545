"""The checks of the runs with real processes can fail: each is shown something that it has to find."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from tests.chaos.annals import Annals
from tests.chaos.audit import Audit
from tests.chaos.daemons import Look
from tests.chaos.failpoints import ISSUER_CALLS, TARGET_CALLS, WRITES
from tests.chaos.kills import kill_through, sqlite_in
from tests.chaos.points import Points
from tests.chaos.storm import calm_tick, waits

from keyturn.demo.gateway import GatewayNode, TableKey
from keyturn.demo.processes import Family
from keyturn.demo.waiting import wait_until
from keyturn.stores.sql import SqlStore

LEASE = 20.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        ("write twice", "the audit log shows versions [1, 2, 3], for 1 promotes"),
        ("write twice", "was written 2 times, for 1 effects"),
        ("destroy twice", "was destroyed in 2 requests, for 1 tries"),
        ("erase twice", "was erased 2 times, for 1 effects"),
        ("mark unasked", "was written 1 times, for 0 effects"),
        ("disable twice", "was active, disabled, active, disabled, revoked"),
        ("install another", "is nobody's"),
        ("disable at once", "requests were refused"),
    ],
)
def test_what_a_broken_daemon_does_is_found(sabotage: str, found: str, tmp_path: Path) -> None:
    """A daemon that does something twice, leaves a key behind or has a client refused does not hold."""
    with Family() as family:
        killed = kill_through(
            family,
            tmp_path,
            database=sqlite_in(tmp_path),
            seed=0,
            share=0.0,
            cycles=0,
            seconds=120,
            say=print,
            sabotage=sabotage,
        )
    assert any(found in line for line in killed.broken), killed.broken


def test_every_write_of_the_store_is_a_failpoint() -> None:
    """What opens a transaction to write is wrapped: no write of the journal can be added and be left out."""
    writing = {name for name, method in vars(SqlStore).items() if "_database.write()" in _source(method)}
    assert writing == set(WRITES)


def _source(method: object) -> str:
    return inspect.getsource(method) if inspect.isfunction(method) else ""


def test_a_point_that_nobody_died_at_is_found() -> None:
    """A point that was passed alive, a write that nobody came to and a call that nobody died after are each named; a point
    that only a life reached whose other thread was killed there is told, and held against nobody."""
    calls = (*WRITES, *TARGET_CALLS, *ISSUER_CALLS)
    everything = [f"{call} x: {when}" for call in calls for when in ("before", "within", "after")]
    whole = Points(died_at=everything, passed=frozenset(everything), reached=frozenset({*everything, "pin y: before"}))
    assert list(whole.broken()) == []
    died_at = [point for point in everything if not point.startswith("bind") and point != "mint x: after"]
    points = Points(
        died_at=died_at,
        passed=frozenset([*died_at, "record y: within"]),
        reached=frozenset([*died_at, "record y: within", "record z: before"]),
    )
    assert list(points.broken()) == [
        "was passed and never died at: record y: within",
        "nobody died after bind",
        "nobody died before bind",
        "nobody died within bind",
        "nobody died after mint",
    ]
    assert list(points.tell())[-2:] == [
        "another thread was killed whenever one was here: record z: before",
        "killed there, and not to be done again: mint x",
    ]


def looked(what: str, at: float, took: float = 1.0) -> Look:
    return Look(what=what, at=at, took=took, pid=1)


def test_a_wait_counts_from_the_last_faults_end() -> None:
    """What is worked on again within the lease and two ticks has not waited too long; what is not, or never again, has."""
    ticks = [looked("tick", at) for at in range(90, 200, 2)]
    for again, held in ((121.0, True), (123.5, False)):
        looks = [*ticks, looked("a", 99), looked("a", 101), looked("b", 98), looked("b", again)]
        waited, bound = waits(looks, over_at=100, under_way={"a", "b"}, lease=LEASE, tick=1.0, calm=5.0)
        assert (waited, bound) == (again - 100, 22.0)
        assert (waited <= bound) is held
    assert waits(ticks, over_at=100, under_way={"a"}, lease=LEASE, tick=1.0, calm=5.0)[0] == float("inf")


def test_a_tick_that_a_fault_held_up_allows_no_longer_wait() -> None:
    """Of a tick that slept through the fault counts what came after."""
    looks = [looked("tick", 40, took=63), looked("tick", 104, took=2), looked("a", 110)]
    assert waits(looks, over_at=100, under_way={"a"}, lease=LEASE, tick=1.0, calm=5.0) == (10, LEASE + 2 * 3)


def test_a_tick_that_hangs_allows_no_longer_wait() -> None:
    """A tick after the storm counts for no more than the longest before it, between the start and the first fault."""
    looks = [
        looked("tick", 10, took=30),
        looked("tick", 60, took=4),
        looked("tick", 70, took=3),
        looked("tick", 78, took=9),
    ]
    calm = calm_tick(looks, since=50, until=80, tick=1.0)
    assert calm == 4
    looks += [looked("tick", 101, took=40), looked("a", 141)]
    assert waits(looks, over_at=100, under_way={"a"}, lease=LEASE, tick=1.0, calm=calm) == (41, LEASE + 2 * 4)


def test_a_table_that_is_given_back_was_never_in_force(tmp_path: Path) -> None:
    """What stood in a table's place until the test of the configuration failed is no change; what stays is one."""
    with Family() as family:
        node = GatewayNode(
            family=family, folder=tmp_path / "node", name="node", keys=[TableKey(value="kt_a", kid="a")], upstream=1
        )
        with Annals([node]) as annals:

            def states() -> list[str]:
                return [change.state for change in annals.changes()["node", "a"]]

            former = node.key_table.with_name("former")
            former.hardlink_to(node.key_table)
            disabled = [TableKey(value="kt_a", kid="a", state="disabled")]
            node.write_table(disabled)
            wait_until(lambda: states() == ["active", "disabled"], within=30, what="the change is seen")
            former.replace(node.key_table)
            wait_until(lambda: states() == ["active"], within=30, what="it is given back")
            node.write_table(disabled)
            wait_until(lambda: states() == ["active", "disabled"], within=30, what="it stays")


def test_what_changes_nothing_is_no_change(tmp_path: Path) -> None:
    """A copy that is deleted again when it is gone, and a request that is refused, count once and not at all; a copy that
    was written again is another change, and so is each mark."""

    def lines(number: int, operation: str, path: str, error: str = "", **data: object) -> list[str]:
        request = {"id": str(number), "operation": operation, "path": f"apps/{path}", "data": data}
        answer = {"type": "response", "request": request, "error": error}
        return [json.dumps({"type": "request", "request": request}), json.dumps(answer)]

    copy, marks = "keyturn/shop/key", {"keyturn-compromised.k": "now"}
    log = tmp_path / "audit.log"
    log.write_text(
        "\n".join(
            [
                *lines(1, "update", f"data/{copy}"),
                *lines(2, "delete", f"metadata/{copy}", error="1 error occurred: * permission denied"),
                *lines(3, "delete", f"metadata/{copy}"),
                *lines(4, "delete", f"metadata/{copy}"),
                *lines(5, "patch", "metadata/shop/key", custom_metadata=marks),
                *lines(6, "patch", "metadata/shop/key", custom_metadata=marks),
                *lines(7, "update", "undelete/shop/key", versions=[1]),
            ]
        )
    )
    audit = Audit.read(log)
    assert (audit.erased[copy].changes, audit.erased[copy].requests) == (1, 2)
    assert audit.annotated["shop/key", "keyturn-compromised.k"].changes == 2
    assert audit.others == ["update undelete/shop/key"]


def test_a_write_that_openbao_was_killed_over_is_known_by_its_list_alone(tmp_path: Path) -> None:
    """The audit log answers no request that was cut off: it may stand for one version, and for no more."""

    def entry(kind: str, number: int, version: int | None = None) -> str:
        request = {"id": str(number), "operation": "update", "path": "apps/data/shop/key"}
        return json.dumps({"type": kind, "request": request, "response": {"data": {"version": version}}})

    log = tmp_path / "audit.log"
    log.write_text("\n".join([entry("request", 1), entry("response", 1, 1), entry("request", 2)]))
    told = Audit.read(log).written["shop/key"]
    assert told.is_of([1, 2])
    assert told.is_of([1])
    assert not told.is_of([1, 2, 3])
    log.write_text("\n".join([entry("request", 1), entry("response", 1, 1), entry("response", 2, 2)]))
    told = Audit.read(log).written["shop/key"]
    assert told.is_of([1, 2])
    assert not told.is_of([1])
    assert not told.is_of([1, 2, 3])
