"""The ports as one replica sees them: the fakes of the kit, behind lines on which calls get lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from keyturn.domain.errors import Transient
from keyturn.domain.observations import Acceptance, Entry, SourceKind
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import TargetView
from keyturn.ports.issuer import Issued, Minted, ValueOrigin
from keyturn.ports.store import Store
from keyturn.ports.usage import UsageBatch
from keyturn.testing.fakes import FakeIssuer, FakeNotifier, FakeUsageSource
from keyturn.testing.fakes.backend import copied, seen, served
from keyturn.testing.simulation.faults import CONTROL_PLANE, MAIL, STORE
from keyturn.testing.simulation.regions import Region
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.truth import seconds_of

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import World

T = TypeVar("T")

KEY_TABLE = "key table"
"""The line to the verifiers on which their table is changed: to each of them, where that one can be reached."""
TIMEOUT = timedelta(seconds=10)
"""The longest that one call takes, when nobody sleeps in it."""


def store_line(replica: Replica, store: Store, watched: Mapping[str, Callable[..., object]]) -> Store:
    """The store over a replica's line to it; `watched` are methods that the world looks at."""

    class Line:
        def __getattr__(self, method: str) -> Callable[..., object]:
            real = watched.get(method) or getattr(store, method)
            line = replica.line(STORE, method, real)
            self.__dict__[method] = line
            return line

    return cast(Store, Line())


class TargetLine:
    """A target over a replica's line to its region."""

    def __init__(self, replica: Replica, region: Region) -> None:
        place, name = region.place, region.name
        self.location = f"{name}/{region.credential}"
        self.timeout = TIMEOUT
        self.view: Callable[[], TargetView] = replica.line(
            name, "view", lambda: seen(place), stale=lambda: seen(place.before or place)
        )
        self.read: Callable[[], tuple[str, SecretValue]] = replica.line(
            name, "read", lambda: served(place), stale=lambda: served(place.before or place)
        )
        self.fetch = replica.line(
            name, "fetch", lambda token: copied(place, token), stale=lambda token: copied(place.before or place, token)
        )
        self.keep = replica.line(name, "keep", region.keep)
        self.stage = replica.line(name, "stage", region.stage)
        self._remove = replica.line(name, "remove", region.removing(replica))
        self._promote = replica.line(name, "promote", region.promoting(replica))
        self._sending = partial(replica.world.promises.sending, replica, region.credential)
        self.mark = replica.line(name, "mark", region.mark)

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        self._sending("promote")
        return self._promote(copy, expected=expected, token=token)

    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        self._sending("remove")
        self._remove(token, served=served)


class IssuerLine:
    """The issuer of one credential over a replica's lines to the verifiers."""

    def __init__(self, replica: Replica, world: World, credential: str, issuer: FakeIssuer) -> None:
        self.origin: ValueOrigin = issuer.origin
        self.lease = issuer.lease
        self.timeout = TIMEOUT
        self._replica = replica
        self._world = world
        self._credential = credential
        self._issuer = issuer
        self.verifiers: Callable[[], Sequence[str]] = replica.line(CONTROL_PLANE, "verifiers", issuer.verifiers)
        self.issued: Callable[[], Sequence[Issued]] = replica.line(CONTROL_PLANE, "issued", self._issued)
        self.room: Callable[[], int | None] = replica.line(CONTROL_PLANE, "room", issuer.room)
        self.mint: Callable[[str], Minted] = replica.line(CONTROL_PLANE, "mint", self._mint)
        self.key_id = issuer.key_id
        self._probes = {name: replica.line(name, "probe", issuer.probe) for name in world.verifier_names}
        self._entries = {name: replica.line(name, "entries", issuer.entries) for name in world.verifier_names}

    def _issued(self) -> list[Issued]:
        keys = self._world.keys
        return [one for one in self._issuer.issued() if keys[one.key_id].credential == self._credential]

    def _mint(self, token: str) -> Minted:
        minted = self._issuer.mint(token)
        key = self._world.made(self._credential, minted, token)
        self._world.promises.minted(self._replica, key)
        return minted

    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        self._change("install", key_id, verifiers, lambda names: self._issuer.install(key_id, value, names))

    def enable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change("enable", key_id, verifiers, lambda names: self._issuer.enable(key_id, names))

    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change("disable", key_id, verifiers, lambda names: self._issuer.disable(key_id, names))

    def revoke(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change("revoke", key_id, verifiers, lambda names: self._issuer.revoke(key_id, names))

    def _change(
        self, method: str, key_id: str, verifiers: Collection[str], change: Callable[[Collection[str]], None]
    ) -> None:
        """One read-modify-write of the table that these verifiers share with every other credential."""
        within = [name for name in verifiers if name not in self._replica.cut]
        world, replica = self._world, self._replica

        def write() -> None:
            read = world.tables.read(within)
            replica.in_table()
            world.tables.written(replica, read)
            world.promises.at_authority(replica, method, key_id)
            try:
                replica.at_each(within, change)
            finally:
                world.tables.wrote(within)

        if method in ("disable", "revoke"):
            world.promises.sending(replica, self._credential, method)
        replica.line(KEY_TABLE, method, write)()
        if len(within) < len(verifiers):
            away = [name for name in verifiers if name in replica.cut]
            for name in away:
                world.happened(replica.cut[name])
            raise Transient(f"{', '.join(away)}: no route from {replica.name}")

    def entries(self, verifier: str) -> Mapping[str, Entry]:
        return self._entries[verifier](verifier)

    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        if verifier in self._world.ill:
            return Acceptance.UNREACHABLE
        unanswered = self._replica.unanswered
        unanswered.add((verifier, key_id))
        try:
            found = self._probes[verifier](verifier, key_id, value)
        except Transient:
            return Acceptance.UNREACHABLE
        unanswered.discard((verifier, key_id))
        self._world.promises.tried(verifier, key_id, found)
        return found


class SourceLine:
    """A usage source over a replica's line to it."""

    def __init__(self, replica: Replica, world: World, name: str, source: FakeUsageSource) -> None:
        self.kind: SourceKind = source.kind
        self.sees_failures = source.sees_failures
        self.resolution: timedelta = source.resolution
        self.lag: timedelta = source.lag
        self.check = source.check
        self.close = source.close
        self._poll: Callable[..., UsageBatch] = replica.line(name, "poll", source.poll)
        self._replica = replica
        self._name = name
        self._world = world

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        del now  # the source has a clock of its own
        batch = self._poll(cursor, now=self._world.clock.now())
        if batch.watermark is not None:
            uses = [
                (one.key_id or "", one.client, seconds_of(one.start), refused)
                for one in batch.reports
                for refused, count in ((False, one.successes), (True, one.failures))
                if count and one.attributable
            ]
            self._world.promises.polled(self._replica, self._name, seconds_of(batch.watermark), uses)
        return batch


class NotifierLine:
    """A notifier over a replica's line to it."""

    def __init__(self, replica: Replica, notifier: FakeNotifier) -> None:
        self.deliver: Callable[..., None] = replica.line(MAIL, "deliver", notifier.deliver)
        self.close = notifier.close
