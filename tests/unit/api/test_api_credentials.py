"""Reads and commands over HTTP, with the runtime behind them on fakes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from tests.unit.api.house import PAYMENTS, House, refusal, started

from keyturn.domain.errors import Transient
from keyturn.testing.fakes import Fault
from keyturn.testing.store_samples import NOW


def test_credential_that_was_never_read_says_so(house: House) -> None:
    """Before the first tick nothing is known; the status is no error and says what is needed."""
    with house.daemon():
        status = house.ask("GET", f"{PAYMENTS}/status").json()
        assert "has not been read yet" in status["headline"]
        assert house.ask("GET", "/v1/credentials").json() == [
            {
                "name": "payments",
                "current": None,
                "phase": None,
                "standing_still": None,
                "trouble": None,
                "compromised": [],
                "due_at": None,
            }
        ]


def test_status_says_first_what_blocks_and_when_it_can_clear(house: House) -> None:
    """The headline of a waiting rotation is a sentence with a time or why there is none."""
    house.furnish()
    with house.daemon() as daemon:
        status = started(house, daemon)
        assert status["headline"].startswith("payments: v1 → v2 in overlap ")
        assert status["verdict"]["meaning"]
        assert {version["serial"]: version["state"] for version in status["versions"]} == {1: "current", 2: "pending"}
        assert [target["serving"] for target in status["seen"]["targets"]] == ["ours"]


def test_rotate_starts_one_and_names_what_it_did(house: House) -> None:
    """Started by whom, on record with the token's name; the list shows it."""
    house.furnish()
    with house.daemon() as daemon:
        status = started(house, daemon)
        assert status["rotation"]["started_by"] == "ada (operator)"
        (line,) = house.ask("GET", "/v1/credentials").json()
        assert (line["current"], line["phase"]) == (1, "overlap")


def test_list_and_scrape_read_no_version_that_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for every few seconds, for years, costs no more with every rotation that there was."""

    def every_version() -> None:
        raise AssertionError("every version of every credential is read")

    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        monkeypatch.setattr(daemon.store, "credentials", every_version)
        daemon.store.set_due("payments", NOW)
        (listed,) = house.ask("GET", "/v1/credentials").json()
        scraped = house.ask("GET", "/metrics").text
        monkeypatch.undo()
    assert (listed["current"], datetime.fromisoformat(listed["due_at"])) == (1, NOW)
    (due,) = [line for line in scraped.splitlines() if line.startswith("keyturn_due_timestamp_seconds{")]
    assert float(due.rpartition(" ")[2]) == NOW.timestamp()


def test_what_is_not_configured_any_more_is_not_measured(house: House) -> None:
    """The store remembers a source and a credential that were taken out of the configuration; no alert waits for them."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        for source in ("other", "pushed"):
            daemon.store.set_blind(source, NOW, "reports nothing")
        daemon.store.set_due("payments", NOW)
        assert {"payments", "other", "pushed"} <= measured(house)

    def without(config: dict[str, Any]) -> None:
        config["credentials"] = {}
        del config["sources"]["other"]

    house.configure(without)
    with house.daemon():
        assert measured(house) & {"payments", "other", "pushed"} == {"pushed"}


def measured(house: House) -> set[str]:
    """What is named in the series of sources and of what is due."""
    scraped = house.ask("GET", "/metrics").text
    return set(re.findall(r'^keyturn_(?:source|due)_\w+\{\w+="([^"]+)"', scraped, flags=re.MULTILINE))


def test_rotation_under_way_is_refused(house: House) -> None:
    """A second start names the first and what to do, also as a dry run."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        for body in ({}, {"dry_run": True}):
            assert "a rotation of payments is under way already" in refusal(house, "rotate", dict(body))


def test_dry_run_changes_nothing(house: House) -> None:
    """Every command can say first what it would do."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        answer = house.ask("POST", f"{PAYMENTS}/rotate", body={"dry_run": True}).json()
        assert answer == {
            "said": "payments: a rotation from v1 to v2 would start",
            "dry_run": True,
            "rotation": None,
        }
        assert daemon.store.live() == []
        before = started(house, daemon)["rotation"]["revision"]
        for what in ("rollback", "pause"):
            said = house.ask("POST", f"{PAYMENTS}/{what}", body={"dry_run": True}).json()["said"]
            assert "would be" in said
        assert house.ask("GET", f"{PAYMENTS}/status").json()["rotation"]["revision"] == before


