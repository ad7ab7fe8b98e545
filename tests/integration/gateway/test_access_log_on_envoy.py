"""The usage source `access-log` on a real Envoy with its own key check, held to its port."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from tests.integration.gateway.bench import PROBE_SECRET, surroundings, until
from tests.integration.gateway.envoy import OPTIONS, Envoy

from keyturn.demo.processes import Family
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import access_log
from keyturn.plugins.gateway.key_format import format_key
from keyturn.plugins.gateway.probe_mark import make_mark
from keyturn.ports.usage import UsageSource
from keyturn.testing.usage import KEY, UsageHarness, UsageSourceConformance

ADDRESSES: Mapping[str, str] = {"client-1": "127.0.0.11", "client-2": "127.0.0.12"}
NUMBERS = count(1)


@pytest.fixture
def envoy(family: Family, parts_folder: Path) -> Iterator[Envoy]:
    name = f"envoy{next(NUMBERS)}"
    started = Envoy(family, parts_folder / name, name=name)
    yield started
    started.part.stop()


def source(log: Path) -> UsageSource:
    options: dict[str, object] = {
        **OPTIONS,
        "files": [str(log)],
        "clients": {address: name for name, address in ADDRESSES.items()},
        "resolution": "1s",
        # Envoy writes its log by a timer.
        "lag": "1s",
        "probe_secret": "env:PROBE",
    }
    return access_log("node", options, surroundings())


class EnvoyLogHarness(UsageHarness):
    """One node with a key; the back door sends requests from the clients' addresses."""

    def __init__(self, envoy: Envoy) -> None:
        self._envoy = envoy
        self._good = format_key(env="test", kid=KEY, random="G" * 40)
        self._bad = format_key(env="test", kid=KEY, random="B" * 40)
        envoy.serve({self._good.reveal(): f"{KEY}:active"})
        until(lambda: '"status":200' in envoy.access_log.read_text(), what="Envoy wrote its log")
        # What came before the test is another file's.
        envoy.access_log.unlink()
        envoy.reopen_logs()
        until(envoy.access_log.exists, what="Envoy reopened its log")

    def source(self) -> UsageSource:
        return source(self._envoy.access_log)

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        value = (self._good if success else self._bad).reveal()
        assert self._envoy.present(value, address=ADDRESSES[client]) == (200 if success else 401)
        return self.now()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def present_ours(self, key_id: str) -> None:
        for value, status in ((self._good, 200), (self._bad, 401)):
            mark = make_mark(SecretValue(PROBE_SECRET), key_id, now=self.now())
            assert self._envoy.present(value.reveal(), x_keyturn_probe=mark) == status

    def break_down(self) -> UsageSource:
        return source(self._envoy.folder / "nowhere.log")

    def secret_value(self) -> str:
        return self._good.reveal()


class TestAccessLogOnEnvoy(UsageSourceConformance):
    @pytest.fixture
    def harness(self, envoy: Envoy) -> UsageHarness:
        return EnvoyLogHarness(envoy)


def seen(harness: EnvoyLogHarness) -> Counter[tuple[str | None, str, bool, bool]]:
    """Everything up to now, by key, client, whether the value was matched, and outcome."""
    cursor, counts = None, Counter[tuple[str | None, str, bool, bool]]()
    end = harness.now()
    told = harness.source()

    def past() -> bool:
        nonlocal cursor
        batch = told.poll(cursor, now=harness.now())
        cursor = batch.cursor
        for report in batch.reports:
            counts[report.key_id, report.client, report.matched, True] += report.successes
            counts[report.key_id, report.client, report.matched, False] += report.failures
        return batch.watermark is not None and batch.watermark > end

    until(past, what="the watermark has passed")
    return +counts


def test_uses_are_told_as_they_were(envoy: Envoy) -> None:
    """The key's id comes from the table's entry where the value matched, else by pattern from what was presented; an entry
    that the client writes itself counts for nothing."""
    harness = EnvoyLogHarness(envoy)
    good = format_key(env="test", kid=KEY, random="G" * 40).reveal()
    alike = format_key(env="test", kid=KEY, random="X" * 40).reveal()
    assert envoy.present(good, address=ADDRESSES["client-1"]) == 200
    assert envoy.present(good) == 200
    assert envoy.present(alike, address=ADDRESSES["client-2"]) == 401
    assert envoy.present(alike, x_keyturn_entry=f"{KEY}:active") == 401
    assert envoy.present("garbage") == 401
    assert seen(harness) == {
        (KEY, "client-1", True, True): 1,
        (KEY, "unmapped", True, True): 1,
        (KEY, "client-2", False, False): 1,
        (KEY, "unmapped", False, False): 1,
        (None, "unmapped", False, False): 1,
    }


def test_log_is_followed_through_envoys_own_rotation(envoy: Envoy) -> None:
    """Renamed and reopened over the admin interface under traffic, the log gives each request once."""
    harness = EnvoyLogHarness(envoy)
    sent = 0
    for rotation in range(3):
        for _ in range(4):
            harness.present(KEY, "client-1", success=True)
            sent += 1
        envoy.access_log.rename(f"{envoy.access_log}.{rotation}")
        harness.present(KEY, "client-1", success=True)  # into the renamed file, or buffered for either
        sent += 1
        envoy.reopen_logs()
        until(envoy.access_log.exists, what="Envoy reopened its log")
    harness.present(KEY, "client-1", success=True)
    assert seen(harness) == {(KEY, "client-1", True, True): sent + 1}
