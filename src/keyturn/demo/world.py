"""Everything around the daemon, and the daemon: real parts, clients, and the folders that they write to."""

import base64
import contextlib
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.demo.authority import Authority
from keyturn.demo.backends import ATTACKER, ATTACKER_ADDRESS, BACKENDS, Backend
from keyturn.demo.client_keys import kid_of
from keyturn.demo.client_process import Client, start_attacker, start_client
from keyturn.demo.daemon import ENV, Daemon, configuration
from keyturn.demo.gateway import Gateway, TableKey, start_gateway
from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, python_module
from keyturn.demo.timing import Timing
from keyturn.demo.traffic import Traffic
from keyturn.demo.waiting import wait_until
from keyturn.plugins.gateway.key_format import mint_key

RECEIVER_WITHIN = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All parts of one run."""

    family: Family
    folder: Path
    gateway: Gateway
    backend: Backend
    clients: tuple[Client, ...]
    traffic: Traffic
    authority: Authority
    daemon: Daemon
    old_kid: str

    @property
    def new_kid(self) -> str:
        """The key that the rotation brought; empty while there is none."""
        return next(iter(self.authority.kids - {self.old_kid}), "")

    def client(self, name: str) -> Client:
        """One client, by name."""
        return next(client for client in self.clients if client.spec.name == name)

    def stop_clients(self) -> None:
        """End the traffic; each client finishes the request that it is at."""
        for client in self.clients:
            client.part.ask_to_stop()
        for client in self.clients:
            client.part.stop()


@contextlib.contextmanager
def build_world(
    family: Family, folder: Path, *, backend: str, timing: Timing, laggards: Sequence[str], attacker: bool
) -> Iterator[World]:
    """Start everything; the rotation is scheduled for a few seconds after the daemon's start."""
    first = mint_key(ENV).reveal()
    old_kid = kid_of(first)
    gateway = start_gateway(
        family, folder / "gateway", keys=[TableKey(value=first, kid=old_kid)], keepalive_min=timing.keepalive_min
    )
    write_private(folder / "gateway" / "probe.secret", secrets.token_hex(32))
    store = BACKENDS[backend](family, folder / "backend", first)
    clients = _start_clients(family, folder / "clients", gateway=gateway, backend=store, laggards=laggards)
    if attacker:
        stolen = write_private(folder / "clients" / "stolen.key", first)
        clients += (
            start_attacker(
                family,
                folder / "clients",
                name=ATTACKER,
                address=ATTACKER_ADDRESS,
                key_file=stolen,
                nodes=gateway.nodes,
            ),
        )
    daemon_folder = folder / "daemon"
    receiver = _start_receiver(family, daemon_folder)
    port = family.free_port()
    daemon = Daemon(family=family, folder=daemon_folder, port=port, environment=store.environment())
    for client in clients:
        client.wait_first_request()
    daemon.write_config(
        configuration(folder=daemon_folder, port=port, backend=store, gateway=gateway, receiver=receiver, timing=timing)
    )
    daemon.start()
    daemon.wait_ready()
    authority = Authority(gateway.nodes)
    with contextlib.closing(authority):
        yield World(
            family=family,
            folder=folder,
            gateway=gateway,
            backend=store,
            clients=clients,
            traffic=Traffic(client.record for client in clients),
            authority=authority,
            daemon=daemon,
            old_kid=old_kid,
        )


def _start_clients(
    family: Family, folder: Path, *, gateway: Gateway, backend: Backend, laggards: Sequence[str]
) -> tuple[Client, ...]:
    folder.mkdir(parents=True)
    specs = [replace(spec, never_refresh=spec.name in laggards) for spec in backend.clients()]
    return tuple(start_client(family, folder, spec=spec, nodes=gateway.nodes) for spec in specs)


def _start_receiver(family: Family, folder: Path) -> str:
    """The address that keyturn sends its notifications to."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    file = write_private(folder / "webhook.secret", secret)
    port = family.free_port()
    command = python_module("keyturn.demo.receiver", str(port), str(file), str(folder / "notifications.jsonl"))
    part = family.start("receiver", command, log=folder / "receiver.log")
    wait_until(lambda: listens(port), within=RECEIVER_WITHIN, what="the receiver listened", part=part)
    return f"http://{LOOPBACK}:{port}/"


def listens(port: int) -> bool:
    """Whether anybody takes connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
