"""The usage source `vault-audit-log` on the audit log of a real OpenBao, held to its port."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import requests
from tests.integration.vault.mount import Mount

from keyturn.demo.openbao import start_openbao
from keyturn.demo.processes import Family
from keyturn.demo.waiting import PartFailed, wait_until
from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault import vault_audit_log
from keyturn.plugins.vault.audit_log import AuditLog
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageReport, UsageSource
from keyturn.testing.usage import KEY, UsageHarness, UsageSourceConformance

NUMBERS = count(1)


@pytest.fixture(scope="module")
def audited(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount of an OpenBao whose audit log nobody else writes to.

    A worker that takes tests from another one may come back to this module: a second server, a folder of its own.
    """
    bao = start_openbao(family, tmp_path_factory.mktemp("audited"), name="audited")
    yield Mount(bao)
    bao.part.stop()


class AuditHarness(UsageHarness):
    """One secret with readers; the back door reads it with their tokens."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        self.path = mount.new_path()
        self.number = next(NUMBERS)
        self.version = self.write("a value that nobody sees")
        self._session = requests.Session()
        self._session.trust_env = False
        self.tokens = {
            name: mount.bao.create_reader(f"{name}-{self.number}", mount=mount.name, path=self.path)
            for name in self.clients
        }
        self.rotate()
        for aside in mount.bao.audit_log.parent.glob("audit.log.*"):
            aside.unlink()

    def write(self, value: str) -> int:
        return self.mount.bao.write_secret(self.mount.name, self.path, {"value": value})

    def rotate(self) -> None:
        log = self.mount.bao.audit_log
        log.rename(f"{log}.{datetime.now(UTC):%Y%m%d%H%M%S%f}")
        self.mount.bao.part.send(signal.SIGHUP)
        wait_until(log.exists, within=10, what="OpenBao reopened its log", part=self.mount.bao.part)

    def source(self, **options: object) -> AuditLog:
        return source(self.mount.bao.audit_log, **{**self.options, **options})

    @property
    def options(self) -> dict[str, object]:
        names = {f"token-{name}-{self.number}": name for name in self.clients}
        return {"client": "display_name", "names": names, "ours": ["root"]}

    def present(self, key_id: str, client: str, *, success: bool) -> datetime:
        assert self.read(self.tokens[client]) == 200
        return self.now()

    def read(self, token: str, *, path: str = "", version: int = 0) -> int:
        url = f"{self.mount.bao.address}/v1/{self.mount.name}/data/{path or self.path}"
        headers, query = {"X-Vault-Token": token}, {"version": version} if version else None
        return self._session.get(url, headers=headers, params=query, timeout=10).status_code

    def now(self) -> datetime:
        return datetime.now(UTC)

    def key_of(self, report: UsageReport) -> str | None:
        ours = report.read is not None and report.read.location == f"{self.mount.name}/{self.path}"
        return KEY if ours and report.read is not None and report.read.id == str(self.version) else repr(report.read)

    def present_ours(self, key_id: str) -> None:
        assert self.read(self.mount.bao.root_token) == 200

    def break_down(self) -> UsageSource:
        return source(self.mount.bao.folder / "nowhere.log", **self.options)

    def secret_value(self) -> str:
        return "a value that nobody sees"


def source(log: Path, **options: object) -> AuditLog:
    surroundings = Surroundings(clock=_NoClock(), resolve=_no_secret)
    return vault_audit_log("bao", {"files": [str(log)], "resolution": "1s", "lag": "1s", **options}, surroundings)


class _NoClock:
    def now(self) -> datetime:
        raise AssertionError("the source is told the time")

    def monotonic(self) -> float:
        raise AssertionError("the source is told the time")


def _no_secret(reference: str) -> SecretValue:
    raise ConfigError(f"{reference}: the source needs no secret")


class TestAuditLog(UsageSourceConformance):
    @pytest.fixture
    def harness(self, audited: Mount) -> UsageHarness:
        return AuditHarness(audited)


def told(harness: AuditHarness, **options: object) -> list[tuple[str, str, int]]:
    """Everything up to now: client, version, how often."""
    end, reading, cursor = harness.now(), harness.source(**options), None
    found: dict[tuple[str, str], int] = {}

    def past() -> bool:
        nonlocal cursor
        batch = reading.poll(cursor, now=harness.now())
        cursor = batch.cursor
        for report in batch.reports:
            assert report.key_id is None
            assert report.read is not None
            assert report.failures == 0
            if report.read.location == f"{harness.mount.name}/{harness.path}":
                key = report.client, report.read.id
                found[key] = found.get(key, 0) + report.successes
        return batch.watermark is not None and batch.watermark > end

    wait_until(past, within=15, what="the watermark has passed")
    return sorted((client, version, times) for (client, version), times in found.items())


@pytest.fixture
def harness(audited: Mount) -> AuditHarness:
    return AuditHarness(audited)


def test_version_that_was_given_out_is_told(harness: AuditHarness) -> None:
    """The version served, whichever was asked for; what was refused, is gone, or is another path's shows none."""
    reader, other = harness.tokens.values()
    first = harness.version
    assert harness.read(reader) == 200
    second = harness.write("another")
    assert harness.read(reader) == 200
    assert harness.read(other, version=first) == 200
    assert harness.read(reader, path="app/elsewhere") == 403
    assert harness.read("no-such-token") == 403
    harness.mount.send("POST", f"{harness.mount.name}/destroy/{harness.path}", {"versions": [second]})
    assert harness.read(reader) == 404
    assert told(harness) == [("client-1", str(first), 1), ("client-1", str(second), 1), ("client-2", str(first), 1)]


