"""The issuer `api-key` on real nginx nodes, held to its port."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from tests.integration.gateway.bench import Bench, Client

from keyturn.demo.gateway import Gateway
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.issuer import Issued, Issuer, Minted
from keyturn.testing.issuer import HeldConnection, IssuerConformance, IssuerHarness
from keyturn.testing.trouble import Trouble

T = TypeVar("T")
NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may not touch the gateway's folder."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class Unprivileged:
    """An issuer whose daemon runs as the wrong user."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self.origin = issuer.origin
        self.lease = issuer.lease
        self.timeout = issuer.timeout

    def _do(self, call: Callable[[], T]) -> T:
        with as_nobody():
            return call()

    def verifiers(self) -> Sequence[str]:
        return self._issuer.verifiers()

    def mint(self, token: str) -> Minted:
        return self._issuer.mint(token)

    def issued(self) -> Sequence[Issued]:
        return self._issuer.issued()

    def room(self) -> int | None:
        return self._issuer.room()

    def key_id(self, value: SecretValue) -> str:
        return self._issuer.key_id(value)

    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        self._do(lambda: self._issuer.install(key_id, value, verifiers))

    def enable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._do(lambda: self._issuer.enable(key_id, verifiers))

    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._do(lambda: self._issuer.disable(key_id, verifiers))

    def revoke(self, key_id: str, verifiers: Collection[str]) -> None:
        self._do(lambda: self._issuer.revoke(key_id, verifiers))

    def entries(self, verifier: str) -> Mapping[str, Entry]:
        return self._do(lambda: self._issuer.entries(verifier))

    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        return self._do(lambda: self._issuer.probe(verifier, key_id, value))


class GatewayHarness(IssuerHarness):
    """Two nginx nodes; the back door is a plain HTTP client."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder

    def issuer(self) -> Issuer:
        return self._bench.issuer()

    def accepts(self, verifier: str, value: str) -> bool:
        client = Client(self._bench.nodes[verifier])
        try:
            return client.accepts(value)
        finally:
            client.close()

    def hold(self, verifier: str) -> HeldConnection:
        client = Client(self._bench.nodes[verifier])
        client.status("not-a-key")
        return client

    def in_trouble(self, trouble: Trouble) -> Issuer:
        if trouble is Trouble.THROTTLED:
            pytest.skip("a file and a signal know no throttling")
        if trouble is Trouble.UNREACHABLE:
            return self._bench.issuer(pid_file=str(self._folder / "nginx.pid"))
        if os.geteuid() != 0:
            pytest.skip("becoming a user without rights takes root")
        return Unprivileged(self._bench.issuer())

    def unreachable(self, verifier: str) -> Issuer:
        return self._bench.issuer(away=verifier)


class TestApiKeyOnNginx(IssuerConformance):
    @pytest.fixture
    def harness(self, bench: Bench, shared_gateway: Gateway, tmp_path: Path) -> IssuerHarness:
        return GatewayHarness(bench, tmp_path)
