"""The backend `aws-secrets-manager`: one AWS account and region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import Field

from keyturn.domain.errors import Failure, Transient
from keyturn.plugins.aws.connection import BackendOptions, Connection
from keyturn.plugins.aws.secret import Secret
from keyturn.plugins.aws.target import SecretTarget
from keyturn.plugins.options import Options, read_options
from keyturn.ports.clock import Clock
from keyturn.ports.plugin import Surroundings


class TargetOptions(Options):
    """What a credential's `targets:` entry says of one secret."""

    secret_id: str = Field(min_length=1, max_length=2048)
    """Its name or ARN."""
    field: str | None = Field(default=None, min_length=1)
    """The field of a JSON document that the credential is; without it the whole SecretString."""


class SecretsManager:
    """One connection to AWS Secrets Manager, shared by its targets."""

    def __init__(self, name: str, options: BackendOptions, clock: Clock) -> None:
        self._name = name
        self._options = options
        self._clock = clock
        self._connection = Connection(options)
        self._targets: dict[tuple[str, str | None], SecretTarget] = {}

    def __repr__(self) -> str:
        return f"SecretsManager({self._name!r}, region={self._options.region!r})"

    def target(self, options: object) -> SecretTarget:
        read = read_options(TargetOptions, options, where=f"target of {self._name}")
        place = f"{self._name}: secret {read.secret_id}"

        def open_secret() -> Secret:
            return Secret(
                read.secret_id,
                place=place,
                connection=self._connection,
                clock=self._clock,
                timeout=self._options.timeout,
            )

        timeout = timedelta(seconds=self._options.timeout)
        target = SecretTarget(
            place,
            open_secret,
            location=read.secret_id,
            field=read.field,
            clock=self._clock,
            timeout=timeout,
        )
        self._targets[read.secret_id, read.field] = target
        return target

    def check(self) -> Sequence[str]:
        # A dict, because two targets may share one trouble, and lines keep their order.
        lines: dict[str, None] = {}
        for target in list(self._targets.values()):
            try:
                for line in target.problems(region=self._options.region):
                    lines[line] = None
            except Transient as failure:
                lines[failure.message] = None
                break  # the others are behind the same endpoint, and each would wait for its timeout
            except Failure as failure:
                lines[failure.message] = None
        return list(lines)

    def close(self) -> None:
        self._connection.close()


def aws_secrets_manager(name: str, options: Mapping[str, object], surroundings: Surroundings) -> SecretsManager:
    """The factory behind the entry point. Raises `ConfigError` naming the wrong key."""
    return SecretsManager(name, read_options(BackendOptions, options, where=f"backends.{name}"), surroundings.clock)