def test_clients_are_told_apart_as_configured(harness: AuditHarness) -> None:
    """By entity, role, display name or address; what a map does not know is `unmapped`."""
    bao = harness.mount.bao
    bao.write_policy("reads", f'path "{harness.mount.name}/data/{harness.path}" {{ capabilities = ["read"] }}')
    role = bao.create_approle(f"checkout-{harness.number}", policies=("reads",))
    login = bao.call("POST", "auth/approle/login", {"role_id": role.role_id, "secret_id": role.secret_id})["auth"]
    assert harness.read(login["client_token"]) == 200
    version = str(harness.version)
    unnamed: dict[str, object] = {"names": {}}
    assert told(harness, client="role_name", **unnamed) == [(f"checkout-{harness.number}", version, 1)]
    assert told(harness, client="entity_id", **unnamed) == [(login["entity_id"], version, 1)]
    assert told(harness, client="display_name", **unnamed) == [("approle", version, 1)]
    assert told(harness, client="remote_address", **unnamed) == [("127.0.0.1", version, 1)]
    networks = {"networks": {"127.0.0.0/8": "inside"}}
    assert told(harness, client="remote_address", **unnamed, **networks) == [("inside", version, 1)]
    assert told(harness, client="display_name") == [("unmapped", version, 1)]
    assert told(harness, client="role_name", **unnamed, ours=[f"checkout-{harness.number}"]) == []
    assert harness.read(harness.tokens["client-1"]) == 200
    named = {"client": "role_name", **unnamed}
    assert told(harness, **named) == [(f"checkout-{harness.number}", version, 1), ("unmapped", version, 1)]


def test_log_is_followed_through_openbaos_own_rotation(harness: AuditHarness) -> None:
    """Renamed and reopened by SIGHUP under traffic, the log gives each read once, and the restarted source goes on."""
    sent = 0
    for _ in range(3):
        for _ in range(3):
            harness.present(KEY, "client-1", success=True)
            sent += 1
        harness.rotate()
    harness.present(KEY, "client-1", success=True)
    assert told(harness) == [("client-1", str(harness.version), sent + 1)]


def test_each_namespace_has_a_source_of_its_own(harness: AuditHarness) -> None:
    """Where a secret of the same path lies in two namespaces, the reads of each are told by its own source alone; one that
    names the wrong one, or none, is told of by `check`."""
    bao, team = harness.mount.bao, f"team{harness.number}"
    bao.call("POST", f"sys/namespaces/{team}", {})
    bao.call("POST", f"{team}/sys/mounts/{harness.mount.name}", {"type": "kv", "options": {"version": "2"}})
    there = f"{team}/{harness.mount.name}/data/{harness.path}"

    def written() -> bool:  # a mount is ready a moment after it is made
        with suppress(PartFailed):
            return bool(bao.call("POST", there, {"data": {"value": "another"}}))
        return False

    wait_until(written, within=10, what="the namespace's mount answers")
    harness.write("a second version, where the namespace has one")
    assert harness.read(harness.tokens["client-1"]) == 200
    bao.call("GET", there)
    bao.call("GET", there)
    everyone: dict[str, object] = {"names": {}, "ours": ["nobody"]}
    assert told(harness, **everyone, namespace=f"{team}/") == [("root", "1", 2)]
    assert told(harness, **everyone) == [(f"token-client-1-{harness.number}", "2", 1)]
    assert harness.source(**everyone, namespace=team).check() == []
    (line,) = harness.source(**everyone, namespace="another").check()
    assert f"in the namespace 'another', and there are some in the root namespace, the namespace '{team}'" in line
    # The root's token is keyturn's here: it reads in the namespace alone, whoever else reads in the root.
    (line,) = harness.source().check()
    assert (
        f"of keyturn's own is in the root namespace, and there are some in the namespace '{team}'; set `namespace`"
        in line
    )
    assert harness.source(namespace=team).check() == []


def test_namespace_where_nobody_reads_is_no_mistake(harness: AuditHarness) -> None:
    """As long as keyturn's own looks are logged in the namespace, clients may be silent there; and where nobody has read
    anything, nothing is wrong."""
    assert harness.source(namespace="another").check() == []
    assert harness.read(harness.mount.bao.root_token) == 200
    assert harness.source().check() == []
    (line,) = harness.source(namespace="another").check()
    assert "of keyturn's own is in the namespace 'another'" in line


def test_lines_without_meaning_stop_the_watermark(tmp_path: Path) -> None:
    """A log that is none of an audit device is never silence, and `check` says so."""
    log = tmp_path / "audit.log"
    log.write_text('{"time":"yesterday","type":"response"}\n[]\nnonsense\n')
    reading = source(log, ours=["keyturn"])
    assert reading.poll(None, now=datetime.now(UTC)).watermark is None
    (line,) = reading.check()
    assert "no line can be read" in line


def test_own_reads_must_be_known(tmp_path: Path) -> None:
    """Without keyturn's own identity its looks at the target would be uses for ever."""
    with pytest.raises(ConfigError, match="ours: Field required"):
        vault_audit_log("bao", {"files": ["x"]}, Surroundings(clock=_NoClock(), resolve=_no_secret))
