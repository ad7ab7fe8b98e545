"""What the issuer `api-key` reads from the configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from keyturn.plugins.gateway.key_format import ENV
from keyturn.plugins.options import Duration, Options


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise ValueError('write a verifier\'s address as "http://host:port"')
    return text


class NodeOptions(Options):
    """One nginx node."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    address: Annotated[str, AfterValidator(_address)]
    table: Path
    """The file that the node's `map` block includes. keyturn replaces it, and keeps hidden files beside it."""
    pid_file: Path
    """The master's. keyturn must see that process in its own /proc and be allowed to signal it."""
    nginx: Path
    """The binary, for `nginx -t`; 1.19.5 or newer."""
    config: Path
    prefix: Path | None = None


class NginxMapOptions(Options):
    """Nodes whose keys stand in an nginx `map`."""

    type: Literal["nginx-map"]
    nodes: tuple[NodeOptions, ...] = Field(min_length=1)
    header: str = Field(default="X-Api-Key", pattern=r"^[A-Za-z0-9-]+$")
    probe_path: str = Field(default="/", pattern=r"^/[!-~]*$")
    """A path that takes a key; what is asked of it must change nothing. Its answer ends within 1 MiB and the timeout, else
    the connection cannot be held on which a key is tried again."""
    keepalive_min_timeout: Duration = timedelta(seconds=1)
    """nginx's own setting of that name; used only where /proc hides the master: then connections from before a reload
    count as gone after this and a second. Set `worker_shutdown_timeout` in nginx too, or one endless request keeps an old
    worker, and with it every answer unsettled."""
    timeout: Duration = timedelta(seconds=10)
    """Bounds one node's change, the wait for other writers included, and each presentation."""

    @model_validator(mode="after")
    def _apart(self) -> NginxMapOptions:
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError("each node needs a name of its own")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be longer than nothing")
        return self


class AuthorityOptions(Options):
    """Options of the issuer `api-key`."""

    verifiers: NginxMapOptions
    probe_secret: str | None = None
    """A reference to the secret that marks keyturn's presentations, the same as in the usage source `access-log`."""


class CredentialOptions(Options):
    """Options of one credential at it."""

    env: str = Field(default="prod", pattern=f"^{ENV}$", max_length=32)
