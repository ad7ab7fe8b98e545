"""The usage source `access-log`: what a line means, whose word counts, and keyturn's own presentations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.gateway.reading import SECRET, START, Reader, append, at, line, source

from keyturn.domain.errors import ConfigError, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.probe_mark import make_mark

# What a line means


def test_presentations_are_counted_by_key_client_and_bucket(log: Path) -> None:
    """Buckets are aligned to the epoch, and successes and failures of one key and client are added up in each."""
    append(
        log, line(1), line(2), line(9.9, status=401, matched="kid1:disabled"), line(10), line(3, kid="kid2", matched="")
    )
    reader = Reader(log, clients={"127.0.0.5": "billing"})
    reader.poll(20)
    found = {(r.key_id, r.client, r.start, r.matched): (r.successes, r.failures) for r in reader.reports}
    assert found == {
        ("kid1", "billing", START, True): (2, 1),
        ("kid1", "billing", at(10), True): (1, 0),
        ("kid2", "billing", START, False): (0, 1),
    }


@pytest.mark.parametrize(
    ("changes", "success"),
    [
        ({"status": 200}, True),
        ({"status": 502}, True),
        ({"status": 499}, True),
        ({"status": 401}, False),
        ({"status": 403}, False),
        ({"status": 499, "matched": "kid1:disabled"}, False),
        ({"status": 500, "matched": ""}, False),
    ],
)
def test_success_is_the_authentications(log: Path, changes: dict[str, object], success: bool) -> None:
    """Trouble behind the gateway is no failure of the key, and no accident of the answer makes a refused key accepted."""
    append(log, line(1, **changes))
    (report,) = Reader(log).poll(5)
    assert (report.successes, report.failures) == ((1, 0) if success else (0, 1))


def test_requests_without_a_key_are_no_use(log: Path) -> None:
    """What presents nothing counts for no key; a refusal of it is pooled without one."""
    append(log, line(1, kid="", matched=""), line(2, kid="", matched="", status=401))
    (report,) = Reader(log).poll(5)
    assert (report.key_id, report.failures, report.attributable) == (None, 1, False)


def test_the_verifiers_word_names_the_key(log: Path) -> None:
    """A matched entry names the key, whatever the presented value looks like."""
    append(
        log, line(1, kid="forged", matched="kid9:revoked", status=401), line(1, kid='"; drop', matched="", status=401)
    )
    reports = Reader(log).poll(5)
    assert {report.key_id for report in reports} == {"kid9", None}


def test_clients_are_named_by_what_proves_them(log: Path) -> None:
    """A proven field goes before an address, an address before a claim, and a claim counts only from a key's holder."""
    append(
        log,
        line(1, subject="CN=a", remote_addr="10.0.0.1"),
        line(2, subject="", remote_addr="10.0.0.1"),
        line(3, subject="", remote_addr="::ffff:10.0.7.7"),
        line(4, subject="", remote_addr="8.8.8.8"),
    )
    clients = {"10.0.0.0/16": "cluster", "10.0.0.1": "billing"}
    proven = Reader(log, clients=clients, client={"field": "subject", "identified": True}).poll(9)
    assert {(r.client, r.identified) for r in proven} == {
        ("CN=a", True),
        ("billing", True),
        ("cluster", True),
        ("unmapped", False),
    }
    claims = Path(f"{log}2")
    append(
        claims,
        line(1, agent="x\x00y", remote_addr="8.8.8.8"),
        line(1, agent="liar", remote_addr="10.0.0.1"),
        line(1, agent="liar", remote_addr="8.8.8.8", matched="", status=401),
    )
    claimed = Reader(claims, clients=clients, client={"field": "agent"}).poll(9)
    assert {(r.client, r.identified, r.attributable) for r in claimed} == {
        ("x�y", False, True),
        ("billing", True, True),
        ("unmapped", False, False),
    }


def test_made_up_key_ids_do_not_multiply(log: Path) -> None:
    """Whoever sprays key ids that exist nowhere makes a bounded number of reports, and every refusal still counts."""
    append(log, *(line(1, kid=f"spray{i}", matched="", status=401) for i in range(500)))
    reader = Reader(log)
    assert len(reader.poll(5)) <= 65
    assert reader.uses == 500


def test_malformed_lines_are_skipped(log: Path) -> None:
    """A line that makes no sense does not stop the rest."""
    broken = ["{}\n", "null\n", "[1]\n", '{"epoch": 1e400, "status": 200}\n', line(1)[:30] + line(1), "\n", "ÿ\n"]
    append(log, line(1), *broken, line(2))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 2
    assert json.loads(reader.cursor or "")["files"][str(log)]["malformed"] == len(broken)


def test_no_byte_that_a_client_sends_hides_its_use(log: Path) -> None:
    """Bytes that are no UTF-8, which nginx logs as they came, do not make a line unreadable."""
    with log.open("ab") as file:
        file.write(line(1, kid="", matched="", status=401, agent="@").encode().replace(b"@", b"\xff\xfe\xed\xa0\x80"))
    reader = Reader(log, client={"field": "agent"})
    reader.poll(5)
    assert reader.uses == 1


