"""What the configuration has wired together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from keyturn.domain.errors import Refused
from keyturn.domain.observations import SourceKind
from keyturn.domain.policy import Policy
from keyturn.domain.schedule import Schedule
from keyturn.ports.backend import Backend, Target
from keyturn.ports.issuer import Authority, Issuer
from keyturn.ports.notifier import Notifier
from keyturn.ports.usage import UsageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredCredential:
    """One configured credential and everything that it is made of."""

    name: str
    issuer: Issuer
    targets: Mapping[str, Target]
    """By name, in the order in which they are promoted."""
    policy: Policy
    schedule: Schedule | None
    sources: tuple[str, ...]
    """Usage sources that cover it; silence is known only below the watermark of every one."""
    clients: frozenset[str] = frozenset()
    """Clients declared in the configuration: known from the start."""
    notifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredSource:
    """One configured usage source: polled, or pushed to over HTTP when `poll` is None."""

    name: str
    kind: SourceKind
    sees_failures: bool
    resolution: timedelta
    poll: UsageSource | None
    lag: timedelta = timedelta(0)
    """How far behind the present its watermark runs when all is well."""
    sees_all: bool = False
    """Whether every use of the credentials that name it passes this one source: what another has lost, it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everything that is configured."""

    credentials: Mapping[str, WiredCredential]
    sources: Mapping[str, WiredSource] = field(default_factory=dict)
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    backends: Mapping[str, Backend] = field(default_factory=dict)
    authorities: Mapping[str, Authority] = field(default_factory=dict)

    def credential(self, name: str) -> WiredCredential:
        """One credential. Raises `Refused` naming those that exist."""
        try:
            return self.credentials[name]
        except KeyError:
            known = ", ".join(sorted(self.credentials)) or "none"
            raise Refused(f"no credential is called {name!r}; configured are: {known}") from None

    def covered_by(self, source: str) -> frozenset[str]:
        """Names of the credentials that a usage source may speak for."""
        return frozenset(name for name, wired in self.credentials.items() if source in wired.sources)
