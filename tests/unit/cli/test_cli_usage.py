"""`keyturn usage`, `keyturn ack` and `keyturn dismiss` against a real daemon."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.api.house import House
from tests.unit.cli.terminal import Terminal, overlapping

from keyturn.app.daemon import Daemon
from keyturn.cli import usage
from keyturn.domain.model import Version, VersionState
from keyturn.ports.records import Acknowledgement, Told, UsageRow
from keyturn.runtime.usage_report import usage_report

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def report(daemon: Daemon, serial: int, client: str, *, ago: int, **counts: Any) -> dict[str, Any]:
    """A line that a source pushes."""
    credential = daemon.store.credential("payments")
    assert credential is not None
    given = {"successes": 0, "failures": 0, "matched": True, "identified": False, **counts}
    start = (NOW - timedelta(seconds=ago)).isoformat()
    return {"key_id": credential.versions[serial].key_id, "client": client, "start": start, **given}


@pytest.fixture
def used(house: House, terminal: Terminal, daemon: Daemon) -> Daemon:
    """A rotation in OVERLAP with some use of both versions."""
    overlapping(terminal, daemon)
    lines = [
        report(daemon, 1, "checkout", ago=600, successes=600),
        report(daemon, 1, "checkout", ago=300, successes=30),
        report(daemon, 2, "checkout", ago=300, successes=90, failures=10),
        report(daemon, 2, "stranger", ago=240, successes=7),
        report(daemon, 1, "unmapped", ago=100, successes=1),
        report(daemon, 2, "unmapped", ago=100, failures=50, matched=False),
    ]
    assert house.push(*lines).status_code == 200
    assert house.push({"watermark": NOW.isoformat()}).status_code == 200
    daemon.tick()
    return daemon


def rows(terminal: Terminal) -> list[list[str]]:
    return [line.split() for line in terminal.out.splitlines()]


def test_usage_shows_each_client_and_version(terminal: Terminal, used: Daemon) -> None:
    """Last use, rate, failures, how long it is silent and must be, and which source says so."""
    assert terminal("usage", "payments") == 0
    assert "\x1b" not in terminal.out
    last = f"{NOW - timedelta(seconds=299):%Y-%m-%d %H:%M:%SZ}".split()
    found = [row for row in rows(terminal) if row[:2] == ["checkout", "v2"]]
    assert found, terminal.out
    assert found[0][2:] == ["pending", *last, "1.7", "90", "10", *found[0][8:]]
    assert found[0][-2:] == ["pushed", "-"]
    old = next(row for row in rows(terminal) if row[:2] == ["checkout", "v1"])
    assert old[4:7] == ["10.5", "630", "0"]
    source = next(row for row in rows(terminal) if row[:2] == ["pushed", "authentication"])
    assert source[2:] == [*f"{NOW:%Y-%m-%d %H:%M:%SZ}".split(), "0", "-"]


def test_what_should_be_looked_at_comes_first(terminal: Terminal, used: Daemon) -> None:
    """Unknown clients and refused presentations that prove nothing stand at the top, each in words."""
    assert terminal("usage", "payments") == 0
    first = [line for line in terminal.out.splitlines() if line.startswith("! ")]
    assert terminal.out.startswith("! ")
    assert any("stranger: is not among the declared clients" in line for line in first)
    assert any("unmapped: uses that no rule" in line for line in first)
    assert any("50 refused presentations of v2's key id prove nothing" in line for line in first)
    assert len(first) == 3


def test_use_of_a_retired_version_stands_out(house: House, terminal: Terminal, used: Daemon) -> None:
    """Refused after it was taken away, and named with its client; a success long before is no such thing."""
    rotation = used.store.live_of("payments")
    assert rotation is not None
    assert not any("which is" in line for line in standouts(terminal))
    credential = used.store.credential("payments")
    assert credential is not None
    assert credential.versions[1].state is not VersionState.DESTROYED
    house.ask("POST", "/v1/credentials/payments/emergency", body={"version": 1, "reason": "leaked", "cut_now": True})
    for _ in range(8):
        used.tick()
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    line = report(used, 1, "checkout", ago=0, failures=3) | {"start": later.isoformat()}
    assert house.push(line).status_code == 200
    assert any(line.startswith("! payments: checkout: last used v1, which is d") for line in standouts(terminal))


def test_success_with_a_version_retired_long_ago_stands_out(used: Daemon) -> None:
    """One that an earlier rotation destroyed and somebody lets in again: that is worse than a refusal."""
    status = used.runtime.status("payments")
    versions = {**status.credential.versions, 9: Version(serial=9, state=VersionState.DESTROYED)}
    status = replace(status, credential=replace(status.credential, versions=versions))
    assert status.rotation is not None
    for start, stands_out in ((status.rotation.started_at - HOUR, False), (status.rotation.started_at + HOUR, True)):
        row = UsageRow("payments", 9, "checkout", start, timedelta(seconds=1), 1, 0, 0)
        used.store.add_usage([Told(source="pushed", rows=[row], watermark=None)], received_at=start)
        report = usage_report(used.store, used.registry, status, now=start + HOUR, window=HOUR)
        assert any("checkout: last used v9, which is destroyed" in line for line in report.stands_out) is stands_out


def standouts(terminal: Terminal) -> list[str]:
    assert terminal("usage", "payments") == 0
    return [line for line in terminal.out.splitlines() if line.startswith("! ")]


def test_blind_source_stands_out(terminal: Terminal, used: Daemon) -> None:
    """With since when, and the mend."""
    used.store.set_blind("pushed", NOW, "reports nothing: see that it runs")
    assert any("source pushed is blind since" in line and "see that it runs" in line for line in standouts(terminal))


def test_crossover_in_a_pipe_is_plain(terminal: Terminal, used: Daemon) -> None:
    """A line a step, the oldest first, with a bar of the versions' shares; steps without use are left out."""
    assert terminal("usage", "payments") == 0
    header = next(number for number, row in enumerate(rows(terminal)) if row[:1] == ["UTC"])
    assert rows(terminal)[header] == ["UTC", "v1", "v2"]
    steps = [row for row in rows(terminal)[header + 1 :] if row]
    shown = steps[: next(n for n, row in enumerate(steps) if row == ["Clients"])]
    assert [(int(row[2]), int(row[3])) for row in shown] == [(600, 0), (30, 100), (0, 7), (1, 0)]
    assert [row[4] for row in shown] == ["-" * 40, "-" * 9 + "#" * 31, "#" * 40, "-" * 40]


