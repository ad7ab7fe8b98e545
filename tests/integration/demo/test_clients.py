"""A demo client presents the current key, never retries, and records what really happened."""

import itertools
import secrets
import signal
import socketserver
import string
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import pytest

from keyturn.demo.client_process import Client, ClientSpec, read_json_lines, start_attacker, start_client
from keyturn.demo.gateway import Gateway, GatewayNode, TableKey
from keyturn.demo.moto import ANY_KEY, MotoServer, write_credentials
from keyturn.demo.openbao import OpenBao, write_private
from keyturn.demo.processes import Family
from keyturn.demo.scenarios.emergency import first_refusals
from keyturn.demo.waiting import wait_until

StartGateway = Callable[..., Gateway]


def new_key(kid: str) -> TableKey:
    random = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
    return TableKey(value=f"kt_test_{kid}_{random}_0a1b2c", kid=kid)


def wait_requests(client: Client, number: int, *, kid: str = "") -> None:
    def enough() -> bool:
        return sum(not kid or r.kid == kid for r in client.requests()) >= number

    wait_until(enough, within=40, what=f"{number} requests with {kid or 'any key'}", part=client.part)


def file_client(
    family: Family,
    folder: Path,
    nodes: tuple[GatewayNode, ...],
    key: TableKey,
    *,
    rate: float = 20.0,
    never_refresh: bool = False,
) -> Client:
    spec = ClientSpec(
        name=f"client-{key.kid}",
        address="127.0.0.41",
        source="file",
        key_file=write_private(folder / f"{key.kid}.key", key.value),
        rate=rate,
        never_refresh=never_refresh,
    )
    return start_client(family, folder, spec=spec, nodes=nodes)


