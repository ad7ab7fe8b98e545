"""What the API says of a credential that nothing can be done for: what keeps it, and no less of the others."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from tests.unit.api.house import PAYMENTS, House, refusal, started, ticks

from keyturn.testing.fakes import Fault


def headline(house: House) -> str:
    said: str = house.ask("GET", f"{PAYMENTS}/status").json()["headline"]
    return said


def troubles(house: House) -> dict[str, str | None]:
    return {line["name"]: line["trouble"] for line in house.ask("GET", "/v1/credentials").json()}


def damage(house: House) -> None:
    """Every rotation's record loses its end."""
    with sqlite3.connect(house.state / "keyturn.db") as connection:
        connection.execute("UPDATE rotations SET document = substr(document, 1, 100)")
    connection.close()


def test_status_says_first_why_no_tick_can_work_on_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was ruled before is told as what it is; once a tick works again, nothing is said of what was."""

    def broken(*_: object) -> Any:
        raise LookupError("hunter2")

    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        monkeypatch.setattr("keyturn.runtime.step.decide", broken)
        ticks(daemon, 3)
        why = "nothing can be done for it, 3 ticks in a row: a defect (builtins.LookupError at "
        assert headline(house).startswith(f"payments: {why}")
        assert "report it; as it was seen last: v1 → v2 in overlap" in headline(house)
        assert "hunter2" not in headline(house)
        assert str(troubles(house)["payments"]).startswith(why)
        monkeypatch.undo()
        daemon.tick()
        assert headline(house).startswith("payments: v1 → v2 in overlap ")
        assert troubles(house) == {"payments": None}


def test_credential_that_cannot_be_taken_into_care_says_why(house: House) -> None:
    """A target that may not be read is told by the status, and not only by the log."""
    house.furnish()
    with house.daemon() as daemon:
        house.backend.faults.inject(Fault.DENIED, times=None)
        ticks(daemon, 2)
        assert "has not been read yet: nothing can be done for it, 2 ticks in a row: " in headline(house)
        assert "not permitted" in headline(house)


@pytest.mark.parametrize(("what", "body"), [("rotate", {}), ("emergency", {"reason": "leaked"}), ("adopt", {})])
def test_place_that_refuses_is_no_defect(house: House, what: str, body: dict[str, object]) -> None:
    """The backend denies: the answer says so, and not that something went wrong in keyturn."""
    house.furnish()
    with house.daemon():
        house.backend.faults.inject(Fault.DENIED, times=None)
        said = refusal(house, what, body, 502)
        assert "not permitted" in said
        assert "cause" not in said


def test_record_that_cannot_be_read_costs_its_own_line_alone(house: House) -> None:
    """The list, the status and the metrics name it, and tell of the others as before."""
    house.furnish()
    other = {"issuer": "gateway", "targets": [{"backend": "bao", "path": "other"}], "sources": ["pushed"]}
    house.configure(lambda config: config["credentials"].update(other=other))
    house.backend.place("other").overwrite(house.authority.new_key("other").value.reveal())
    with house.daemon() as daemon:
        started(house, daemon)
        damage(house)
        assert house.ask("POST", "/v1/credentials/other/rotate").status_code == 200
        known = troubles(house)
        assert "is not JSON: restore the store from a backup" in str(known["payments"])
        assert known["other"] is None
        said = headline(house)
        assert said.startswith("payments: nothing can be done for it: rotation payments-")
        metrics = house.ask("GET", "/metrics").text
        assert "keyturn_store_up 1.0" in metrics
        assert 'keyturn_rotations{phase="introduce"} 1.0' in metrics
        assert 'keyturn_rotation_stands_still{credential="payments",reason="unreadable"} 1.0' in metrics
        ticks(daemon, 2)
        assert str(troubles(house)["payments"]).startswith("nothing can be done for it, 2 ticks in a row: rotation ")


@pytest.mark.parametrize("lasting", ["0s", "999999999d"])
def test_pause_has_a_length(house: House, lasting: str) -> None:
    """Neither nothing, which would be taken for something, nor past the end of the calendar."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        assert refusal(house, "pause", {"lasting": lasting}, 422).startswith("lasting: ")
