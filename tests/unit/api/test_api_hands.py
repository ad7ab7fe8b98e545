"""What an operator says to another's hand, over HTTP, with the runtime behind it on fakes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.api.house import PAYMENTS, House, refusal, started, ticks

from keyturn.app.daemon import Daemon
from keyturn.runtime.values import copy_token
from keyturn.testing.fakes.places import KvPlace


@pytest.fixture
def daemon(house: House) -> Iterator[Daemon]:
    """A daemon with a rotation in OVERLAP, at whose one target somebody has put a value of their own."""
    house.furnish()
    with house.daemon() as daemon:
        started(house, daemon)
        house.backend.place("payments").overwrite("somebody's own")
        ticks(daemon, 2)
        yield daemon


def found(house: House) -> str:
    """The id under which readers get somebody's value."""
    (target,) = house.ask("GET", f"{PAYMENTS}/status").json()["seen"]["targets"]
    assert target["serving"] == "foreign"
    given: str = target["id"]
    return given


def said(house: House, what: str, **body: object) -> str:
    answer = house.ask("POST", f"{PAYMENTS}/{what}", body={"reason": "INC-7", **body})
    assert answer.status_code == 200, answer.text
    words: str = answer.json()["said"]
    return words


def test_status_names_the_commands_that_end_the_hold(house: House, daemon: Daemon) -> None:
    """Also after the first tick, when the hold is latched: with the target and the id that they need."""
    headline = house.ask("GET", f"{PAYMENTS}/status").json()["headline"]
    there = f"--target bao --found {found(house)} --reason TEXT`"
    assert f"`keyturn reassert payments {there} gives its readers v1" in headline
    assert f"`keyturn accept payments {there} adopts what is there" in headline


def test_reassert_gives_readers_ours_again(house: House, daemon: Daemon) -> None:
    """What was there is overwritten, and the rotation goes on."""
    assert "readers of bao will get what overlap calls for" in said(house, "reassert", target="bao", found=found(house))
    ticks(daemon, 3)
    status = house.ask("GET", f"{PAYMENTS}/status").json()
    assert (status["seen"]["targets"][0]["serving"], status["rotation"]["hold"]) == ("ours", None)
    assert house.backend.place("payments").readers_get() != "somebody's own"


def test_reassert_where_nothing_is_left(house: House, daemon: Daemon) -> None:
    """The empty id names nothing; the status says so, quoted as a shell wants it."""
    place = house.backend.place("payments")
    assert isinstance(place, KvPlace)
    place.delete()
    daemon.tick()
    headline = house.ask("GET", f"{PAYMENTS}/status").json()["headline"]
    assert "`keyturn reassert payments --target bao --found '' --reason TEXT`" in headline
    assert "keyturn accept" not in headline
    said(house, "reassert", target="bao", found="")
    ticks(daemon, 3)
    assert house.ask("GET", f"{PAYMENTS}/status").json()["seen"]["targets"][0]["serving"] == "ours"


def test_accept_ends_in_a_rotation_that_adopts_it(house: House, daemon: Daemon) -> None:
    """The rotation gives way, and the one that takes over says what it adopts and from whom it took over."""
    before = house.ask("GET", f"{PAYMENTS}/status").json()["rotation"]["id"]
    theirs = found(house)
    assert "will give way to one that adopts" in said(house, "accept", target="bao", found=theirs)
    daemon.tick()
    status = house.ask("GET", f"{PAYMENTS}/status").json()
    assert (status["rotation"]["supersedes"], status["rotation"]["adopting"]) == (before, theirs)
    assert f"{before} gave way to {status['rotation']['id']}: " in status["headline"]


@pytest.mark.parametrize("what", ["accept", "reassert"])
def test_id_or_target_that_is_not_meant(house: House, daemon: Daemon, what: str) -> None:
    """Nothing is overwritten or adopted that the operator has not seen, and a wrong target names those that there are."""
    body: dict[str, object] = {"target": "bao", "found": "99", "reason": "x"}
    assert f"readers of bao get {found(house)} now, not 99: look again" in refusal(house, what, body)
    body = {"target": "vault", "found": found(house), "reason": "x"}
    assert "payments has no target 'vault'; it has bao" in refusal(house, what, body)
    assert refusal(house, what, {"target": "bao", "found": "3"}, 422).startswith("reason: ")


def test_our_own_version_is_neither_reasserted_nor_accepted(house: House, daemon: Daemon) -> None:
    """Where readers get what they should there is nothing to do."""
    said(house, "reassert", target="bao", found=found(house))
    ticks(daemon, 3)
    (target,) = house.ask("GET", f"{PAYMENTS}/status").json()["seen"]["targets"]
    body: dict[str, object] = {"target": "bao", "found": target["id"], "reason": "x"}
    assert "there is nothing to reassert" in refusal(house, "reassert", body)
    assert "which cannot be adopted" in refusal(house, "accept", body)


def test_lost_value_is_accepted_by_its_version(house: House, daemon: Daemon) -> None:
    """Refused while the value is there; once it is gone the status names the command, which lets the rotation go on."""
    said(house, "reassert", target="bao", found=found(house))
    ticks(daemon, 3)
    assert "nothing is lost" in refusal(house, "accept-lost", {"version": 1, "reason": "x"})
    assert "leaves behind" in refusal(house, "accept-lost", {"version": 7, "reason": "x"})
    (live,) = daemon.store.live()
    house.backend.place("payments").remove(copy_token(live, 1), ())
    daemon.tick()
    status = house.ask("GET", f"{PAYMENTS}/status").json()
    assert "`keyturn accept payments --lost 1 --reason TEXT`" in status["headline"], status["headline"]
    before = daemon.store.live()
    assert "would go on in overlap without the value of v1" in said(house, "accept-lost", version=1, dry_run=True)
    assert daemon.store.live() == before
    said(house, "accept-lost", version=1)
    daemon.tick()
    rotation = house.ask("GET", f"{PAYMENTS}/status").json()["rotation"]
    assert (rotation["waived"], rotation["hold"]) == ({"1": "operator: INC-7"}, None)


def test_abandon_gives_up_a_rollback(house: House, daemon: Daemon) -> None:
    """Refused while the rotation can still go back; a rollback that is given up is taken over."""
    assert "use `keyturn rollback payments`" in refusal(house, "abandon", {"reason": "x"})
    house.ask("POST", f"{PAYMENTS}/rollback")
    daemon.tick()
    before = daemon.store.live()
    assert "would give way" in said(house, "abandon", dry_run=True)
    assert daemon.store.live() == before
    assert "will give way to a rotation that takes over" in said(house, "abandon")
    daemon.tick()
    (live,) = daemon.store.live()
    assert live.supersedes == before[0].id


@pytest.mark.parametrize("what", ["accept", "reassert"])
def test_dry_run_changes_nothing(house: House, daemon: Daemon, what: str) -> None:
    """It says what would happen to which id, and leaves the rotation and the target alone."""
    before = daemon.store.live()
    assert " would " in said(house, what, target="bao", found=found(house), dry_run=True)
    assert daemon.store.live() == before


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("accept", {"target": "bao", "found": "3"}),
        ("accept-lost", {"version": 1}),
        ("reassert", {"target": "bao", "found": ""}),
        ("abandon", {}),
    ],
)
def test_command_without_a_rotation(house: House, what: str, body: dict[str, object]) -> None:
    """There is nothing to command; the message says how one starts."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert "`keyturn rotate payments` starts one" in refusal(house, what, {**body, "reason": "x"})
