"""A KV mount of a real OpenBao, the plugin at it, and a back door past the plugin."""

import socket
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import requests

from keyturn.demo.openbao import OpenBao
from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault import vault_kv2
from keyturn.ports.plugin import Surroundings
from keyturn.testing.backend import TargetHarness, Trouble
from keyturn.testing.fakes import FakeClock

MOUNTS = count(1)
NEIGHBOUR = {"user": "app"}
"""What stands beside the credential in the document."""


class Mount:
    """One KV mount with a policy for keyturn, seen and changed with the root token."""

    def __init__(self, bao: OpenBao, *, max_versions: int = 0) -> None:
        self.bao = bao
        self.name = f"kv{next(MOUNTS)}"
        bao.create_kv_mount(self.name, max_versions=max_versions)
        self.role = bao.create_keyturn_role(
            mount=self.name, secrets_prefix="app/", pending_prefix="keyturn/", name=self.name
        )
        self.references: dict[str, str] = {
            "env:SECRET_ID": self.role.secret_id,
            "env:TOKEN": bao.create_token(self.name, policies=(self.name,)),
            "env:POWERLESS": bao.create_token(f"{self.name}-powerless", policies=("default",)),
        }
        self.clock = FakeClock()
        self._paths = count(1)
        self._quota = False
        self._session = requests.Session()
        self._session.trust_env = False

    def new_path(self) -> str:
        return f"app/secret-{next(self._paths)}"

    def backend(self, auth: Mapping[str, object], **options: object) -> vault_kv2:
        """The plugin at this mount."""
        surroundings = Surroundings(clock=self.clock, resolve=self.resolve)
        read = {"address": self.bao.address, "mount": self.name, "auth": auth, **options}
        return vault_kv2("kv", read, surroundings)

    @property
    def approle(self) -> dict[str, object]:
        return {"approle": {"role_id": self.role.role_id, "secret_id": "env:SECRET_ID"}}

    def resolve(self, reference: str) -> SecretValue:
        try:
            return SecretValue(self.references[reference])
        except KeyError:
            raise ConfigError(f"{reference}: not set") from None

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> tuple[int, dict[str, Any]]:
        """One request with the root token, past any throttling."""
        self.throttle(False)
        return self.send_throttled(method, path, body)

    def send_text(self, method: str, path: str, text: str | None = None) -> str:
        """One request with the root token, whose body and answer no parser of ours has seen."""
        headers = {"X-Vault-Token": self.bao.root_token}
        url = f"{self.bao.address}/v1/{path}"
        return self._session.request(method, url, data=text, headers=headers, timeout=10).text

    def send_throttled(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {"X-Vault-Token": self.bao.root_token}
        url = f"{self.bao.address}/v1/{path}"
        answer = self._session.request(method, url, json=body, headers=headers, timeout=10)
        return answer.status_code, answer.json() if answer.content else {}

    def throttle(self, on: bool) -> None:
        """Have the server answer 429 to every request to this mount, or no longer."""
        if on == self._quota:
            return
        self._quota = on
        path = f"sys/quotas/rate-limit/{self.name}"
        if not on:
            self.send_throttled("DELETE", path)
            return
        limit = {"path": f"{self.name}/", "rate": 1, "interval": "1h"}
        assert self.send_throttled("POST", path, limit)[0] == 204
        while self.send_throttled("GET", f"{self.name}/config")[0] != 429:
            pass


class VaultHarness(TargetHarness):
    """One secret of the mount, with a neighbour of ours in its document."""

    def __init__(self, mount: Mount, auth: Mapping[str, object]) -> None:
        self.mount = mount
        self.path = mount.new_path()
        self._auth = auth
        self._backends: list[vault_kv2] = []

    def target(self) -> Any:
        self.mount.throttle(False)
        return self.backend(self._auth).target({"path": self.path})

    def backend(self, auth: Mapping[str, object], **options: object) -> vault_kv2:
        made = self.mount.backend(auth, **options)
        self._backends.append(made)
        return made

    def readers_get(self) -> str | None:
        status, body = self.mount.send("GET", f"{self.mount.name}/data/{self.path}")
        return None if status == 404 else body["data"]["data"].get("value")

    def overwrite(self, value: str) -> None:
        self.mount.bao.write_secret(self.mount.name, self.path, {**NEIGHBOUR, "value": value})

    def overwrite_with_no_fields(self) -> None:
        self.mount.send("DELETE", f"{self.mount.name}/data/{self.path}")

    def beside(self) -> object:
        document = self.mount.send("GET", f"{self.mount.name}/data/{self.path}")[1]["data"]["data"]
        return {name: value for name, value in document.items() if name != "value"}

    def overwrite_with_no_text(self) -> None:
        self.mount.send("POST", f"{self.mount.name}/data/{self.path}", {"data": {"value": 271828}})

    def in_trouble(self, trouble: Trouble) -> Any:
        target = {"path": self.path}
        if trouble is Trouble.DENIED:
            return self.backend({"token": "env:POWERLESS"}).target(target)
        if trouble is Trouble.UNREACHABLE:
            return self.backend(self._auth, address=f"http://127.0.0.1:{closed_port()}").target(target)
        self.mount.throttle(True)
        return self.backend(self._auth).target(target)

    def stored(self) -> set[str]:
        name = self.mount.name
        copies = f"keyturn/{self.path}/value"
        keys = self.mount.send("LIST", f"{name}/metadata/{copies}")[1].get("data", {}).get("keys", [])
        found = set()
        for path in [self.path, *(f"{copies}/{key}" for key in keys)]:
            versions = self.mount.send("GET", f"{name}/metadata/{path}")[1].get("data", {}).get("versions", {})
            for number in versions:
                data = self.mount.send("GET", f"{name}/data/{path}?version={number}")[1].get("data", {}).get("data")
                found |= {str(value) for name, value in (data or {}).items() if name not in NEIGHBOUR}
        return found

    def close(self) -> None:
        self.mount.throttle(False)
        for backend in self._backends:
            backend.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


MakeHarness = Callable[[Mapping[str, object]], VaultHarness]
