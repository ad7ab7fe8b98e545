"""What the configuration has wired together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation
from keyturn.domain.observations import SourceKind
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.schedule import Schedule
from keyturn.ports.backend import Backend, Target
from keyturn.ports.issuer import Authority, Issuer
from keyturn.ports.notifier import Notifier
from keyturn.ports.usage import UsageSource

PROMOTED_EVERYWHERE = frozenset({Phase.MONITOR, Phase.RETIRE, Phase.DESTROY})


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

    def at_its_targets(self, rotation: Rotation, now: datetime) -> Rotation:
        """The rotation at the targets that are configured now. A place that is gone for good keeps no rotation from its end:
        who still reads there is seen as whoever uses the old version. Every place that is configured takes part, for nothing
        is taken away while its readers get it: one that was added, one that comes back, and one by another name."""
        own = tuple(name for name in rotation.targets if name in self.targets)
        added = tuple(name for name in self.targets if name not in own)
        if (*own, *added) == rotation.targets:
            return rotation
        # What was promised anywhere may be what an added one gives to readers: under another name it was promised there.
        given = {serial for _, serial in rotation.promised}
        promised = {(name, serial) for name in added for serial in given}
        # Where every target was promoted, what is called for at an added one is that too; whatever else is there is told.
        joined = dict.fromkeys(added if rotation.phase in PROMOTED_EVERYWHERE else (), rotation.stamp(now))
        # Nothing is forgotten of those that are gone: they may come back.
        return replace(
            rotation,
            targets=(*own, *added),
            promised=rotation.promised | promised,
            promoted={**joined, **rotation.promoted},
        )


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