def test_iso_times_are_understood(log: Path) -> None:
    """The time may be an ISO 8601 text with its offset."""
    append(log, line(1, time="2026-11-21T13:00:07.250+01:00"))
    (report,) = Reader(log, fields={"time": "time"}, resolution="1s").poll(20)
    assert report.start == at(7)


# keyturn's own presentations


def test_our_own_probes_are_left_out(log: Path) -> None:
    """A presentation with a mark of ours is no use, of whatever outcome."""
    append(log, line(1, probe=make_mark(SECRET, "kid1", now=at(0.9))))
    append(log, line(2, probe=make_mark(SECRET, "kid1", now=at(1.9)), status=401, matched=""))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 0


@pytest.mark.parametrize(
    "probe",
    [
        "1",
        "keyturn",
        make_mark(SecretValue("what an attacker guesses"), "kid1", now=at(1)),
        make_mark(SECRET, "other", now=at(1)),
        make_mark(SECRET, "kid1", now=at(-90)),
    ],
)
def test_forged_and_stolen_marks_hide_nothing(log: Path, probe: str) -> None:
    """A made-up mark, one of another key and an old one leave the use counted."""
    append(log, line(1, probe=probe))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 1


def test_a_replayed_mark_hides_nothing(log: Path, tmp_path: Path) -> None:
    """Of all presentations under one mark only one is left out: on any node, also after a restart."""
    mark = make_mark(SECRET, "kid1", now=at(1))
    other = tmp_path / "other.log"
    append(log, line(1, probe=mark))
    append(other, line(1, probe=mark))
    reader = Reader(log, other)
    reader.poll(2)
    assert reader.uses == 1
    append(log, line(3, probe=mark))
    reader.poll(4)
    assert reader.uses == 2


def probed(path: Path, *, until: int, probes: int = 1) -> None:
    """What a node logs of a disabled key that is presented every five seconds by keyturn alone."""
    disabled: dict[str, object] = {"status": 401, "matched": "kid1:disabled"}
    times = range(0, until, 5)
    append(
        path,
        *(line(t + 0.1, probe=make_mark(SECRET, "kid1", now=at(t)), **disabled) for t in times for _ in range(probes)),
    )


def test_probes_are_left_out_of_a_log_that_is_added_later(log: Path, tmp_path: Path) -> None:
    """It is read from its beginning, when the others are long past it; a mark replayed in it hides nothing."""
    other = tmp_path / "other.log"
    probed(log, until=600)
    probed(other, until=600)
    last = json.loads(log.read_text().splitlines()[-1])["probe"]
    reader = Reader(log)
    reader.poll(300)
    reader.poll(601)
    reader.files = (log, other)
    reader.poll(602)
    assert reader.uses == 0
    append(other, line(600, probe=last))
    append(log, line(600, probe=last))
    reader.poll(605)
    assert reader.uses == 2


def test_probes_are_left_out_of_a_busy_log_far_behind_another(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading both from their beginning, the quiet one is read to its end while the busy one has hours to go."""
    quiet = tmp_path / "quiet.log"
    probed(quiet, until=7200, probes=4)
    for t in range(0, 7200, 5):
        append(log, line(t + 0.1, probe=make_mark(SECRET, "kid1", now=at(t)), status=401, matched="kid1:disabled"))
        append(log, *(line(t + 1, kid="kid2", matched="kid2:active") for _ in range(20)))
    monkeypatch.setattr("keyturn.plugins.logs.tail._BUDGET", 1)
    reader = Reader(log, quiet)
    while reader.poll(7200):
        pass
    assert reader.by_key == {"kid2": 28800}


def test_without_a_secret_every_mark_is_a_use(log: Path) -> None:
    """Without the shared secret nothing can be told apart, so everything counts; `check` says so."""
    append(log, line(1, probe=make_mark(SECRET, "kid1", now=at(1))))
    reader = Reader(log, probe_secret=None)
    reader.poll(5)
    assert reader.uses == 1
    assert any("probe_secret" in found for found in source(log, probe_secret=None).check())


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": "soon"},
        {"resolution": 0},
        {"clients": {"not an address": "x"}},
        {"field": {}},
        {"lag": -1},
        {"accept_gaps_before": "2026-11-21T12:00:00"},
    ],
)
def test_wrong_options_are_named(log: Path, options: dict[str, object]) -> None:
    """A wrong option is refused at the start, by its name."""
    with pytest.raises(ConfigError, match=rf"nodes\.{next(iter(options))}"):
        source(log, **options)


def test_a_foreign_cursor_is_an_error(log: Path) -> None:
    """A cursor that cannot be read back is not taken for none: lines would be counted twice."""
    for cursor in ("", "{}", '{"version": 99}', "[]"):
        with pytest.raises(Transient):
            source(log).poll(cursor, now=START)
