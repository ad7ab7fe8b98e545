"""The real parts around the daemons: OpenBao, gateways, clients under way, and how keyturn is told of them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from keyturn.demo.client_process import Client, ClientSpec, start_client
from keyturn.demo.gateway import Gateway, TableKey, start_gateway
from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import OpenBao, start_openbao, write_private
from keyturn.demo.processes import Family, python_module
from keyturn.demo.waiting import wait_until
from keyturn.demo.world import listens
from keyturn.plugins.gateway.key_format import mint_key, parse_kid

MOUNT = "apps"
SECRETS = "shop"
COPIES = "keyturn"
FIELD = "key"
KEPT = 100
"""Versions: more than a run makes, so that OpenBao's own list tells of all of them."""
KEEPALIVE_MIN = 0.6
"""Longer than a client leaves a connection alone: each meets a worker from before every reload."""
RATE = 4.0
REFRESH = 0.5
WITHIN = 20.0

POLICY: Mapping[str, object] = {
    "propagation": "300ms",
    "client_refresh": "1s",
    "pool_lifetime": "700ms",
    "minimum_overlap": "2s",
    "bake": "500ms",
    "soak": "2s",
    "drain": "2s",
    "silence_floor": "2s",
    "silence_few": "2s",
    "silence_unseen": "2s",
    "unseen_share": 1.0,
    "page_every": "1h",
    "retry_after": "1h",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One credential: a secret that readers get from OpenBao, checked by one authority's gateways."""

    name: str
    authority: str
    clients: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{SECRETS}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How one daemon reaches each part: as it is, or through proxies of its own."""

    openbao: str
    nodes: Mapping[str, str]
    """By node: its URL."""
    receiver: str
    """Who is told."""


@dataclass(kw_only=True)
class Ground:
    """Everything that stands while daemons come and go."""

    family: Family
    folder: Path
    openbao: OpenBao
    gateways: Mapping[str, Gateway]
    """By the name of the authority."""
    secrets: Sequence[Secret]
    first_kids: Mapping[str, str]
    addresses: Mapping[str, str]
    """By client: where it comes from."""
    receiver: str
    login: Mapping[str, object]
    call_timeout: float
    policy: Mapping[str, object]
    clients: list[Client] = field(default_factory=list)
    """Those that were ever started."""

    @property
    def ways(self) -> Ways:
        """Straight to each part."""
        nodes = {node.name: node.url for gateway in self.gateways.values() for node in gateway.nodes}
        return Ways(openbao=self.openbao.address, nodes=nodes, receiver=self.receiver)

    def start_clients(self, secret: Secret) -> list[Client]:
        """Have the clients of a credential begin, and wait for the first request of each."""
        gateway = self.gateways[secret.authority]
        token = write_private(
            self.folder / f"{secret.name}.token", self.openbao.create_reader(secret.name, mount=MOUNT, path=secret.path)
        )
        started = []
        for name in secret.clients:
            spec = ClientSpec(
                name=name,
                address=self.addresses[name],
                source="vault",
                rate=RATE,
                refresh=REFRESH,
                backend=self.openbao.address,
                secret=f"{MOUNT}/{secret.path}",
                field=FIELD,
                credentials=token,
            )
            started.append(start_client(self.family, self.folder / "clients", spec=spec, nodes=gateway.nodes))
        for client in started:
            client.wait_first_request()
        self.clients += started
        return started

    def served(self, secret: Secret) -> str:
        """The key id that readers get."""
        return parse_kid_of(self.openbao.read_secret(MOUNT, secret.path)[FIELD])

    def versions(self, secret: Secret) -> Mapping[str, Mapping[str, object]]:
        """OpenBao's own list of the secret's versions, by number."""
        found: Mapping[str, Mapping[str, object]] = self.openbao.call("GET", f"{MOUNT}/metadata/{secret.path}")["data"][
            "versions"
        ]
        return found

    def leftovers(self) -> list[str]:
        """Copies of ours that are still stored, and values that readers do not get and can still read: what a rollback
        gave back stands in the history twice, and goes with the rotation from it."""
        lines = [f"{MOUNT}/{path} is left" for path in self._below("") if path.startswith(f"{COPIES}/")]
        for secret in self.secrets:
            *former, _ = sorted(self.versions(secret).items(), key=lambda item: int(item[0]))
            lines += [
                f"{secret.path}: version {number} can still be read"
                for number, version in former
                if not version["destroyed"] and not version["deletion_time"]
                if self._value(secret, number) != self.openbao.read_secret(MOUNT, secret.path)[FIELD]
            ]
        return lines

    def _value(self, secret: Secret, number: str) -> object:
        return self.openbao.call("GET", f"{MOUNT}/data/{secret.path}?version={number}")["data"]["data"][FIELD]

    def configuration(
        self,
        *,
        store: Mapping[str, object],
        state: Path,
        port: int,
        ways: Ways | None = None,
        tick: float = 0.3,
        starting: datetime | None = None,
    ) -> dict[str, object]:
        """The whole configuration of one daemon. `starting`: when every credential is due; None: on command alone."""
        ways = ways or self.ways
        schedule = {} if starting is None else {"schedule": {"every": "1d", "starting": starting.isoformat()}}
        probe = f"file:{self.folder / 'probe.secret'}"
        timeout = f"{round(self.call_timeout * 1000)}ms"
        nodes = {
            name: [
                {
                    "name": node.name,
                    "address": ways.nodes[node.name],
                    "table": str(node.key_table),
                    "pid_file": str(node.pid_file),
                    "nginx": str(node.binary),
                    "config": str(node.config_file),
                    "prefix": str(node.folder),
                }
                for node in gateway.nodes
            ]
            for name, gateway in self.gateways.items()
        }
        return {
            "store": dict(store),
            "state_dir": str(state),
            "http": {"listen": f"{LOOPBACK}:{port}"},
            "tick": f"{round(tick * 1000)}ms",
            "backends": {
                "bao": {
                    "type": "vault-kv2",
                    "address": ways.openbao,
                    "mount": MOUNT,
                    "prefix": COPIES,
                    "auth": {"approle": dict(self.login)},
                    "timeout": timeout,
                }
            },
            "issuers": {
                name: {
                    "type": "api-key",
                    "probe_secret": probe,
                    "verifiers": {
                        "type": "nginx-map",
                        "keepalive_min_timeout": f"{round(KEEPALIVE_MIN * 1000)}ms",
                        "timeout": timeout,
                        "nodes": listed,
                    },
                }
                for name, listed in nodes.items()
            },
            "sources": {
                f"logs-{name}": {
                    "type": "access-log",
                    "files": [str(node.access_log) for node in gateway.nodes],
                    "clients": {address: name for name, address in self.addresses.items()},
                    "resolution": "500ms",
                    "lag": "200ms",
                    "probe_secret": probe,
                }
                for name, gateway in self.gateways.items()
            },
            "notifiers": {
                "on-call": {"type": "webhook", "url": ways.receiver, "secret": f"file:{self.folder / 'webhook.secret'}"}
            },
            "policies": {"seconds": dict(self.policy)},
            "credentials": {
                secret.name: {
                    "issuer": {"use": secret.authority, "env": "chaos"},
                    "targets": [{"backend": "bao", "path": secret.path, "field": FIELD}],
                    "sources": [f"logs-{secret.authority}"],
                    "clients": list(secret.clients),
                    "notify": ["on-call"],
                    "policy": "seconds",
                    **schedule,
                }
                for secret in self.secrets
            },
        }

    def _below(self, folder: str) -> Iterable[str]:
        listed = self.openbao.call("LIST", f"{MOUNT}/metadata/{folder}")["data"]["keys"]
        for child in listed:
            if child.endswith("/"):
                yield from self._below(f"{folder}{child}")
            else:
                yield f"{folder}{child}"


def parse_kid_of(value: str) -> str:
    """The public id of a key's value."""
    return value.split("_")[2]


def build_ground(
    family: Family,
    folder: Path,
    *,
    authorities: int,
    credentials: int,
    nodes: int,
    clients: int,
    busy: int,
    lively: int,
    call_timeout: float = 5.0,
    drift_every: str = "1s",
) -> Ground:
    """Start everything but daemons and clients: so many credentials at each authority, so many clients of each
    of the first `busy` credentials of each of the first `lively` authorities."""
    bao = start_openbao(family, folder / "openbao")
    bao.create_kv_mount(MOUNT, max_versions=KEPT)
    role = bao.create_keyturn_role(mount=MOUNT, secrets_prefix=f"{SECRETS}/", pending_prefix=f"{COPIES}/")
    secret_id = write_private(folder / "secret-id", role.secret_id)
    write_private(folder / "probe.secret", secrets.token_hex(32))
    gateways: dict[str, Gateway] = {}
    known: list[Secret] = []
    first_kids: dict[str, str] = {}
    for place, authority in enumerate(f"gateway{number}" for number in range(1, authorities + 1)):
        heard = busy if place < lively else 0
        ours = [
            Secret(
                name=f"{authority}-{number}",
                authority=authority,
                clients=tuple(f"{authority}-{number}-app{one}" for one in range(1, clients + 1) if number <= heard),
            )
            for number in range(1, credentials + 1)
        ]
        keys = {secret.name: mint_key("chaos") for secret in ours}
        first_kids |= {name: parse_kid(key) for name, key in keys.items()}
        for secret in ours:
            bao.write_secret(MOUNT, secret.path, {FIELD: keys[secret.name].reveal(), "owner": secret.name})
        gateways[authority] = start_gateway(
            family,
            folder / authority,
            nodes=nodes,
            name=authority,
            keys=[TableKey(value=key.reveal(), kid=parse_kid(key)) for key in keys.values()],
            keepalive_min=KEEPALIVE_MIN,
        )
        known += ours
    names = [name for secret in known for name in secret.clients]
    return Ground(
        family=family,
        folder=folder,
        openbao=bao,
        gateways=gateways,
        secrets=tuple(known),
        first_kids=first_kids,
        addresses={name: f"127.0.{1 + number // 200}.{1 + number % 200}" for number, name in enumerate(names)},
        receiver=_start_receiver(family, folder),
        login={"role_id": role.role_id, "secret_id": f"file:{secret_id}"},
        call_timeout=call_timeout,
        policy={**POLICY, "drift_every": drift_every},
    )


def _start_receiver(family: Family, folder: Path) -> str:
    words = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    file = write_private(folder / "webhook.secret", words)
    port = family.free_port()
    command = python_module("keyturn.demo.receiver", str(port), str(file), str(folder / "notifications.jsonl"))
    part = family.start("receiver", command, log=folder / "receiver.log")
    wait_until(lambda: listens(port), within=WITHIN, what="the receiver listened", part=part)
    return f"http://{LOOPBACK}:{port}/"
