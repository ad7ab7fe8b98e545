"""The client that AWS is called with: credentials, timeouts, and wire logs that stay shut."""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError
from pydantic import Field, field_validator

from keyturn.plugins.options import Options

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class BackendOptions(Options):
    """What the configuration says of one AWS account and region."""

    region: str = Field(min_length=1)
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^/@\s]+")
    """Where Secrets Manager answers, when not at AWS's own address; STS's is set by AWS_ENDPOINT_URL_STS."""
    profile: str | None = Field(default=None, min_length=1)
    role_arn: str | None = Field(default=None, pattern=r"^arn:[\w-]+:iam::\d{12}:role/\S+$")
    timeout: float = Field(default=15.0, ge=0.5, le=300, allow_inf_nan=False)
    """Seconds that one call of the port may take, all its requests together."""

    @field_validator("profile")
    @classmethod
    def _profile_exists(cls, profile: str | None) -> str | None:
        if profile is not None and profile not in botocore.session.Session().available_profiles:
            raise ValueError(f"there is no profile {profile!r} in the AWS configuration files")
        return profile


class Connection:
    """Makes the client at first use, because finding credentials may call a metadata endpoint."""

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._client: SecretsManagerClient | None = None
        close_wire_logs()

    @property
    def request_timeout(self) -> float:
        """The longest that one request may take, with those that botocore makes before it: the credentials it finds may be
        due for renewal, and so may those of the role that is assumed with them. Each has its share, and half of that to
        connect in and half to read in."""
        return self._options.timeout / 2

    def client(self) -> SecretsManagerClient:
        """The client, safe to share between threads. Raises what botocore raises for unusable credentials."""
        with self._lock:
            if self._client is None:
                session = self._session()
                self._client = boto3.Session(botocore_session=session).client(
                    "secretsmanager",
                    region_name=self._options.region,
                    endpoint_url=self._options.endpoint_url,
                    config=self._config(),
                )
                close_wire_logs()  # creating a client may have brought more of botocore's loggers into being
            return self._client

    def forget(self, client: SecretsManagerClient | None) -> None:
        """Have the next call look for credentials anew: a client keeps for ever those that it was made with, or without.
        One that another thread has replaced already is gone."""
        with self._lock:
            if self._client is client:
                self._close()

    def close(self) -> None:
        """Close held connections; the next call opens new ones."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _config(self) -> Config:
        requests = 3 if self._options.role_arn else 2
        share = self.request_timeout / requests / 2
        return Config(
            connect_timeout=share,
            read_timeout=share,
            # Retrying is the caller's: it knows the lease and the backoff, and every call of ours may be repeated.
            retries={"total_max_attempts": 1, "mode": "standard"},
            user_agent_extra="keyturn",
        )

    def _session(self) -> botocore.session.Session:
        session = botocore.session.Session(profile=self._options.profile)
        # Whatever the chain of credentials asks by itself (STS, SSO) is bounded as our own requests are.
        session.set_default_client_config(self._config())
        if self._options.role_arn is None:
            return session
        assumed = botocore.session.Session(profile=self._options.profile)
        provider = _AssumedRole(session, self._options.role_arn, self._options.region, self._config())
        assumed.register_component("credential_provider", CredentialResolver([provider]))
        return assumed


class _AssumedRole(CredentialProvider):
    """Credentials of a role, taken from STS and renewed before they expire."""

    METHOD = "assume-role"

    def __init__(self, source: botocore.session.Session, role_arn: str, region: str, config: Config) -> None:
        super().__init__(session=source)
        self._source = source
        self._role_arn = role_arn
        self._region = region
        self._sts_config = config

    def load(self) -> DeferredRefreshableCredentials:
        held = self._source.get_credentials()
        if held is None:
            raise NoCredentialsError

        sts = functools.partial(self._source.create_client, region_name=self._region, config=self._sts_config)
        fetcher = AssumeRoleCredentialFetcher(
            sts, held, self._role_arn, extra_args={"RoleSessionName": "keyturn", "DurationSeconds": 3600}
        )
        return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=self.METHOD)


class _NoDebug(logging.Filter):
    """Lets no DEBUG record through: botocore writes whole requests and responses at that level, values included."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


_NO_DEBUG = _NoDebug()


def close_wire_logs() -> None:
    """Keep botocore's request and response dumps out of every log, whatever level and handlers the host sets later.

    A filter on a logger does not hold for its children, so each one of botocore's gets it; the level on the parent
    covers those that come into being afterwards.
    """
    for name in ("boto3", "botocore"):
        parent = logging.getLogger(name)
        parent.setLevel(max(parent.level, logging.INFO))
        for known in [name, *(child for child in logging.root.manager.loggerDict if child.startswith(f"{name}."))]:
            logging.getLogger(known).addFilter(_NO_DEBUG)
