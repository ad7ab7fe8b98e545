"""The benchmark of the detector and of silence, in its quick form, and what it makes of its runs."""

import secrets
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import __main__ as benchmark
from benchmarks.evidence import methods, silence
from benchmarks.evidence.report import Row, found_soon, judged, light_fault_bar
from benchmarks.evidence.scenarios import FAULTY, HEALTHY, Scenario
from benchmarks.evidence.streams import FAILING, Stream, arms, learnt, make, traffic

KINDS = {scenario.name: scenario for scenario in (*HEALTHY, *FAULTY)}


def fresh_seed() -> int:
    seed = secrets.randbits(32)
    sys.stdout.write(f"seed {seed}\n")
    return seed


@pytest.mark.slow
def test_the_detector_holds_its_bars_on_fresh_streams() -> None:
    """No healthy rotation is rolled back and every failing version is found, whatever the seed."""
    assert benchmark.main(["--quick", "--seed", str(fresh_seed())]) == 0


def test_a_missed_bar_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector that says nothing misses a failing version, and the exit status says so."""
    monkeypatch.setattr(benchmark, "METHODS", {**methods.METHODS, "keyturn": lambda _: None})
    assert benchmark.main(["--quick", "--seed", "1", "--scenario", "one fails 100%, 10/min"]) == 1
    assert "NO" in capsys.readouterr().out


def test_runs_are_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call with the seed of an earlier one goes on where that stopped, be it in the middle of a line."""
    arguments = ["--quick", "--seed", "5", "--scenario", "all fail 50%", "--out", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    (file,) = (tmp_path / "5").glob("*.jsonl")
    whole = file.read_text(encoding="utf-8")
    monkeypatch.setattr(benchmark, "run", None)
    assert benchmark.main(arguments) == 0
    file.write_text(whole[:-10], encoding="utf-8")
    with pytest.raises(TypeError):
        benchmark.main(arguments)
    monkeypatch.undo()
    assert benchmark.main(arguments) == 0
    assert file.read_text(encoding="utf-8") == whole


def test_a_stream_is_the_same_for_every_method() -> None:
    """Scenario and seed alone decide a stream."""
    scenario = replace(KINDS["gamma"], hours=1)
    one, again = make(scenario, 5), make(scenario, 5)
    assert all((a == b).all() for a, b in zip(one.new, again.new, strict=True))
    assert not (one.new[0] == make(scenario, 6).new[0]).all()


def test_traffic_fails_at_the_rate_it_should() -> None:
    """Whatever the noise, requests come and fail as often as the scenario says."""
    for noise in ("independent", "bursts of 10"):
        rng = np.random.default_rng(fresh_seed())
        own = np.full(50, 0.01)
        trials, failures = traffic(rng, 1440, noise=noise, length=60, per_minute=10, own=own)
        assert trials.mean() == pytest.approx(10, rel=0.02)
        assert failures.sum() / trials.sum() == pytest.approx(0.01, rel=0.15)
        assert (failures <= trials).all()


def test_laggards_are_refused_on_the_old_version_alone() -> None:
    """One to fifteen clients stay on the disabled version, every request of theirs refused."""
    stream = make(replace(KINDS["1 to 15 laggards refused"], hours=1), fresh_seed())
    behind = stream.old[0].any(axis=0)
    assert stream.disabled
    assert 1 <= behind.sum() <= 15
    assert (stream.old[1] == stream.old[0]).all()
    assert not stream.new[0][:, behind].any()


def of(alarms: list[int | None], scenario: Scenario, *, requests: int = 0, seconds: int = 0) -> list[Row]:
    """Rows in which every method gave the same alarms."""
    return [
        Row(
            scenario=scenario.name,
            length=scenario.length,
            seed=number,
            method=method,
            alarm=alarm,
            missed=scenario.faulty and alarm is None,
            requests=requests,
            seconds=seconds,
        )
        for number, alarm in enumerate(alarms)
        for method in methods.METHODS
    ]


@pytest.mark.parametrize(("false", "holds"), [(3, True), (4, False)])
def test_three_false_rollbacks_in_300_are_the_most(false: int, *, holds: bool) -> None:
    """A healthy scenario holds its bar with three of 300 rolled back, and not with four."""
    alarms: list[int | None] = [7] * false + [None] * (300 - false)
    assert judged(HEALTHY[0], of(alarms, HEALTHY[0])).holds is holds


@pytest.mark.parametrize(("requests", "seconds", "holds"), [(6, 40, True), (7, 40, False), (6, 50, False)])
def test_a_median_above_its_bar_is_a_miss(requests: int, seconds: int, *, holds: bool) -> None:
    """Requests and seconds are judged each by its own bar."""
    scenario = KINDS["one fails 100%, 10/min"]
    assert judged(scenario, of([3, 3], scenario, requests=requests, seconds=seconds)).holds is holds


def test_a_fault_never_found_is_a_miss_whatever_the_median() -> None:
    """One run without a rollback is enough."""
    scenario = KINDS["all fail 5%"]
    assert judged(scenario, of([1] * 9, scenario)).holds
    assert not judged(scenario, of([*[1] * 9, None], scenario)).holds


@pytest.mark.parametrize(("requests", "holds"), [((30, 12), True), ((14, 13), False)])
def test_a_quick_run_misses_a_detector_that_has_become_slow(requests: tuple[int, int], *, holds: bool) -> None:
    """Two runs make no median, but one of them at least is to find a client that fails fully within twice its bar."""
    scenario = KINDS["one fails 100%, 10/min"]
    rows = [row for each in requests for row in of([1], scenario, requests=each, seconds=40)]
    assert found_soon(scenario, rows) is holds
    assert not found_soon(scenario, [*rows, *of([None], scenario)])


def test_the_slowest_runs_of_a_light_fault_are_judged_too() -> None:
    """At 1 and 5 % the 95th percentile has a bar: three times what the best test of the two rates needs."""
    scenario = KINDS["one fails 1%, 10/min"]
    bar = light_fault_bar(scenario)
    assert bar is not None
    assert bar[0] == pytest.approx(3025, abs=5)
    assert light_fault_bar(KINDS["one fails 5%, 20/s"]) == (20.0, "s")
    rows = of([1] * 9, scenario, requests=100) + of([1, 1], scenario, requests=5000)
    assert not judged(scenario, rows).holds


def stream_of(failures: list[int], *, length: int = 60) -> Stream:
    """One client with ten requests a bucket, of which so many fail; the others have none."""
    trials, failed = np.zeros((2, len(failures), 50), dtype=np.int64)
    trials[:, FAILING], failed[:, FAILING] = 10, failures
    baseline = learnt("independent", 0.001, 300, 10.0, 1)
    return Stream(length=length, baseline=baseline, new=(trials, failed), old=(trials * 0, failed * 0))


def test_the_rivals_do_what_they_are_said_to() -> None:
    """Each fires in the bucket in which its own rule is first met, and not before."""
    clean, bad = [0] * 10, [1] * 5
    assert methods.fixed_threshold(stream_of([*clean, 2, 0, 0])) is None
    assert methods.fixed_threshold(stream_of([*clean, 2, 0, 1])) == 12
    assert methods.bad_intervals(stream_of([*clean, 1, 1, 0, *bad])) == 17
    assert methods.bad_intervals(stream_of([*clean, 1, 1, 1, 1])) is None
    assert methods.burn_rate(stream_of([*clean * 6, 3, 4])) == 61
    assert methods.cusum(stream_of([*clean, 6])) is None
    assert methods.cusum(stream_of([*clean, 6, 1])) == 11


def test_an_idle_client_is_absent_from_a_bucket() -> None:
    """As the daemon does, a bucket names those alone that came."""
    assert list(arms(*stream_of([3, 0]).new)) == [{"client-07": (7, 3)}, {"client-07": (10, 0)}]


def test_the_silence_table_tells_who_came_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bars hold as the rule is, and are missed by one of seven days."""
    lines, held = silence.table(30, fresh_seed(), chance=6)
    assert held
    assert len(lines) == len(silence.KINDS) + len(silence.BEYOND) + 1
    monkeypatch.setattr(silence, "required_silence", lambda *_, **__: timedelta(days=3.5))
    assert not silence.table(30, fresh_seed(), chance=6)[1]