def test_crossover_in_a_terminal_is_drawn() -> None:
    """Columns whose height is the number of uses, the new version at the foot in its own colour."""
    drawn = usage._columns({1: [8, 4, 0], 2: [0, 4, 8]}, NOW, timedelta(minutes=1))
    lines = drawn.plain.splitlines()[2 : 2 + usage.HEIGHT]
    assert lines == ["███"] * usage.HEIGHT
    colours = [[style for _, _, style in drawn.spans][index] for index in range(len(drawn.spans))]
    assert "yellow" in colours
    assert "green" in colours
    assert drawn.plain.splitlines()[-1].split() == ["█", "v1", "█", "v2"]


def test_usage_as_json(terminal: Terminal, used: Daemon) -> None:
    """One document, as the API gives it."""
    assert terminal("usage", "payments", "--json", "--minutes", "30") == 0
    document = json.loads(terminal.out)
    clients = {client["client"]: client for client in document["clients"]}
    assert set(clients) == {"checkout", "stranger", "unmapped"}
    assert clients["checkout"]["declared"] is True
    # Two uses five minutes apart: three times the gap (EVIDENCE.md §3).
    assert clients["checkout"]["required_silence_seconds"] == 900
    (old, new) = clients["checkout"]["versions"]
    # The promote came after the uses: silence counts from it on, up to the watermark.
    assert 0 <= old["silent_for_seconds"] < 60
    assert (new["successes"], new["failures"], new["told_by"]) == (90, 10, ["pushed"])
    assert document["window_seconds"] == 1800
    assert document["unauthenticated"][0]["count"] == 50


