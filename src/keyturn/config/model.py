"""A configuration that has been read and found sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from keyturn.config.document import Document
from keyturn.domain.observations import SourceKind
from keyturn.domain.policy import Policy
from keyturn.domain.schedule import Schedule
from keyturn.runtime.retention import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    """One instance of a plugin."""

    name: str
    type: str
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledConfig(PluginConfig):
    """A usage source that is asked."""

    sees_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig:
    """A usage source that reports over HTTP."""

    name: str
    kind: SourceKind
    resolution: timedelta
    sees_failures: bool
    sees_all: bool
    lag: timedelta
    reports_per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """One place that readers get a credential from."""

    name: str
    backend: str
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialConfig:
    """One credential."""

    name: str
    issuer: str
    issuer_options: Mapping[str, object]
    targets: tuple[TargetConfig, ...]
    sources: tuple[str, ...]
    clients: frozenset[str]
    notifiers: tuple[str, ...]
    policy: Policy
    schedule: Schedule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the daemon is told."""

    document: Document
    """Where it was read from, to say where a plugin finds fault."""
    store_url: str
    store_password: str | None
    """A reference."""
    state_dir: Path
    host: str
    port: int
    tick: timedelta
    retention: Retention
    backends: Mapping[str, PluginConfig]
    issuers: Mapping[str, PluginConfig]
    sources: Mapping[str, PolledConfig | PushConfig]
    notifiers: Mapping[str, PluginConfig]
    credentials: Mapping[str, CredentialConfig]

    @property
    def folder(self) -> Path:
        """Where the file is: relative paths and `file:` references start here."""
        return self.document.file.parent
