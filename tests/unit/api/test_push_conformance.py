"""A source that pushes passes the kit, as the machine sees it: over HTTP, through the runtime, out of the store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.api.house import House

from keyturn.app.daemon import Daemon
from keyturn.domain.observations import SourceKind
from keyturn.ports.usage import UsageBatch, UsageReport, UsageSource
from keyturn.runtime.nonsense import EPOCH
from keyturn.testing.usage import KEY, UsageHarness, UsageSourceConformance


class Arrived:
    """What of a pushed source has arrived in the store. A cursor is what was told before."""

    kind = SourceKind.AUTHENTICATION
    sees_failures = True
    lag = timedelta(0)

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._daemon = daemon
        self._name = name
        self.resolution = daemon.registry.sources[name].resolution

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        told: dict[str, list[int]] = json.loads(cursor or "{}")
        found = {}
        rows = self._daemon.store.usage("payments", start=EPOCH, end=now + timedelta(days=1), sources=[self._name])
        for row in rows:
            found[f"{row.client} {row.start.isoformat()}"] = [row.successes, row.failures]
        state = self._daemon.store.sources().get(self._name)
        return UsageBatch(
            reports=[
                UsageReport(
                    key_id=KEY,
                    client=key.split(" ")[0],
                    start=datetime.fromisoformat(key.split(" ")[1]),
                    successes=successes - told.get(key, [0, 0])[0],
                    failures=failures - told.get(key, [0, 0])[1],
                    matched=True,
                    identified=False,
                )
                for key, (successes, failures) in found.items()
                if [successes, failures] != told.get(key)
            ],
            watermark=None if state is None else state.watermark,
            cursor=json.dumps(found),
        )

    def check(self) -> Sequence[str]:
        return [] if self._name in self._daemon.store.sources() else ["nothing was ever pushed: see that it runs"]

    def close(self) -> None:
        """Nothing is held."""


class PushHarness(UsageHarness):
    """A gateway that pushes what it sees at once, and each batch twice, as after an answer that was lost."""

    def __init__(self, house: House, daemon: Daemon, key_id: str) -> None:
        self._house = house
        self._daemon = daemon
        self._key_id = key_id

    def source(self) -> UsageSource:
        return Arrived(self._daemon, "pushed")

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        assert key_id == KEY
        now = self.now()
        report = {
            "key_id": self._key_id,
            "client": client,
            "start": now.replace(microsecond=0).isoformat(),
            "successes": int(success),
            "failures": int(not success),
            "matched": True,
            "identified": False,
        }
        headers = {"Idempotency-Key": secrets.token_hex(4)}
        for _ in range(2):
            assert self._house.push(report, headers=headers).status_code == 200
        return now

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self) -> None:
        """The source says that it has told everything."""
        assert self._house.push({"watermark": self.now().isoformat()}).status_code == 200

    def break_down(self) -> UsageSource:
        return Arrived(self._daemon, "other")


class TestPushedSource(UsageSourceConformance):
    """A pushed source as the kit sees it."""

    @pytest.fixture
    def harness(self, house: House) -> Iterator[UsageHarness]:
        key_id = house.furnish()
        with house.daemon() as daemon:
            daemon.tick()
            yield PushHarness(house, daemon, key_id)
