"""A daemon on fakes with a real store and real HTTP, for the tests of what stands around it."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from tests.unit.api import fake_plugins

from keyturn.app.daemon import Daemon, open_daemon
from keyturn.app.serving import HttpServer, listen
from keyturn.app.state import token_file
from keyturn.config import load_config
from keyturn.testing.fakes import FakeAuthority, FakeBackend

ENTRY_POINTS = """\
[keyturn.backends]
fake = tests.unit.api.fake_plugins:backend
broken = tests.unit.api.fake_plugins:broken
refusing = tests.unit.api.fake_plugins:refusing
missing = tests.unit.api.there_is_no_such_module:backend

[keyturn.issuers]
fake = tests.unit.api.fake_plugins:authority

[keyturn.usage_sources]
fake = tests.unit.api.fake_plugins:source
"""
QUICK = {
    "propagation": "1s",
    "client_refresh": "1s",
    "pool_lifetime": "1s",
    "minimum_overlap": "3s",
    "bake": "1s",
    "soak": "2s",
    "drain": "1s",
    "silence_floor": "2s",
    "silence_few": "2s",
    "silence_unseen": "2s",
    "unseen_share": 1.0,
}
CONFIG: dict[str, Any] = {
    "store": {"url": "sqlite:///state/keyturn.db"},
    "http": {"listen": "127.0.0.1:0"},
    "tick": "1h",
    "backends": {"bao": {"type": "fake"}},
    "issuers": {"gateway": {"type": "fake"}},
    "sources": {"pushed": {"type": "push", "resolution": "1s"}, "other": {"type": "push", "resolution": "1s"}},
    "policies": {"quick": QUICK},
    "credentials": {
        "payments": {
            "issuer": "gateway",
            "targets": [{"backend": "bao", "path": "payments"}],
            "sources": ["pushed"],
            "clients": ["checkout"],
            "policy": "quick",
        }
    },
}
PAYMENTS = "/v1/credentials/payments"


def install_fakes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the fakes discoverable, as a distribution of their own in `folder`."""
    metadata = folder / "keyturn_fakes-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn-fakes\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder))
    for name in (*fake_plugins.BACKENDS, *fake_plugins.AUTHORITIES):
        fake_plugins.BACKENDS.pop(name, None)
        fake_plugins.AUTHORITIES.pop(name, None)


class House:
    """A configuration in a folder, and the daemon that it describes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.file = folder / "keyturn.yaml"
        self.state = folder / "state"
        install_fakes(folder / "fakes", monkeypatch)
        self.url = ""
        self.configure(lambda _: None)

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Write the configuration, changed."""
        config = json.loads(json.dumps(CONFIG))
        change(config)
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))

    @property
    def backend(self) -> FakeBackend:
        return fake_plugins.BACKENDS.setdefault("bao", FakeBackend())

    @property
    def authority(self) -> FakeAuthority:
        return fake_plugins.AUTHORITIES.setdefault("gateway", FakeAuthority())

    def furnish(self) -> str:
        """Put a first key where readers and verifiers have it; returns its id."""
        minted = self.authority.new_key("first")
        issuer = self.authority.credential({})
        issuer.install(minted.key_id, minted.value, list(self.authority.nodes))
        self.backend.place("payments").overwrite(minted.value.reveal())
        return minted.key_id

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """The daemon with its HTTP surface. It ticks when told to."""
        config = load_config(self.file)
        with listen(config) as listener, open_daemon(config) as daemon:
            server = HttpServer(daemon, listener)
            server.start()
            self.url = server.url
            try:
                yield daemon
            finally:
                server.stop()

    def token(self, name: str = "operator") -> str:
        return token_file(self.state, name).read_text().strip()

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "operator",  # noqa: S107 - a token's name
        body: object = None,
        data: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """One request with the token of that name."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {self.token(token)}"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, json=body, data=data, headers=sent, timeout=30)

    def push(
        self,
        *lines: object,
        token: str = "source-pushed",  # noqa: S107 - a token's name
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Push a batch of usage, with an id of its own unless the headers say another."""
        headers = {"Idempotency-Key": secrets.token_hex(8), **(headers or {})}
        data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
        return self.ask("POST", "/v1/usage", token=token, data=data, headers=headers)


def ticks(daemon: Daemon, count: int) -> None:
    for _ in range(count):
        daemon.tick()


def started(house: House, daemon: Daemon) -> dict[str, Any]:
    """A rotation that waits in OVERLAP."""
    daemon.tick()
    answer = house.ask("POST", f"{PAYMENTS}/rotate", body={"by": "ada", "reason": "test"})
    assert answer.status_code == 200, answer.text
    ticks(daemon, 5)
    status: dict[str, Any] = house.ask("GET", f"{PAYMENTS}/status").json()
    assert status["rotation"]["phase"] == "overlap"
    return status


def refusal(house: House, what: str, body: dict[str, object], status: int = 409) -> str:
    """What the daemon says to a command that it refuses; checks that nothing changed."""
    before = house.ask("GET", f"{PAYMENTS}/history").json()
    answer = house.ask("POST", f"{PAYMENTS}/{what}", body=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert house.ask("GET", f"{PAYMENTS}/history").json() == before
    detail: str = answer.json()["detail"]
    assert "\n" not in detail
    return detail


def command(*arguments: str) -> list[str]:
    """A command line of the installed `keyturn`."""
    return [str(Path(sys.executable).with_name("keyturn")), *arguments]
