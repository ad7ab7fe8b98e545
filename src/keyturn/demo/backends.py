"""The two backends of the demo: the secret, who reads it, what keyturn may do there, and what it leaves there."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from keyturn.demo.client_process import ClientSpec
from keyturn.demo.moto import (
    KEYTURN_ACTIONS,
    READER_ACTIONS,
    REGION,
    MotoServer,
    start_moto,
    write_credentials,
)
from keyturn.demo.openbao import OpenBao, start_agent, start_openbao, write_private
from keyturn.demo.processes import Family

FIELD = "key"
REFRESH = 1.0
SLOW = 0.5
FAST = 10.0

NAMES = ("storefront", "checkout", "search", "mobile", "billing", "reports", "partner", "nightly")
FED = "reports"
"""Gets its key through code that nobody here wrote."""
RARE = frozenset({"partner", "nightly"})
LAGGARD = "billing"
ATTACKER = "attacker"
FIRST_ADDRESS = 11

ADDRESSES = {name: f"127.0.0.{FIRST_ADDRESS + number}" for number, name in enumerate(NAMES)}
ATTACKER_ADDRESS = "127.0.0.66"


class Backend(Protocol):
    """Where the credential lives."""

    name: str

    def options(self) -> Mapping[str, object]:
        """The `backends:` entry of keyturn's configuration."""
        ...

    def target(self) -> Mapping[str, object]:
        """The credential's `targets:` entry, without its backend."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What keyturn's process needs in its environment: paths, never values."""
        ...

    def clients(self) -> tuple[ClientSpec, ...]:
        """The eight clients, as they read from here."""
        ...

    def served(self) -> str:
        """The value that readers get."""
        ...

    def overwrite(self, value: str) -> None:
        """Put a value there by hand, behind keyturn's back."""
        ...

    def leftovers(self) -> list[str]:
        """Copies that keyturn should have removed, one line each."""
        ...


class VaultBackend:
    """A real OpenBao; keyturn logs in by AppRole with least rights."""

    name = "vault"
    mount = "apps"
    path = "shop/gateway"
    prefix = "keyturn"

    def __init__(self, family: Family, folder: Path, value: str) -> None:
        self._folder = folder
        self._bao: OpenBao = start_openbao(family, folder / "openbao")
        self._bao.create_kv_mount(self.mount)
        self._bao.write_secret(self.mount, self.path, {FIELD: value})
        role = self._bao.create_keyturn_role(mount=self.mount, secrets_prefix="shop/", pending_prefix=f"{self.prefix}/")
        self._role_id = role.role_id
        self._secret_id = write_private(folder / "keyturn-secret-id", role.secret_id)
        reader = self._bao.create_reader("clients", mount=self.mount, path=self.path)
        self._token = write_private(folder / "reader-token", reader)
        self._rendered = folder / "agent" / "key"
        self._rendered.parent.mkdir(parents=True)
        start_agent(
            family,
            folder / "agent",
            bao=self._bao,
            name="bao-agent",
            token_file=self._token,
            mount=self.mount,
            path=self.path,
            field=FIELD,
            destination=self._rendered,
            interval=REFRESH,
        )

    def options(self) -> Mapping[str, object]:
        return {
            "type": "vault-kv2",
            "address": self._bao.address,
            "mount": self.mount,
            "prefix": self.prefix,
            "auth": {"approle": {"role_id": self._role_id, "secret_id": f"file:{self._secret_id}"}},
        }

    def target(self) -> Mapping[str, object]:
        return {"path": self.path, "field": FIELD}

    def environment(self) -> Mapping[str, str]:
        return {}

    def clients(self) -> tuple[ClientSpec, ...]:
        def spec(name: str) -> ClientSpec:
            if name == FED:
                return replace(_spec(name), source="file", key_file=self._rendered)
            return replace(
                _spec(name),
                source="vault",
                backend=self._bao.address,
                secret=f"{self.mount}/{self.path}",
                field=FIELD,
                credentials=self._token,
            )

        return tuple(spec(name) for name in NAMES)

    def served(self) -> str:
        return self._bao.read_secret(self.mount, self.path)[FIELD]

    def overwrite(self, value: str) -> None:
        self._bao.write_secret(self.mount, self.path, {FIELD: value})

    def leftovers(self) -> list[str]:
        lines = [f"{self.mount}/{path}" for path in self._below(f"{self.prefix}/")]
        metadata = self._bao.call("GET", f"{self.mount}/metadata/{self.path}")["data"]
        for number, version in metadata["versions"].items():
            readable = not version["destroyed"] and not version["deletion_time"]
            if readable and int(number) != metadata["current_version"]:
                lines.append(f"{self.mount}/{self.path}: version {number} can still be read")
        return lines

    def _below(self, folder: str) -> list[str]:
        # OpenBao reports an empty folder as absent, so the parent is asked whether it is there.
        above, _, name = folder.rstrip("/").rpartition("/")
        listed = self._list(f"{above}/" if above else "")
        if f"{name}/" not in listed:
            return []
        found = []
        for child in self._list(folder):
            path = f"{folder}{child}"
            found += self._below(path) if child.endswith("/") else [path]
        return found

    def _list(self, folder: str) -> list[str]:
        answer = self._bao.call("LIST", f"{self.mount}/metadata/{folder}")
        return [str(key) for key in answer["data"]["keys"]]


