"""Usage that sources push: all of a batch or none, once, and durable when answered."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.api.house import House

from keyturn.app.daemon import Daemon
from keyturn.domain.observations import Hole
from keyturn.runtime.nonsense import SKEW
from keyturn.runtime.usage import BATCHES_KEPT, OLDEST

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
"""Reports of long ago are refused."""


def later(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


MARK = {"watermark": later(10)}


@contextmanager
def furnished(house: House) -> Iterator[tuple[Daemon, str]]:
    """A daemon that knows the key that readers have."""
    key_id = house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        yield daemon, key_id


def line(key_id: str | None, **changes: object) -> dict[str, Any]:
    """A report that is well-formed."""
    report: dict[str, Any] = {
        "key_id": key_id,
        "client": "checkout",
        "start": START.isoformat(),
        "successes": 3,
        "failures": 1,
        "matched": True,
        "identified": False,
    }
    return report | changes


def rows(daemon: Daemon) -> list[tuple[str, int, int]]:
    found = daemon.store.usage("payments", start=START - timedelta(days=1), end=START + timedelta(days=400))
    return [(row.client, row.successes, row.failures) for row in found]


def test_batch_is_in_the_store_when_it_is_answered(house: House) -> None:
    """Reports and watermark, by the source that the token names."""
    with furnished(house) as (daemon, key_id):
        answer = house.push(line(key_id), MARK, line(key_id, client="batch"), "")
        assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "duplicate": False})
        assert rows(daemon) == [("batch", 3, 1), ("checkout", 3, 1)]
        state = daemon.store.sources()["pushed"]
        assert state.watermark == START + timedelta(seconds=10)


def test_repeated_batch_counts_once(house: House) -> None:
    """A source that saw no answer sends again with the same key; another source's same key is another batch."""
    headers = {"Idempotency-Key": "batch-1"}
    with furnished(house) as (daemon, key_id):
        for duplicate in (False, True):
            answer = house.push(line(key_id), headers=headers)
            assert answer.json() == {"accepted": 0 if duplicate else 1, "duplicate": duplicate}
        assert rows(daemon) == [("checkout", 3, 1)]
        assert house.push(MARK, headers=headers, token="source-other").json()["duplicate"] is False


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ({"client": "c"}, "key_id"),
        (line("k", colour="red"), "colour"),
        (line("k", successes=-1), "successes"),
        (line("k", successes=1.5), "successes"),
        (line("k", successes="3"), "successes"),
        (line("k", successes=10**30), "successes"),
        (line("k", successes=0, failures=0), "both are 0"),
        (line("k", matched="yes"), "matched"),
        (line("k", client=""), "client"),
        (line("k", client="a\u0000b"), "client"),
        (line("a\u0000b"), "key_id"),
        (line("k", client="a\u009b2Jb"), "client"),
        (line("k", start="yesterday"), "start"),
        (line("k", start=START.replace(tzinfo=None).isoformat()), "start"),
        (line("k", start=later(0.5)), "start: is no multiple of the source's resolution, 1 s"),
        (line("k", start="2999-01-01T00:00:00Z"), "start: lies in the future"),
        ({"watermark": "2999-01-01T00:00:00Z"}, "watermark: lies in the future"),
        ({"watermark": later(0), "key_id": "k"}, "key_id"),
        ({"watermark": None}, "watermark"),
        ({"watermark": later(0), "complete_from": later(1)}, "complete_from: lies after the watermark"),
        (line("k", start=later(-8 * 86400)), "start: lies more than 7 days back"),
    ],
)
def test_malformed_line_refuses_the_whole_batch(house: House, wrong: object, said: str) -> None:
    """The line is named by its number, blank ones counted, and nothing of the batch is taken."""
    with furnished(house) as (daemon, key_id):
        answer = house.push(line(key_id), "", wrong, MARK)
        assert answer.status_code == 400, answer.text
        detail = answer.json()["detail"]
        assert detail.startswith("line 3: ")
        assert said in detail
        assert detail.endswith("nothing of the batch was taken")
        assert rows(daemon) == []
        assert "pushed" not in daemon.store.sources()


def test_source_may_not_speak_for_what_it_does_not_cover(house: House) -> None:
    """Whoever reports usage can provoke a rollback: only the credentials that name the source listen to it."""
    with furnished(house) as (daemon, key_id):
        answer = house.push(line(key_id), token="source-other")
        assert answer.status_code == 403
        assert "may not speak for 'payments'" in answer.json()["detail"]
        assert rows(daemon) == []


def test_keys_of_nobody_are_left_out(house: House) -> None:
    """What no credential of ours knows is taken and forgotten: a gateway serves others too."""
    with furnished(house) as (daemon, _):
        answer = house.push(line("stranger"), line(None))
        assert answer.status_code == 200
        assert rows(daemon) == []


@pytest.mark.parametrize("name", ["watermark", '"watermark"', '"watermark":'])
def test_no_name_that_a_client_bears_spoils_a_batch(house: House, name: str) -> None:
    """Whoever may choose a client's name, or what is presented as a key, does not make its line look like another kind's."""
    with furnished(house) as (daemon, key_id):
        assert house.push(line(key_id, client=name), line(name), MARK).status_code == 200
        assert rows(daemon) == [(name, 3, 1)]