def test_a_dry_run_of_a_credential_that_was_not_read_yet_writes_nothing(house: House) -> None:
    """It says what would be taken into care, and neither it nor a rotation is remembered."""
    house.furnish()
    with house.daemon() as daemon:
        for what, body in (("rotate", {}), ("emergency", {"reason": "in a log"})):
            answer = house.ask("POST", f"{PAYMENTS}/{what}", body={**body, "dry_run": True})
            assert answer.status_code == 200, answer.text
            assert "a rotation to v2 would start" in answer.json()["said"]
            assert daemon.store.credential("payments") is None


@pytest.mark.parametrize("what", ["rotate", "emergency"])
@pytest.mark.parametrize("why", ["restored", "two values"])
def test_a_dry_run_is_refused_as_the_command_is(house: House, what: str, why: str) -> None:
    """A credential whose store was restored, and one that cannot be taken into care: the dry run answers what the command
    would."""
    house.furnish()
    body: dict[str, object] = {"reason": "test"}
    if why == "two values":
        second = {"backend": "bao", "name": "second", "path": "second"}
        house.configure(lambda config: config["credentials"]["payments"]["targets"].append(second))
        house.backend.place("second").overwrite(house.authority.new_key("second").value.reveal())
    with house.daemon() as daemon:
        if why == "restored":
            daemon.tick()
            daemon.store.restored(NOW)
        dry = house.ask("POST", f"{PAYMENTS}/{what}", body={**body, "dry_run": True})
        real = house.ask("POST", f"{PAYMENTS}/{what}", body=body)
        assert (dry.status_code, dry.json()["detail"]) == (real.status_code, real.json()["detail"])
        assert real.status_code != 200


def test_a_dry_run_of_a_confirmation_looks_at_the_code(house: House) -> None:
    """A code that stands for another world is refused, and the right one is not: nothing is confirmed by either."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        daemon.store.restored(NOW)
        code = house.ask("POST", f"{PAYMENTS}/adopt", body={}).json()["code"]
        assert "is not as it was when 0123456789" in refusal(house, "adopt", {"confirm": "0123456789", "dry_run": True})
        answer = house.ask("POST", f"{PAYMENTS}/adopt", body={"confirm": code, "dry_run": True})
        assert answer.status_code == 200, answer.text
        assert list(daemon.store.unconfirmed()) == ["payments"]


@pytest.mark.parametrize("what", ["rotate", "rollback"])
def test_version_that_is_not_what_the_caller_believes(house: House, what: str) -> None:
    """`expect_version` is compared before anything happens."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        if what == "rollback":
            started(house, daemon)
        detail = refusal(house, what, {"expect_version": 7})
        assert "v1, not v7: look at `keyturn status payments`" in detail
        assert house.ask("POST", f"{PAYMENTS}/{what}", body={"expect_version": 1}).status_code == 200


def test_force_names_its_version_and_its_reason(house: House) -> None:
    """Both are required, and force is refused where nothing waits for silence."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        assert refusal(house, "force", {"version": 1}, 422).startswith("reason: ")
        assert refusal(house, "force", {"reason": "x"}, 422).startswith("version: ")
        assert "waits for no silence" in refusal(house, "force", {"version": 1, "reason": "x"})


def test_pause_and_resume(house: House) -> None:
    """A pause stops the rotation until it is resumed; both are on record with who asked."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        answer = house.ask("POST", f"{PAYMENTS}/pause", body={"lasting": "30m", "by": "ada", "reason": "freeze"})
        assert "is to be paused in overlap until" in answer.json()["said"]
        daemon.tick()
        status = house.ask("GET", f"{PAYMENTS}/status").json()
        assert status["rotation"]["pause"]["by"] == "ada (operator)"
        assert "`keyturn resume payments` ends it" in status["headline"]
        assert "is paused already" in refusal(house, "pause", {})
        assert house.ask("POST", f"{PAYMENTS}/resume").json()["said"] == "payments: goes on in overlap"
        assert "is not paused" in refusal(house, "resume", {})
        commands = [line for line in house.ask("GET", f"{PAYMENTS}/history").json() if line["kind"] == "command"]
        assert [line["reason"].rstrip(":") for line in commands] == ["pause", "resume"]


def test_rollback_brings_the_old_version_back(house: House) -> None:
    """The command and what follows it, end to end on fakes."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        said = house.ask("POST", f"{PAYMENTS}/rollback", body={"reason": "looks bad"}).json()["said"]
        assert said.startswith("payments: v1 is to be what readers get again")
        daemon.tick()
        assert house.ask("GET", f"{PAYMENTS}/status").json()["rotation"]["phase"] == "rollback"
        assert "is rolling back already" in refusal(house, "rollback", {})


@pytest.mark.parametrize("what", ["rollback", "resume", "pause"])
def test_command_without_a_rotation_is_refused(house: House, what: str) -> None:
    """There is nothing to command; the message says how one starts."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert "`keyturn rotate payments` starts one" in refusal(house, what, {})