class AwsBackend:
    """moto's server, which refuses unknown keys and what a user's policy does not allow."""

    name = "aws"
    secret = "shop/gateway"  # noqa: S105  # a name

    def __init__(self, family: Family, folder: Path, value: str) -> None:
        self._moto: MotoServer = start_moto(family, folder / "moto")
        self._moto.create_secret(self.secret, json.dumps({FIELD: value, "owner": "shop"}))
        launcher = self._moto.create_user("launcher", actions=("*",))
        keyturn = self._moto.create_user("keyturn", actions=KEYTURN_ACTIONS)
        reader = self._moto.create_user("clients", actions=READER_ACTIONS)
        self._keyturn = write_credentials(folder / "keyturn-credentials", keyturn)
        self._reader = write_credentials(folder / "reader-credentials", reader)
        self._moto.enforce_auth(launcher)

    def options(self) -> Mapping[str, object]:
        return {"type": "aws-secrets-manager", "region": REGION, "endpoint_url": self._moto.endpoint_url}

    def target(self) -> Mapping[str, object]:
        return {"secret_id": self.secret, "field": FIELD}

    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self._keyturn),
            "AWS_CONFIG_FILE": str(self._keyturn.with_name("no-config")),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def clients(self) -> tuple[ClientSpec, ...]:
        def spec(name: str) -> ClientSpec:
            return replace(
                _spec(name),
                source="aws-cache" if name == FED else "aws",
                backend=self._moto.endpoint_url,
                secret=self.secret,
                field=FIELD,
                credentials=self._reader,
            )

        return tuple(spec(name) for name in NAMES)

    def served(self) -> str:
        answer = self._moto.secretsmanager().get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        return str(json.loads(answer["SecretString"])[FIELD])

    def overwrite(self, value: str) -> None:
        client, text = self._moto.secretsmanager(), json.dumps({FIELD: value, "owner": "shop"})
        # In two steps: a put with AWSCURRENT takes moto's labels off the wrong version.
        current = client.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")["VersionId"]
        put = client.put_secret_value(SecretId=self.secret, SecretString=text, VersionStages=["by-hand"])["VersionId"]
        move = client.update_secret_version_stage
        move(SecretId=self.secret, VersionStage="AWSCURRENT", MoveToVersionId=put, RemoveFromVersionId=current)
        move(SecretId=self.secret, VersionStage="by-hand", RemoveFromVersionId=put)

    def leftovers(self) -> list[str]:
        # No call removes a version: what is left of ours would be a label.
        stages = self._moto.secretsmanager().describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        return [
            f"{self.secret}: version {version} still has the label {label}"
            for version, labels in stages.items()
            for label in labels
            if label not in ("AWSCURRENT", "AWSPREVIOUS")
        ]


def _spec(name: str) -> ClientSpec:
    return ClientSpec(
        name=name,
        address=ADDRESSES[name],
        source="file",
        rate=SLOW if name in RARE else FAST,
        refresh=REFRESH,
    )


BACKENDS: Mapping[str, type[VaultBackend] | type[AwsBackend]] = {"vault": VaultBackend, "aws": AwsBackend}
