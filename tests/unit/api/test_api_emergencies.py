"""Reports that a version is compromised, over HTTP, with the runtime behind them on fakes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.unit.api.house import PAYMENTS, House, refusal, started


def test_report_starts_a_rotation_away_from_it(house: House) -> None:
    """With none under way one starts, and the first line of the status and every version say so."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        answer = house.ask("POST", f"{PAYMENTS}/emergency", body={"reason": "in a log", "by": "ada"}).json()
        assert answer["said"].startswith(
            "payments: v1 is marked compromised, and disabled 300 s after the last promote"
        )
        assert answer["said"].endswith("a rotation to v2 has started")
        daemon.tick()
        status = house.ask("GET", f"{PAYMENTS}/status").json()
        assert status["headline"].startswith("payments: EMERGENCY: v1 compromised, cut off at ")
        for versions in (status["versions"], status["rotation"]["versions"]):
            old, new = versions
            lasting = datetime.fromisoformat(old["cut_at"]) - datetime.fromisoformat(old["compromised_at"])
            assert lasting == timedelta(minutes=15)
            assert old["reported"] == "ada (operator): in a log"
            assert (new["compromised_at"], new["cut_at"], new["reported"]) == (None, None, None)
        assert [line["compromised"] for line in house.ask("GET", "/v1/credentials").json()] == [[1]]


def test_report_joins_the_rotation_under_way(house: House) -> None:
    """The version is named, since two can be meant; the rotation stays the same one."""
    house.furnish()
    with house.daemon() as daemon:
        before = started(house, daemon)["rotation"]["id"]
        assert "v1, v2: name the one that is compromised with --version" in refusal(
            house, "emergency", {"reason": "in a log"}
        )
        body = {"reason": "in a log", "version": 1, "grace": "1m"}
        answer = house.ask("POST", f"{PAYMENTS}/emergency", body=body).json()
        assert "disabled 60 s after the last promote" in answer["said"]
        assert answer["said"].endswith("the rotation in overlap acts on it at once")
        assert answer["rotation"]["id"] == before
        daemon.tick()
        assert "EMERGENCY: v1 compromised" in house.ask("GET", f"{PAYMENTS}/status").json()["headline"]


def test_cut_now_does_not_wait(house: House) -> None:
    """The version is refused at every verifier after one tick, while readers still get it."""
    key_id = house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        answer = house.ask("POST", f"{PAYMENTS}/emergency", body={"reason": "in a log", "cut_now": True}).json()
        assert "v1 is marked compromised, and disabled at once" in answer["said"]
        daemon.tick()
        assert {node.entries()[key_id] for node in house.authority.nodes.values()} == {"disabled"}
        assert "v1 compromised, cut off since" in house.ask("GET", f"{PAYMENTS}/status").json()["headline"]


@pytest.mark.parametrize("under_way", [False, True])
def test_dry_run_changes_nothing(house: House, under_way: bool) -> None:
    """It says what would be cut when, and no rotation starts or moves."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        if under_way:
            started(house, daemon)
        before = daemon.store.live()
        body = {"reason": "in a log", "version": 1, "dry_run": True}
        answer = house.ask("POST", f"{PAYMENTS}/emergency", body=body).json()
        assert "v1 would be marked compromised" in answer["said"]
        assert answer["dry_run"]
        assert daemon.store.live() == before


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"version": 1}, 422, "reason: "),
        ({"reason": "x", "version": 1, "grace": "soon"}, 422, "grace: "),
        ({"reason": "x", "version": 9}, 409, "concerns v1, v2, not v9"),
        ({"reason": "x", "version": 1, "grace": "1h"}, 409, "grace_cap"),
    ],
)
def test_report_that_cannot_be_meant(house: House, body: dict[str, object], status: int, said: str) -> None:
    """Refused with what is wrong, and nothing is marked."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        assert said in refusal(house, "emergency", body, status)


def test_version_that_readers_do_not_get(house: House) -> None:
    """Between rotations only the current version can be reported; the message names it."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert "readers of payments get v1" in refusal(house, "emergency", {"reason": "x", "version": 7})


def test_force_for_good(house: House) -> None:
    """`final` says that no refused use brings the version back; it is on record, and refused where force is."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        body: dict[str, object] = {"version": 2, "reason": "x", "final": True}
        assert "waits for no silence" in refusal(house, "force", body)
        house.ask("POST", f"{PAYMENTS}/rollback")
        daemon.tick()
        said = house.ask("POST", f"{PAYMENTS}/force", body=body).json()["said"]
        assert said == "payments: v2 is to be disabled on the word of operator; no refused use brings it back"
        live = daemon.store.live_of("payments")
        assert live is not None
        assert live.forced[2].final
