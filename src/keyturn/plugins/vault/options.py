"""What the configuration says of a Vault or OpenBao backend and of its targets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from keyturn.plugins.options import Duration, Options


def _reference(given: str) -> str:
    scheme, colon, rest = given.partition(":")
    if not (colon and rest and scheme.isalpha() and scheme.islower()):
        raise ValueError("give a reference to the secret, such as env:NAME or file:/path, not the secret itself")
    return given


def _path(given: str) -> str:
    segments = given.split("/")
    if any(segment in {"", ".", ".."} for segment in segments) or not given.isprintable():
        raise ValueError('write a path like "app/api-key": no slash at its ends, no empty, "." or ".." part')
    return given


def _address(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('write an address like "https://vault.example.net:8200"')
    if parts.username or parts.password:
        raise ValueError("an address holds no user and no password")
    return given.rstrip("/")


def _positive(given: timedelta) -> timedelta:
    if given <= timedelta(0):
        raise ValueError("must be longer than zero")
    return given


SecretReference = Annotated[str, AfterValidator(_reference)]
KvPath = Annotated[str, AfterValidator(_path)]


class AppRoleOptions(Options):
    """Login with a role id and a secret id; the tokens that it gives are renewed, and made anew when they end."""

    role_id: str = Field(min_length=1)
    secret_id: SecretReference
    mount: KvPath = "approle"


class AuthOptions(Options):
    """How keyturn proves who it is: exactly one way."""

    token: SecretReference | None = None
    approle: AppRoleOptions | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> AuthOptions:
        if (self.token is None) == (self.approle is None):
            raise ValueError("give exactly one of `token` and `approle`")
        return self


class VaultOptions(Options):
    """One KV version 2 mount."""

    address: Annotated[str, AfterValidator(_address)]
    auth: AuthOptions
    mount: KvPath = "secret"
    prefix: KvPath = "keyturn"
    """keyturn's own copies lie under it, in the same mount; no reader's policy may cover it."""
    namespace: str | None = None
    timeout: Annotated[Duration, AfterValidator(_positive)] = timedelta(seconds=10)
    """Bounds each call of the port, all its requests together."""
    ca_bundle: Path | None = None
    """Certificates to trust instead of the system's."""


class TargetOptions(Options):
    """One secret of the mount; the credential is one field of its document, the other fields are left alone."""

    path: KvPath
    field: str = Field(default="value", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100)