def test_quiet_credential_has_nothing_that_stands_out(terminal: Terminal, daemon: Daemon) -> None:
    """Before any use is known, the declared clients are listed as never seen."""
    assert terminal("usage", "payments") == 0
    assert terminal.out.splitlines()[0] == "payments: nothing stands out"
    assert next(row for row in rows(terminal) if row[:1] == ["checkout"])[:3] == ["checkout", "-", "never"]


def test_dismissed_client_is_not_awaited(terminal: Terminal, used: Daemon) -> None:
    """It is on record with who and why; a dry run changes nothing."""
    assert terminal("dismiss", "payments", "stranger", "--reason", "scaled down", "--dry-run") == 0
    assert terminal.out.startswith("payments: stranger would count as gone")
    assert not used.store.dismissals("payments")
    assert terminal("dismiss", "payments", "stranger", "--reason", "scaled down") == 0
    assert "counts as gone" in terminal.out
    seen = used.runtime.look("payments").usage.clients
    assert seen["stranger"].dismissed
    assert not seen["checkout"].dismissed
    entry = used.store.history("payments")[-1]
    assert (entry.kind, entry.reason, entry.detail) == ("command", "dismiss", "dismiss stranger: scaled down")
    assert entry.by.endswith("(operator)")
    assert terminal("history", "payments") == 0
    assert "stranger" in terminal.out.splitlines()[-1]


def test_use_after_a_dismissal_proves_it_wrong(house: House, terminal: Terminal, used: Daemon) -> None:
    """The client is awaited again, and stands out."""
    assert terminal("dismiss", "payments", "stranger", "--reason", "scaled down") == 0
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
    line = report(used, 1, "stranger", ago=0, successes=1) | {"start": later.isoformat()}
    assert house.push(line).status_code == 200
    assert not used.runtime.look("payments").usage.clients["stranger"].dismissed
    assert any("stranger: was declared gone by" in line for line in standouts(terminal))


def test_dismissal_of_nobody_is_refused(terminal: Terminal, used: Daemon) -> None:
    """A name that nobody bears is a typing error: the known ones are named."""
    said = terminal.refused("dismiss", "payments", "chekout", "--reason", "gone")
    assert "no client 'chekout'; known are: checkout, stranger, unmapped" in said


def test_dismissal_before_any_rotation_is_refused(terminal: Terminal, daemon: Daemon) -> None:
    """There is nothing yet that could wait for the client."""
    said = terminal.refused("dismiss", "payments", "checkout", "--reason", "gone")
    assert "no rotation of payments has run yet" in said


def test_client_that_has_moved_by_its_owners_word(terminal: Terminal, used: Daemon) -> None:
    """It is on record with who and why, and shown; a dry run changes nothing, and no other client is meant."""
    said = ("ack", "payments", "stranger", "--version", "2", "--reason", "all pods redeployed")
    assert terminal(*said, "--dry-run") == 0
    assert terminal.out.startswith("payments: stranger would count as moved to v2")
    assert not used.store.acknowledgements("payments")
    assert terminal(*said) == 0
    assert "stranger counts as moved to v2; what it leaves must be silent all the same" in terminal.out
    seen = used.runtime.look("payments").usage.clients
    assert seen["stranger"].acknowledged
    assert not seen["checkout"].acknowledged
    entry = used.store.history("payments")[-1]
    assert (entry.kind, entry.reason) == ("command", "acknowledge")
    assert entry.detail == "acknowledge v2 for stranger: all pods redeployed"
    assert entry.by.endswith("(operator)")
    assert terminal("usage", "payments") == 0
    (line,) = [line for line in terminal.out.splitlines() if "moved to v2 by the word of" in line]
    assert line.split()[0] == "stranger"
    assert line.rstrip().endswith(": all pods redeployed")
    used.tick()
    assert terminal("status", "payments") == 0
    assert [row[-1] for row in rows(terminal) if row[:2] == ["stranger", "v2"]] == ["moved"]
    assert {row[-1] for row in rows(terminal) if row[:1] == ["checkout"]} == {"-"}


