"""moto's server as a process of its own: AWS Secrets Manager and IAM over HTTP on loopback."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import requests
from botocore.config import Config

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, Part, python_module
from keyturn.demo.waiting import PartFailed, wait_until

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

REGION = "eu-central-1"
READY_WITHIN = 30.0

# What keyturn needs on the secrets it owns, and no more: it never creates or deletes a secret.
KEYTURN_ACTIONS = (
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:ListSecretVersionIds",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
)
# The caching client describes before it reads.
READER_ACTIONS = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """What a process signs its AWS calls with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


# Without enforced authentication moto takes any key.
ANY_KEY = AccessKey(access_key_id="AKIADEMOLAUNCHER0000", secret_access_key="unchecked")  # noqa: S106


class MotoServer:
    """A running moto server and the launcher's way into it."""

    def __init__(self, *, part: Part, port: int) -> None:
        self.part = part
        self.endpoint_url = f"http://{LOOPBACK}:{port}"
        self.region = REGION
        self._key = ANY_KEY

    def __repr__(self) -> str:
        return f"MotoServer({self.endpoint_url!r})"

    def secretsmanager(self, key: AccessKey | None = None) -> "SecretsManagerClient":
        return secretsmanager_client(self.endpoint_url, key or self._key)

    def iam(self, key: AccessKey | None = None) -> Any:
        chosen = key or self._key
        return boto3.client(
            "iam",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=chosen.access_key_id,
            aws_secret_access_key=chosen.secret_access_key,
            config=_client_config(),
        )

    def create_secret(self, name: str, value: str) -> str:
        """A secret whose first version is AWSCURRENT; returns its ARN."""
        return self.secretsmanager().create_secret(Name=name, SecretString=value)["ARN"]

    def create_user(self, name: str, *, actions: tuple[str, ...], resource: str = "*") -> AccessKey:
        """An IAM user with one access key, who may do `actions` on `resource`.

        On AWS that is the secret's ARN; moto, when it enforces at all, knows only `*`.
        """
        iam = self.iam()
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return AccessKey(access_key_id=made["AccessKeyId"], secret_access_key=made["SecretAccessKey"])

    def enforce_auth(self, launcher: AccessKey) -> None:
        """From now on refuse unknown keys and what a user's policy does not allow.

        `launcher` is the key this handle uses from then on. moto still takes inactive keys.
        """
        self._post("moto-api/reset-auth", "0")
        self._key = launcher

    def reset(self) -> None:
        """Forget everything, secrets and users alike, and take any key again."""
        self._post("moto-api/reset-auth", "inf")
        self._post("moto-api/reset", "")
        self._key = ANY_KEY

    def _post(self, path: str, body: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.endpoint_url}/{path}", data=body, timeout=10)
        if answer.status_code >= 300:
            raise PartFailed(f"moto: {path} gave {answer.status_code}")


def secretsmanager_client(endpoint_url: str, key: AccessKey) -> "SecretsManagerClient":
    return boto3.client(
        "secretsmanager",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        config=_client_config(),
    )


def write_credentials(path: Path, key: AccessKey) -> Path:
    """An AWS shared credentials file, so that no key is passed in an argument or environment."""
    lines = (
        "[default]",
        f"aws_access_key_id = {key.access_key_id}",
        f"aws_secret_access_key = {key.secret_access_key}",
    )
    return write_private(path, "\n".join(lines) + "\n")


def start_moto(family: Family, folder: Path, *, name: str = "moto") -> MotoServer:
    """A fresh server, empty, that answers."""
    port = family.free_port()
    command = python_module("moto.server", "-H", LOOPBACK, "-p", str(port))
    part = family.start(name, command, log=folder / "moto.log")
    server = MotoServer(part=part, port=port)
    with requests.Session() as session:
        session.trust_env = False

        def answers() -> bool:
            try:
                url = f"{server.endpoint_url}/moto-api/data.json"
                return session.get(url, timeout=5).status_code == 200
            except requests.RequestException:
                return False

        wait_until(answers, within=READY_WITHIN, what="moto answered", part=part)
    return server


def _client_config() -> Config:
    # A proxy of whoever runs us must not come between two processes on loopback.
    return Config(
        connect_timeout=5,
        read_timeout=10,
        proxies={},
        retries={"total_max_attempts": 3, "mode": "standard"},
    )
