"""The report's arithmetic, on records made up for it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.demo.client_process import Request
from keyturn.demo.killing import Kill, Moment, outage_seconds
from keyturn.demo.report import (
    PhaseEntry,
    Report,
    outcome_of,
    phases_of,
    traffic_rows,
    unnoticed_rows,
)
from keyturn.demo.scenarios.crash import dwell_rows
from keyturn.demo.scenarios.emergency import first_refusals
from keyturn.demo.timing import Timing
from keyturn.demo.traffic import Traffic, latest_by_client, refused_in_logs, tally

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request(
    status: int = 200,
    *,
    kid: str = "old1",
    client: str = "a",
    error: str = "",
    epoch: float = 0.0,
    node: str = "gateway-1",
    held: bool = False,
) -> Request:
    return Request(
        time="", epoch=epoch, client=client, node=node, kid=kid, latency=0.01, status=status, error=error, held=held
    )


def kill(at: float, up: float | None, moment: Moment = Moment.RUNNING) -> Kill:
    up_at = None if up is None else NOON + timedelta(seconds=up)
    return Kill(moment=moment, phase="overlap", at=NOON + timedelta(seconds=at), up_at=up_at)


def entry(phase: str, at: float) -> PhaseEntry:
    return PhaseEntry(phase=phase, entered_at=(NOON + timedelta(seconds=at)).isoformat(), reason="because")


def test_refusals_and_errors_are_apart() -> None:
    """401 and 403 are refusals; every other answer that is no success, and no answer, is an error."""
    counts = tally(
        [
            request(200),
            request(204),
            request(401),
            request(403, kid="new1", client="b"),
            request(302),
            request(404),
            request(503),
            request(0, error="read_timeout"),
            request(0, error="connection_broken"),
        ],
        old_kid="old1",
    )
    assert (counts.requests, counts.refused, counts.errors) == (9, 2, 5)
    assert counts.refused_by_version == {"old": 1, "new": 1}
    assert counts.refused_clients == {"a", "b"}


def test_every_attempt_counts() -> None:
    """A client that is refused three times counts three times."""
    counts = tally([request(401, epoch=n) for n in range(3)], old_kid="old1")
    assert counts.refused == 3
    assert counts.refused_by_version == {"old": 3, "new": 0}


def test_the_latest_request_of_each_client() -> None:
    """What a client sent last says which version it is on."""
    latest = latest_by_client([request(), request(client="b"), request(kid="new1")])
    assert {name: one.kid for name, one in latest.items()} == {"a": "new1", "b": "old1"}


def test_records_are_read_as_they_grow(tmp_path: Path) -> None:
    """A line that is still being written is taken when it is whole, and none is taken twice."""
    record = tmp_path / "a.jsonl"
    whole = json.dumps(
        {"time": "", "epoch": 1.0, "client": "a", "node": "n", "kid": "k", "status": 200, "latency": 0.1}
    )
    traffic = Traffic([record])
    assert traffic.read() == []
    record.write_text(f"{whole}\n{whole[:20]}")
    assert len(traffic.read()) == 1
    record.write_text(f"{whole}\n{whole}\n")
    assert len(traffic.read()) == 2
    assert len(traffic.read()) == 2


def test_the_gateways_count_only_clients(tmp_path: Path) -> None:
    """Probes come from another address and are nobody's refusals."""
    log = tmp_path / "access.log"
    lines = [
        {"remote_addr": "127.0.0.11", "status": 401},
        {"remote_addr": "127.0.0.11", "status": 200},
        {"remote_addr": "127.0.0.12", "status": 403},
        {"remote_addr": "127.0.0.1", "status": 401},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert refused_in_logs([log, log], ["127.0.0.11", "127.0.0.12"]) == {"127.0.0.11": 2, "127.0.0.12": 2}


def test_phases_are_the_changes_of_phase() -> None:
    """Holds and commands stand in the trail, and are no phases."""
    trail = [
        {"kind": "started", "phase": "introduce", "at": "t0", "reason": "started"},
        {"kind": "hold", "phase": "introduce", "at": "t1", "reason": "obstacle"},
        {"kind": "command", "phase": "introduce", "at": "t2", "reason": "pause"},
        {"kind": "transition", "phase": "overlap", "at": "t3", "reason": "accepted_everywhere"},
    ]
    assert [(one.phase, one.entered_at) for one in phases_of(trail)] == [("introduce", "t0"), ("overlap", "t3")]


@pytest.mark.parametrize(
    ("phase", "hold", "halted", "outcome"),
    [
        ("completed", "", False, "completed"),
        ("rolled_back", "", False, "rolled_back"),
        ("monitor", "", False, "monitoring"),
        ("monitor", "too_many_retreats", False, "held"),
        ("destroy", "effect_failed", True, "halted"),
        ("retire", "", False, "retire"),
        ("", "", False, "not started"),
    ],
)
def test_the_outcome(phase: str, hold: str, halted: bool, outcome: str) -> None:
    """How the rotation stands, in one word."""
    assert outcome_of(phase, hold=hold, halted=halted) == outcome


def test_rows_say_what_did_not_hold() -> None:
    """A line for each thing that did not hold, and none for what did."""
    good = tally([request() for _ in range(500)], old_kid="old1")
    assert traffic_rows(good, refused_per_log=0) == []
    assert unnoticed_rows(good) == []
    bad = tally([request(401), request(502)], old_kid="old1")
    assert len(traffic_rows(bad, refused_per_log=0)) == 2
    assert unnoticed_rows(bad) == ["1 requests were refused (old 1, new 0)", "1 requests failed"]


def test_the_report_has_every_key() -> None:
    """What the report always says, and what a scenario adds."""
    report = Report(
        scenario="crash",
        backend="aws",
        outcome="completed",
        tally=tally([request(), request(401, kid="new1")], old_kid="old1"),
        phases=[entry("introduce", 0)],
        old_proven_dead=True,
        seconds=12.345,
        further={"kills": 21, "orphans": []},
    )
    assert report.as_json() == {
        "scenario": "crash",
        "backend": "aws",
        "outcome": "completed",
        "requests": 2,
        "refused": 1,
        "errors": 0,
        "refused_by_version": {"old": 0, "new": 1},
        "phases": [{"phase": "introduce", "entered_at": "2026-03-01T12:00:00+00:00", "reason": "because"}],
        "old_proven_dead": True,
        "seconds": 12.3,
        "kills": 21,
        "orphans": [],
        "did_not_hold": [],
    }


def part(name: str, *broken: str, outcome: str = "rolled_back") -> Report:
    return Report(
        scenario=name,
        backend="aws",
        outcome=outcome,
        tally=tally([request()], old_kid="old1"),
        phases=[],
        old_proven_dead=False,
        seconds=10.0,
        further={"new_proven_dead": True},
        broken=broken,
    )


def test_parts_are_reported_each() -> None:
    """A scenario in parts has each part's report below the first one's; what one part broke, the whole did."""
    parts = [part("first"), part("second", "too late", outcome="completed")]
    whole = Report.of_parts("spike", parts)
    told = whole.as_json()
    assert (told["scenario"], told["outcome"], told["new_proven_dead"]) == ("spike", "rolled_back", True)
    assert told["parts"] == [one.as_json() for one in parts]
    assert told["seconds"] == 20.0
    assert told["did_not_hold"] == ["second: too late"]


def test_one_part_is_the_whole() -> None:
    """A scenario in one part has no parts below it."""
    alone = part("happy")
    assert Report.of_parts("happy", [alone]) is alone


def test_the_first_refusal_comes_after_the_last_service() -> None:
    """A node that refuses, and then serves once more, has not refused for good; held connections count for themselves."""
    seen = [
        request(200, epoch=1),
        request(401, epoch=2),
        request(200, epoch=3, held=True),
        request(401, epoch=4, held=True),
        request(0, epoch=4.5, held=True, error="ConnectionResetError"),
        request(401, epoch=5, node="gateway-2"),
        request(200, epoch=6, node="gateway-2"),
        request(401, epoch=7, node="gateway-2"),
        request(401, epoch=8, node="gateway-2", held=True),
        request(200, epoch=9, node="gateway-2", held=True),
    ]
    assert first_refusals(reversed(seen)) == {
        ("gateway-1", False): 2,
        ("gateway-1", True): 4,
        ("gateway-2", False): 7,
    }


def test_a_run_that_never_began_does_not_hold() -> None:
    """When a part does not come up, that is one line and no success."""
    report = Report.of_failure(scenario="happy", backend="vault", why="OpenBao answered: not within 30 s")
    assert list(report.broken) == ["OpenBao answered: not within 30 s"]
    assert report.old_proven_dead is False


def test_outages_are_counted_once() -> None:
    """A kill during start-up prolongs the outage that is under way; what lies outside the span does not count."""
    start, end = NOON, NOON + timedelta(seconds=60)
    assert outage_seconds([], start, end) == 0
    assert outage_seconds([kill(10, 13), kill(20, 22)], start, end) == 5
    assert outage_seconds([kill(10, 15), kill(12, 15)], start, end) == 5
    assert outage_seconds([kill(-5, 2), kill(58, 70), kill(90, 95)], start, end) == 4
    assert outage_seconds([kill(50, None)], start, end) == 10


def test_a_dwell_that_started_over_is_found_out() -> None:
    """A phase may take its dwell and the outages in it; a dwell that began anew after a kill takes longer."""
    timing = Timing(minimum_overlap=20.0)
    kills = [kill(18, 21)]
    assert dwell_rows([entry("overlap", 0), entry("monitor", 24)], kills, timing) == []
    (line,) = dwell_rows([entry("overlap", 0), entry("monitor", 43)], kills, timing)
    assert line == "overlap took 43.0 s, where 30.0 s would have done"
