"""The usage source `access-log` on a real nginx, held to its port."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.gateway.bench import PROBE_SECRET, Bench, present, surroundings

from keyturn.demo.gateway import TableKey
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import access_log
from keyturn.plugins.gateway.key_format import format_key
from keyturn.plugins.gateway.probe_mark import make_mark
from keyturn.ports.usage import UsageSource
from keyturn.testing.usage import KEY, UsageHarness, UsageSourceConformance

ADDRESSES: Mapping[str, str] = {"client-1": "127.0.0.11", "client-2": "127.0.0.12"}


class NginxLogHarness(UsageHarness):
    """One node with a key; the back door sends requests from the clients' addresses."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        (self._node,) = bench.nodes.values()
        self._folder = folder
        self._good = format_key(env="test", kid=KEY, random="G" * 40)
        self._bad = format_key(env="test", kid=KEY, random="B" * 40)
        self._node.write_table([TableKey(value=self._good.reveal(), kid=KEY)])
        self._node.reload()

    def _source(self, log: Path) -> UsageSource:
        options: dict[str, object] = {
            "files": [str(log)],
            "clients": {address: name for name, address in ADDRESSES.items()},
            "resolution": "1s",
            "lag": "1s",
            "probe_secret": "env:PROBE",
        }
        return access_log("node", options, surroundings())

    def source(self) -> UsageSource:
        return self._source(self._node.access_log)

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        value = (self._good if success else self._bad).reveal()
        assert present(self._node, value, address=ADDRESSES[client]) == (200 if success else 401)
        return self.now()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def present_ours(self, key_id: str) -> None:
        for value, status in ((self._good, 200), (self._bad, 401)):
            mark = make_mark(SecretValue(PROBE_SECRET), key_id, now=self.now())
            assert present(self._node, value.reveal(), probe=mark) == status

    def break_down(self) -> UsageSource:
        return self._source(self._folder / "nowhere.log")

    def secret_value(self) -> str:
        return self._good.reveal()


class TestAccessLogOnNginx(UsageSourceConformance):
    @pytest.fixture
    def harness(self, own_bench: Bench, tmp_path: Path) -> UsageHarness:
        return NginxLogHarness(own_bench, tmp_path)