def test_name_that_does_not_exist(house: House) -> None:
    """404 for every route with a name, and the names that there are."""
    with house.daemon():
        asked = [("GET", "status"), ("GET", "history")]
        asked += [("POST", what) for what in ("rotate", "rollback", "pause", "resume")]
        for method, what in asked:
            answer = house.ask(method, f"/v1/credentials/paymens/{what}")
            assert answer.status_code == 404, what
            assert answer.json()["detail"] == "no credential is called 'paymens'; configured are: payments"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"resaon": "x"}, "resaon: "),
        ({"dry_run": "perhaps"}, "dry_run: "),
        ({"reason": ""}, "reason: "),
        ({"reason": "a\nb"}, "reason: "),
        ({"reason": "x" * 1001}, "reason: "),
        ({"expect_version": "one"}, "expect_version: "),
    ],
)
def test_malformed_body_is_one_line(house: House, body: dict[str, object], said: str) -> None:
    """Unknown keys and wrong types name the key, and nothing is done."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert refusal(house, "rotate", body, 422).startswith(said)
        assert daemon.store.live() == []


def test_body_that_is_no_json(house: House) -> None:
    """A broken body is a problem document too."""
    with house.daemon():
        answer = house.ask("POST", f"{PAYMENTS}/rotate", data=b"{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_body_that_is_too_long(house: House) -> None:
    """Refused before it is read, or as soon as it has grown too long, token or not."""
    with house.daemon():
        path = f"{PAYMENTS}/rotate"
        for token in (None, "operator"):
            answer = house.ask("POST", path, token=token, data=b"x" * 70_000)
            assert answer.status_code == 413
            assert answer.json()["detail"] == "the body is longer than 65536 bytes: send it in parts"
            endless = (b"x" * 1024 for _ in range(100))
            headers = {"Content-Type": "application/json"}
            assert house.ask("POST", path, token=token, data=endless, headers=headers).status_code == 413


def test_backend_that_is_down_is_no_crash(house: House) -> None:
    """A start that needs the backend is answered 503 with the reason, and can be tried again."""
    house.furnish()
    with house.daemon() as daemon:
        house.backend.faults.inject(Fault.LOST_REQUEST, "read", times=2)
        daemon.tick()
        answer = house.ask("POST", f"{PAYMENTS}/rotate")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "no answer" in answer.json()["detail"]
        assert house.ask("POST", f"{PAYMENTS}/rotate").status_code == 200


def test_unknown_path_and_method(house: House) -> None:
    """Also what is not there answers in the same form, and points to the description."""
    with house.daemon():
        answer = house.ask("GET", "/v2/credentials")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
        answer = house.ask("DELETE", "/v1/credentials")
        assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
        assert answer.headers["Allow"] == "GET"


def test_defect_is_answered_with_a_cause_and_logged_without_values(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception is a 500 whose cause the log has by id, type and place; what it says is nowhere."""

    def broken() -> None:
        raise LookupError("hunter2")

    with house.daemon() as daemon:
        monkeypatch.setattr(daemon.store, "live", broken)
        answer = house.ask("GET", "/v1/credentials")
        monkeypatch.undo()
    assert answer.status_code == 500
    cause = answer.json()["detail"].rsplit(" ", 1)[1]
    captured = capfd.readouterr()
    logged = captured.out + captured.err
    assert cause in logged
    assert "builtins.LookupError" in logged
    assert "in broken" in logged
    assert "hunter2" not in logged + answer.text


def test_readiness_follows_the_store(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live while the process answers; ready only while it can do its work."""

    def unreachable() -> None:
        raise Transient("the database does not answer")

    with house.daemon() as daemon:
        assert house.ask("GET", "/readyz", token=None).status_code == 200
        monkeypatch.setattr(daemon.store, "sources", unreachable)
        answer = house.ask("GET", "/readyz", token=None)
        assert (answer.status_code, house.ask("GET", "/livez", token=None).status_code) == (503, 200)
        assert "the database does not answer" in answer.json()["detail"]
        metrics = house.ask("GET", "/metrics").text
        assert "keyturn_store_up 0.0" in metrics
        monkeypatch.undo()


def test_metrics_follow_the_rotation(house: House) -> None:
    """Prometheus sees ticks, phases and standstills."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        metrics = house.ask("GET", "/metrics", token="viewer").text
        assert 'keyturn_rotations{phase="overlap"} 1.0' in metrics
        assert 'keyturn_failed_ticks_total{kind="defect"} 0.0' in metrics
        assert "keyturn_ticks_total 6.0" in metrics
