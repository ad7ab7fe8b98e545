"""Usage that sources push: all of a batch or none, once, and durable when answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.api.house import House

from keyturn.app.daemon import Daemon

START = datetime(2026, 1, 1, tzinfo=UTC)
MARK = {"watermark": "2026-01-01T00:00:10Z"}


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
        "start": "2026-01-01T00:00:00Z",
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
        (line("k", start="yesterday"), "start"),
        (line("k", start="2026-01-01T00:00:00"), "start"),
        (line("k", start="2026-01-01T00:00:00.5Z"), "start: is no multiple of the source's resolution, 1 s"),
        (line("k", start="2999-01-01T00:00:00Z"), "start: lies in the future"),
        ({"watermark": "2999-01-01T00:00:00Z"}, "watermark: lies in the future"),
        ({"watermark": "2026-01-01T00:00:00Z", "key_id": "k"}, "key_id"),
        ({"watermark": None}, "watermark"),
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
        house.push(MARK, {"watermark": "2026-01-01T00:00:05Z"})
        assert daemon.store.sources()["pushed"].watermark == START + timedelta(seconds=10)


def test_size_is_limited(house: House) -> None:
    """A batch of more than 8 MiB is refused, by its declared length or as it comes."""
    with furnished(house) as (daemon, _):
        chunk = b" " * (1 << 20)
        for data in (chunk * 9, (chunk for _ in range(9))):
            answer = house.ask("POST", "/v1/usage", token="source-pushed", data=data)
            assert answer.status_code == 413
        assert house.ask("POST", "/v1/usage", token="source-pushed", data=chunk * 8).status_code == 200
        assert rows(daemon) == []


def test_idempotency_key_is_bounded(house: House) -> None:
    """It is kept: an endless one is refused."""
    with furnished(house):
        assert house.push(MARK, headers={"Idempotency-Key": "x" * 201}).status_code == 422