@pytest.mark.parametrize("source", ["vault", "aws", "aws-cache"])
def test_a_client_follows_its_backend(
    source: Literal["vault", "aws", "aws-cache"],
    family: Family,
    gateway: StartGateway,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """It presents what its backend serves, on both nodes, and moves when that changes."""
    tag = source.replace("-", "")
    old, new = new_key(f"{tag}1"), new_key(f"{tag}2")
    nodes = gateway(nodes=2, keys=[old, new]).nodes
    if source == "vault":
        bao: OpenBao = request.getfixturevalue("openbao")
        bao.create_kv_mount("clients")
        secret = "clients/apps/orders"
        backend = bao.address
        token = bao.create_reader("client", mount="clients", path="apps/orders")
        credentials = write_private(tmp_path / "token", token)

        def promote(key: TableKey) -> None:
            bao.write_secret("clients", "apps/orders", {"value": key.value})
    else:
        moto: MotoServer = request.getfixturevalue("moto_server")
        secret = f"clients/{source}"
        backend = moto.endpoint_url
        credentials = write_credentials(tmp_path / "credentials", ANY_KEY)
        moto.create_secret(secret, "{}")

        def promote(key: TableKey) -> None:
            text = f'{{"value": "{key.value}"}}'
            moto.secretsmanager().put_secret_value(SecretId=secret, SecretString=text)

    promote(old)
    spec = ClientSpec(
        name=f"client-{source}",
        address="127.0.0.31",
        source=source,
        backend=backend,
        secret=secret,
        field="value",
        credentials=credentials,
        refresh=1.0,
    )
    client = start_client(family, tmp_path, spec=spec, nodes=nodes)
    wait_requests(client, 4, kid=old.kid)
    # Neither the key nor what reads it is in sight of `ps`.
    seen = b"".join(Path(f"/proc/{client.part.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    assert str(client.record).encode() in seen
    assert old.value.encode() not in seen
    assert credentials.read_text().split()[-1].encode() not in seen
    promote(new)
    wait_requests(client, 4, kid=new.kid)
    client.part.stop()
    assert client.part.exit_code == 0

    requests = client.requests()
    assert {r.status for r in requests} == {200}
    assert {r.kid for r in requests} == {old.kid, new.kid}
    assert all(a.node != b.node for a, b in itertools.pairwise(requests))
    lines = [line for node in nodes for line in read_json_lines(node.access_log)]
    assert {line["remote_addr"] for line in lines} == {"127.0.0.31"}
    assert sorted(str(line["kid"]) for line in lines) == sorted(r.kid for r in requests)
    # Kept alive: one connection a node.
    assert len({(line["node"], line["connection"]) for line in lines}) == 2
    written = client.record.read_text() + client.part.log.read_text()
    assert old.value not in written
    assert new.value not in written


def test_a_refused_request_is_recorded_once(family: Family, gateway: StartGateway, tmp_path: Path) -> None:
    """A 401 is on record with its key, and is one request at the gateway: nothing was sent twice."""
    (node,) = gateway(nodes=1).nodes
    client = file_client(family, tmp_path, (node,), new_key("refused"))
    wait_requests(client, 5)
    client.part.stop()
    requests = client.requests()
    assert {(r.status, r.kid) for r in requests} == {(401, "refused")}
    assert len(read_json_lines(node.access_log)) == len(requests)


def test_the_laggard_keeps_the_key_it_read_at_boot(family: Family, gateway: StartGateway, tmp_path: Path) -> None:
    """Told never to refresh, a client goes on with its first key while another one moves, until it is told to read."""
    old, new = new_key("lag1"), new_key("lag2")
    nodes = gateway(nodes=2, keys=[old, new]).nodes
    laggard = file_client(family, tmp_path / "laggard", nodes, old, never_refresh=True)
    mover = file_client(family, tmp_path / "mover", nodes, TableKey(value=old.value, kid="mover"))
    for client in (laggard, mover):
        client.wait_first_request()
        assert client.spec.key_file is not None
        write_private(client.spec.key_file, new.value)
    wait_requests(mover, 1, kid=new.kid)
    wait_requests(laggard, len(laggard.requests()) + 10)
    assert {r.kid for r in laggard.requests()} == {old.kid}
    laggard.part.send(signal.SIGHUP)
    wait_requests(laggard, 1, kid=new.kid)
    laggard.part.stop()
    mover.part.stop()


def test_the_attacker_tries_connections_new_and_held(family: Family, gateway: StartGateway, tmp_path: Path) -> None:
    """It presents the stolen key at every node on both kinds of connection, and records each request that arrived."""
    key = new_key("stolen")
    nodes = gateway(nodes=2, keys=[key]).nodes
    stolen = write_private(tmp_path / "stolen.key", key.value)
    attacker = start_attacker(family, tmp_path, name="attacker", address="127.0.0.43", key_file=stolen, nodes=nodes)
    streams = {(node.name, held) for node in nodes for held in (False, True)}

    def served() -> bool:
        return {(r.node, r.held) for r in attacker.requests() if r.status == 200} == streams

    wait_until(served, within=40, what="it was served everywhere", part=attacker.part)
    for node in nodes:
        node.write_table([replace(key, state="revoked")])
        node.reload()
    wait_until(
        lambda: first_refusals(attacker.requests()).keys() == streams,
        within=20,
        what="it was refused everywhere",
        part=attacker.part,
    )
    attacker.part.stop()
    recorded = [(r.node, r.status) for r in attacker.requests()]
    logged = [(node.name, line["status"]) for node in nodes for line in read_json_lines(node.access_log)]
    assert sorted(recorded) == sorted(logged)
    assert {status for _, status in recorded} == {200, 401}


def test_a_client_waits_for_its_first_key(family: Family, gateway: StartGateway, tmp_path: Path) -> None:
    """No request leaves a client before its first read is complete."""
    key = new_key("late")
    (node,) = gateway(nodes=1, keys=[key]).nodes
    missing = tmp_path / "late.key"
    spec = ClientSpec(name="client-late", address="127.0.0.42", source="file", key_file=missing)
    client = start_client(family, tmp_path, spec=spec, nodes=[node])
    wait_until(lambda: "could not read" in client.part.log.read_text(), within=20, what="it tried", part=client.part)
    assert client.requests() == ()
    write_private(missing, key.value)
    wait_requests(client, 2)
    client.part.stop()
    assert {r.status for r in client.requests()} == {200}


def test_an_idle_connection_that_the_server_closed_costs_nothing(
    family: Family, gateway: StartGateway, tmp_path: Path
) -> None:
    """A slow client notices that a reload closed its idle connection, and opens another in time."""
    key = new_key("idle")
    (node,) = gateway(nodes=1, keys=[key]).nodes
    client = file_client(family, tmp_path, (node,), key, rate=0.5)
    for number in (1, 2, 3):
        wait_requests(client, number)
        node.reload()
    wait_requests(client, 4)
    client.part.stop()
    assert {(r.status, r.error) for r in client.requests()} == {(200, "")}
    assert len({line["connection"] for line in read_json_lines(node.access_log)}) >= 3


def test_a_node_that_is_down_is_recorded_as_an_error(family: Family, gateway: StartGateway, tmp_path: Path) -> None:
    """Requests to a dead node are errors of their own kind, and the other node is served on."""
    key = new_key("down")
    alive, dead = gateway(nodes=2, keys=[key]).nodes
    client = file_client(family, tmp_path, (alive, dead), key)
    client.wait_first_request()
    dead.part.kill()
    wait_until(
        lambda: any(r.error == "connection_refused" for r in client.requests()), within=20, what="an error is recorded"
    )
    wait_requests(client, len(client.requests()) + 4)
    client.part.stop()
    assert {r.status for r in client.requests() if r.node == alive.name} == {200}
    assert {r.error for r in client.requests() if r.node == dead.name} <= {
        "",
        "connection_broken",
        "connection_refused",
    }


def test_a_request_whose_answer_is_lost_is_never_sent_again(family: Family, tmp_path: Path) -> None:
    """A connection that breaks after the request is one error on record and one request on the wire."""
    received: list[bytes] = []

    class Deaf(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received.append(self.request.recv(65536))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Deaf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        node = cast("GatewayNode", SimpleNamespace(name="deaf", address=address))
        client = file_client(family, tmp_path, (node,), new_key("deaf"))
        wait_requests(client, 5)
        client.part.stop()
        server.shutdown()
    assert {r.error for r in client.requests()} == {"connection_broken"}
    assert len(received) == len(client.requests())