def test_watermark_a_little_ahead_is_now(house: House) -> None:
    """Clocks differ; what lies ahead of ours is not covered yet."""
    with furnished(house) as (daemon, _):
        ahead = datetime.now(UTC) + timedelta(seconds=30)
        assert house.push({"watermark": ahead.isoformat()}).status_code == 200
        watermark = daemon.store.sources()["pushed"].watermark
        assert watermark is not None
        assert watermark <= datetime.now(UTC)


def test_newest_watermark_of_a_batch_counts(house: House) -> None:
    """Wherever the lines stand."""
    with furnished(house) as (daemon, _):
        house.push(MARK, {"watermark": later(5)})
        assert daemon.store.sources()["pushed"].watermark == START + timedelta(seconds=10)


def test_size_is_limited(house: House) -> None:
    """A batch of more than 8 MiB is refused, by its declared length or as it comes."""
    headers = {"Idempotency-Key": "large"}
    with furnished(house) as (daemon, _):
        chunk = b" " * (1 << 20)
        for data in (chunk * 9, (chunk for _ in range(9))):
            answer = house.ask("POST", "/v1/usage", token="source-pushed", data=data, headers=headers)
            assert answer.status_code == 413
        answer = house.ask("POST", "/v1/usage", token="source-pushed", data=chunk * 8, headers=headers)
        assert answer.status_code == 200
        assert rows(daemon) == []


def test_idempotency_key_is_needed_and_bounded(house: House) -> None:
    """Without one, nobody could tell a batch sent again from another; it is kept, so an endless one is refused."""
    with furnished(house):
        assert house.push(MARK, headers={"Idempotency-Key": "x" * 201}).status_code == 422
        answer = house.ask("POST", "/v1/usage", token="source-pushed", data=json.dumps(MARK).encode())
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("idempotency-key: ")


def test_repeated_batch_counts_once_after_a_restart(house: House) -> None:
    """The ids outlive the process: whoever saw no answer before the crash may send again after it."""
    headers = {"Idempotency-Key": "batch-1"}
    with furnished(house) as (_, key_id):
        assert house.push(line(key_id), headers=headers).json()["accepted"] == 1
    with house.daemon() as daemon:
        assert house.push(line(key_id), headers=headers).json() == {"accepted": 0, "duplicate": True}
        assert rows(daemon) == [("checkout", 3, 1)]


def test_id_used_again_for_another_batch_is_refused(house: House) -> None:
    """To take it for a repetition would lose its reports without a word."""
    headers = {"Idempotency-Key": "batch-1"}
    with furnished(house) as (daemon, key_id):
        house.push(line(key_id), headers=headers)
        answer = house.push(line(key_id, successes=7), headers=headers)
        assert answer.status_code == 409
        assert "'batch-1' with another content" in answer.json()["detail"]
        assert rows(daemon) == [("checkout", 3, 1)]


def test_ids_are_forgotten_when_their_reports_would_be_refused(house: House) -> None:
    """Ids are kept for longer than any report is taken: what is sent again is known, or too old to be taken."""
    assert BATCHES_KEPT > OLDEST + SKEW
    headers = {"Idempotency-Key": "batch-1"}
    with furnished(house) as (daemon, key_id):
        house.push(line(key_id), headers=headers)
        daemon.store.forget_batches(datetime.now(UTC) - BATCHES_KEPT)
        assert house.push(line(key_id), headers=headers).json()["duplicate"] is True


def test_rate_is_limited(house: House) -> None:
    """A source that sends more than it may is told when to come again, and its batch is neither read nor taken; others
    are served."""
    house.configure(lambda config: config["sources"]["pushed"].update(reports_per_second=1))
    with furnished(house) as (daemon, key_id):
        assert house.push(*[line(key_id, client=f"c{number}") for number in range(100)]).status_code == 200
        answer = house.push(line(key_id))
        assert answer.status_code == 429
        assert 60 < int(answer.headers["Retry-After"]) <= 90
        assert "reports_per_second" in answer.json()["detail"]
        assert len(rows(daemon)) == 100
        assert house.push(MARK, token="source-other").status_code == 200


def test_compressed_bodies_are_refused(house: House) -> None:
    """A small body that becomes a large one has no way in."""
    with furnished(house) as (daemon, key_id):
        data = gzip.compress(json.dumps(line(key_id)).encode())
        headers = {"Idempotency-Key": "g", "Content-Encoding": "gzip"}
        answer = house.ask("POST", "/v1/usage", token="source-pushed", data=data, headers=headers)
        assert answer.status_code == 415
        assert "as they are" in answer.json()["detail"]
        assert rows(daemon) == []


def test_late_report_is_use_and_no_evidence(house: House) -> None:
    """What comes after its bucket was declared complete shows a use at once, stays out of the detector's buckets, and is
    counted (DESIGN §6)."""
    with furnished(house) as (daemon, key_id):
        house.push(MARK)
        house.push(line(key_id))
        assert rows(daemon) == []
        assert daemon.store.uses("payments")["checkout", 1, "pushed"].last_refusal == START + timedelta(seconds=1)
        assert daemon.store.sources()["pushed"].late == 1


def test_source_says_what_it_has_lost(house: House) -> None:
    """A watermark with the time that the data goes on from leaves a hole behind it, which silence cannot span."""
    with furnished(house) as (daemon, _):
        house.push(MARK)
        house.push({"watermark": later(60), "complete_from": later(40)})
        assert list(daemon.store.holes("pushed")) == [
            Hole(start=START + timedelta(seconds=10), end=START + timedelta(seconds=40))
        ]
