"""What usage itself gives cause to tell people at once: each thing once a day, whatever the traffic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass

import structlog

from keyturn.domain.effects import Message
from keyturn.domain.model import VersionState
from keyturn.ports.clock import Clock
from keyturn.ports.records import Alert, UsageRow
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Messages, whose ids make each once only: those on usage are queued with it, so that none is lost between the two."""

    store: Store
    registry: Registry
    clock: Clock

    def of(self, rows: Sequence[UsageRow]) -> Sequence[Alert]:
        """What these rows give cause for."""
        destroyed = self._destroyed({(row.credential, row.serial) for row in rows})
        by_credential: dict[str, list[UsageRow]] = defaultdict(list)
        for row in rows:
            if row.unauthenticated or (row.credential, row.serial) in destroyed:
                by_credential[row.credential].append(row)
        return [
            Alert(message, wired.notifiers)
            for name, own in by_credential.items()
            if (wired := self.registry.credentials.get(name)) is not None
            for message in (*_tripwire(name, own, destroyed), *_unauthenticated(name, own))
        ]

    def _destroyed(self, versions: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """Of these versions, the dead ones."""
        credentials = {name: self.store.credential(name) for name in {name for name, _ in versions}}
        return frozenset(
            (name, serial)
            for name, serial in versions
            if (credential := credentials[name]) is not None
            and (version := credential.versions.get(serial)) is not None
            and version.state is VersionState.DESTROYED
        )

    def overreach(self, source: str, credential: str) -> None:
        """A source spoke for a credential that it does not cover: its token may be in wrong hands (DESIGN §6)."""
        log.warning("source spoke for another's credential", source=source, credential=credential)
        message = Message(
            id=f"overreach/{source}/{credential}/{self.clock.now():%Y-%m-%d}",
            topic="source.overreach",
            text=f"{credential}: the source {source} reports use of it, which it does not cover; its report was refused: "
            f"name it under `sources:`, or renew its token if it is in wrong hands",
            details=(("credential", credential), ("source", source)),
        )
        wired = self.registry.credentials.get(credential)
        if wired is not None:
            self.store.enqueue([message], wired.notifiers, now=self.clock.now())


def _tripwire(name: str, rows: Sequence[UsageRow], destroyed: Container[tuple[str, int]]) -> Iterator[Message]:
    """Any use of a destroyed version raises an alert, once per client and day (promise P11)."""
    alerts = {
        f"tripwire/{name}/v{row.serial}/{row.client}/{row.start:%Y-%m-%d}": row
        for row in rows
        if (name, row.serial) in destroyed
    }
    for name_of_alert, row in sorted(alerts.items()):
        yield Message(
            id=name_of_alert,
            topic="tripwire",
            text=f"{name}: {row.client} still presents v{row.serial}, which is destroyed",
            details=(("client", row.client), ("credential", name), ("version", str(row.serial))),
        )


def _unauthenticated(name: str, rows: Sequence[UsageRow]) -> Iterator[Message]:
    """Refusals that prove nothing about who sent them move no rotation; somebody should know of them."""
    refused: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows:
        if row.unauthenticated:
            refused[f"{row.start:%Y-%m-%d}", row.serial] += row.unauthenticated
    for (day, serial), count in sorted(refused.items()):
        yield Message(
            id=f"unauthenticated/{name}/v{serial}/{day}",
            topic="unauthenticated",
            text=f"{name}: {count} presentations of v{serial}'s key id were refused and prove nothing about who sent them; "
            f"somebody guesses at the key, or has it wrong: see `keyturn usage {name}`",
            details=(("credential", name), ("version", str(serial))),
        )