def test_owners_word_that_every_client_is_known(terminal: Terminal, used: Daemon) -> None:
    """Two of the four uses in the history are a client's only one: somebody else may be out there, until an owner says
    otherwise, of this rotation alone."""
    assert used.runtime.look("payments").usage.unseen == 0.5
    said = ("ack", "payments", "--reason", "one workload")
    assert terminal(*said, "--dry-run") == 0
    assert used.runtime.look("payments").usage.unseen == 0.5
    assert terminal(*said) == 0
    assert "payments: every client counts as known for the rotation to v2" in terminal.out
    assert used.runtime.look("payments").usage.unseen == 0.0
    assert not any(client.acknowledged for client in used.runtime.look("payments").usage.clients.values())
    assert used.store.history("payments")[-1].detail == "acknowledge v2 for those never seen: one workload"


def test_use_of_the_old_version_proves_an_owners_word_wrong(house: House, terminal: Terminal, used: Daemon) -> None:
    """Not of the new one, which is what was said; then the client is awaited again, and stands out."""
    assert terminal("ack", "payments", "stranger", "--reason", "moved") == 0
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
    for serial, still in ((2, True), (1, False)):
        line = report(used, serial, "stranger", ago=0, successes=1) | {"start": later.isoformat()}
        assert house.push(line).status_code == 200
        assert used.runtime.look("payments").usage.clients["stranger"].acknowledged is still
        assert any("stranger: has moved to v2, said" in line for line in standouts(terminal)) is not still


def test_owners_word_is_for_one_version(used: Daemon) -> None:
    """What was said of another rotation's version says nothing of this one's."""
    (entry, *_) = used.store.history("payments")
    for serial, moved in ((1, False), (3, False), (2, True)):
        word = Acknowledgement(client="checkout", serial=serial, at=used.clock.now(), by="ada", why="moved")
        used.store.acknowledge(word, entry)
        assert used.runtime.look("payments").usage.clients["checkout"].acknowledged is moved


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["chekout"], "no client 'chekout'; known are: checkout, stranger, unmapped"),
        (["checkout", "--version", "1"], "brings clients of payments to v2, not to v1"),
        (["checkout", "--version", "7"], "brings clients of payments to v2, not to v7"),
    ],
)
def test_owners_word_on_what_is_not_so_is_refused(terminal: Terminal, used: Daemon, said: list[str], why: str) -> None:
    """A client that nobody knows, or a version that no client is to move to."""
    assert why in terminal.refused("ack", "payments", *said, "--reason", "moved")
    assert not used.store.acknowledgements("payments")


def test_owners_word_where_nobody_waits_is_refused(terminal: Terminal, used: Daemon) -> None:
    """On the way back, and where no rotation is under way."""
    assert terminal("rollback", "payments") == 0
    used.tick()
    assert "is in rollback, where it waits for no client" in terminal.refused(
        "ack", "payments", "checkout", "--reason", "moved"
    )


def test_owners_word_before_any_rotation_is_refused(terminal: Terminal, daemon: Daemon) -> None:
    """There is nothing yet that a client could have moved to."""
    said = terminal.refused("ack", "payments", "checkout", "--reason", "moved")
    assert "no rotation of payments is under way" in said


def test_usage_of_the_unknown_is_refused(terminal: Terminal, daemon: Daemon) -> None:
    """With what there is."""
    assert "configured are: payments" in terminal.refused("usage", "nothing")
