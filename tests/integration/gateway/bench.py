"""A gateway under test: the plugin beside a back door that knows nginx alone."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

from keyturn.demo.gateway import KEY_HEADER, NGINX, Gateway, GatewayNode
from keyturn.domain.observations import Acceptance
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import api_key
from keyturn.plugins.gateway.issuer import ApiKeyAuthority, ApiKeyIssuer
from keyturn.ports.issuer import Issuer, Minted
from keyturn.ports.plugin import Surroundings

PROBE_SECRET = "integration-probe-secret-0123456789"


class RealClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def surroundings() -> Surroundings:
    return Surroundings(clock=RealClock(), resolve=lambda _: SecretValue(PROBE_SECRET))


def node_options(node: GatewayNode, **changes: object) -> dict[str, object]:
    """The plugin's options for a demo node."""
    options: dict[str, object] = {
        "name": node.name,
        "address": node.url,
        "table": str(node.key_table),
        "pid_file": str(node.pid_file),
        "nginx": str(NGINX),
        "config": str(node.config_file),
        "prefix": str(node.folder),
    }
    return options | changes


def closed_address() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


class Client:
    """A client's connection to one node, kept open between requests as pools do."""

    def __init__(self, node: GatewayNode) -> None:
        self._connection = http.client.HTTPConnection(node.host, node.port, timeout=10)
        self.closed_by_node = 0

    def status(self, value: str) -> int:
        """The status for a key on this connection, or on a new one when the node has closed it."""
        for _ in range(2):
            try:
                self._connection.request("GET", "/", headers={KEY_HEADER: value})
                response = self._connection.getresponse()
                response.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self._connection.close()
                self.closed_by_node += 1
            else:
                return response.status
        raise AssertionError("the node closes each new connection")

    def accepts(self, value: str) -> bool:
        return self.status(value) == 200

    def close(self) -> None:
        self._connection.close()


class Bench:
    """A gateway, and plugin instances for it that remember nothing of each other."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.nodes = {node.name: node for node in gateway.nodes}
        self._made: list[ApiKeyAuthority] = []

    def authority(self, *, away: str | None = None, probe_path: object = "/", **changes: object) -> ApiKeyAuthority:
        """A new instance; the options of every node with these changes, and one node `away`, at a closed port."""
        nodes = [
            node_options(node, **changes | ({"address": closed_address()} if node.name == away else {}))
            for node in self.gateway.nodes
        ]
        # Far more than it takes: tests share a busy machine.
        verifiers = {"type": "nginx-map", "nodes": nodes, "timeout": "30s", "probe_path": probe_path}
        made = api_key("gateways", {"verifiers": verifiers, "probe_secret": "env:PROBE"}, surroundings())
        self._made.append(made)
        return made

    def issuer(self, *, away: str | None = None, **changes: object) -> ApiKeyIssuer:
        return self.authority(away=away, **changes).credential({"env": "test"})

    def close(self) -> None:
        for authority in self._made:
            authority.close()


def present(node: GatewayNode, value: str, *, address: str = "127.0.0.1", probe: str | None = None) -> int:
    """A request of a client at this loopback address."""
    connection = http.client.HTTPConnection(node.host, node.port, timeout=5, source_address=(address, 0))
    try:
        headers = {"X-Api-Key": value} | ({} if probe is None else {"X-Keyturn-Probe": probe})
        connection.request("GET", "/", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def until(condition: Callable[[], bool], *, within: float = 15.0, what: str) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)


def until_said(issuer: Issuer, minted: Minted, said: Acceptance) -> None:
    """Probe until every verifier says so."""
    until(
        lambda: all(issuer.probe(one, minted.key_id, minted.value) is said for one in issuer.verifiers()),
        what=f"every verifier says {said}",
    )
