"""The benchmark of many credentials at small sizes: that it does what it measures, and says so where it did not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from benchmarks.fleet import __main__ as benchmark
from benchmarks.fleet import drift, idle, restart, throughput


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """The benchmark sends its logs nowhere; the other tests' go where they went."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.slow
def test_a_killed_daemons_intents_are_found_and_settled_by_the_next() -> None:
    """The kill leaves intents open, more than threads hold alone; after it every rotation goes on and none stays open."""
    found = restart.measure(400)
    assert 100 <= found["killed_after"] < 300
    assert found["open_intents"] >= 20
    assert found["settled"] == found["open_intents"]
    assert found["gone_on"] == 400
    assert 0 < found["first_decision_s"] < found["all_s"]
    assert found["cpu_ms_a_rotation"] == pytest.approx(found["cpu_s"] * 1000 / 400)


@pytest.mark.slow
def test_an_idle_daemon_stands_beside_apscheduler(capsys: pytest.CaptureFixture[str]) -> None:
    """Both counts of both, what the mean tick takes of a core at the daemon's own pace, and how a tick grew."""
    status = benchmark.main(["--part", "idle", "--credentials", "100", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert status == (1 if benchmark.grown(found) else 0)  # whether a tick grew is for the benchmark to measure
    assert [(row["what"], row["count"]) for row in found["idle"]] == [
        ("ticks", 10),
        ("ticks", 100),
        ("jobs", 10),
        ("jobs", 100),
    ]
    for row in found["idle"]:
        assert row["least_cpu_ms"] <= row["mean_cpu_ms"]
        assert row["core_percent"] == pytest.approx(row["mean_cpu_ms"] / 1000 / 10 * 100)
    assert [(row["what"], row["credentials"]) for row in found["growth"]] == [("ticks", 10), ("jobs", 10)]


def test_growth_is_the_many_over_the_few() -> None:
    """Of the quickest tick and of the mean one."""
    rows: list[dict[str, Any]] = [
        {"what": "ticks", "count": 1000, "least_cpu_ms": 3.0, "mean_cpu_ms": 8.0},
        {"what": "ticks", "count": 100, "least_cpu_ms": 2.0, "mean_cpu_ms": 4.0},
    ]
    assert idle.growth(rows) == [{"what": "ticks", "credentials": 10, "least_tick": 1.5, "mean_tick": 2.0}]


def test_every_credential_is_checked_and_its_share_follows_from_the_policy() -> None:
    """Once an hour each, where nothing else is set."""
    found = drift.measure(10, 100_000)
    assert found["checked"] == 10
    assert found["checks_a_second"] == pytest.approx(100_000 / 3600)
    assert found["core_percent"] == pytest.approx(found["check_cpu_ms"] / 1000 * 100_000 / 3600 * 100)


@pytest.mark.slow
def test_rotations_that_did_not_end_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One tick ends none: one line says so, and the exit status."""
    monkeypatch.setattr(throughput, "MOST_TICKS", 1)
    assert benchmark.main(["--part", "throughput", "--rotations", "2", "--json"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "throughput: 0 of 2 rotations were completed"


@pytest.mark.parametrize(("completed", "lines"), [(5, []), (4, ["throughput: 4 of 5 rotations were completed"])])
def test_a_run_is_whole_when_all_were_completed(completed: int, lines: list[str]) -> None:
    """One fewer is told."""
    assert benchmark.shortfalls({"throughput": [{"rotations": 5, "completed": completed}]}) == lines


@pytest.mark.parametrize(
    ("ticks", "lines"), [(1.4, []), (2.05, ["idle: a tick takes 2.05 times as long with 10 times as many credentials"])]
)
def test_a_tick_that_grows_with_what_is_not_due_is_told(ticks: float, lines: list[str]) -> None:
    """Of keyturn's ticks alone."""
    growth = [
        {"what": "ticks", "credentials": 10, "least_tick": ticks, "mean_tick": 9.0},
        {"what": "jobs", "credentials": 10, "least_tick": 9.0, "mean_tick": 9.0},
    ]
    assert benchmark.grown({"growth": growth}) == lines
