"""What the usage source `vault-audit-log` reads from the configuration."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field

from keyturn.plugins.logs import ByNetwork
from keyturn.plugins.options import Duration, LastingDuration, Options


class ClientBy(StrEnum):
    """By what clients are told apart."""

    ENTITY_ID = "entity_id"
    """The identity that all its ways to log in share; steadiest, where entities are kept."""
    DISPLAY_NAME = "display_name"
    """What the way to log in calls it: `approle`, `token-checkout`, `ldap-ada`."""
    ROLE_NAME = "role_name"
    """The role of an AppRole, Kubernetes or JWT login."""
    REMOTE_ADDRESS = "remote_address"
    """Where the request came from."""


class AuditLogOptions(Options):
    """Options of the usage source `vault-audit-log`."""

    files: tuple[Path, ...] = Field(min_length=1)
    """The `file` audit device's log of each node; rotated siblings are found beside it."""
    ours: tuple[str, ...] = Field(min_length=1)
    """keyturn's own entity ids, display names or role names: its reads are nobody's use."""
    namespace: str = ""
    """Whose lines are read: those of other namespaces, where the same path is another secret, are left out. The log cannot
    tell a wrong one from a quiet one; `check` compares it with where keyturn's own reads are logged."""
    client: ClientBy = ClientBy.ENTITY_ID
    names: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Client names by what `client` finds, so that they are called as other sources call them. With any, what is not
    among them is `unmapped`."""
    networks: ByNetwork = Field(default_factory=dict)
    """Client names by address or network, for `client: remote_address`."""
    resolution: LastingDuration = timedelta(seconds=10)
    lag: Duration = timedelta(seconds=2)
    """How late a line may be written after the time that it bears."""
    accept_gaps_before: AwareDatetime | None = None
    """Lines lost before this time are taken for lost for good: an operator's word."""
