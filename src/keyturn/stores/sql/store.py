"""The store over a database: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from keyturn.domain.effects import EffectKind, Message
from keyturn.domain.errors import ConfigError, Refused
from keyturn.domain.model import Rotation, Version
from keyturn.domain.observations import Hole
from keyturn.ports.records import (
    AccessToken,
    Acknowledgement,
    Commit,
    Credential,
    Dismissal,
    HistoryEntry,
    Intent,
    Lease,
    OutboxItem,
    Outcome,
    Pooled,
    SourceState,
    Told,
    UsageRow,
    Uses,
)
from keyturn.stores.migrations import upgrade
from keyturn.stores.sql import (
    access,
    acknowledgements,
    credentials,
    detectors,
    dismissals,
    journal,
    leases,
    outbox,
    rotations,
    slots,
    trail,
    usage,
)
from keyturn.stores.sql.database import Database
from keyturn.stores.sql.postgres import open_postgres
from keyturn.stores.sql.sqlite import open_sqlite
from keyturn.stores.sql.sums import Remembered
from keyturn.stores.urls import POSTGRES


class SqlStore:
    """Keeps everything in one database. Safe to call from any number of threads."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._now = now
        self._remembered = Remembered()

    @classmethod
    def open(cls, url: str | URL, *, now: Callable[[], datetime] | None = None) -> SqlStore:
        """The store at a URL, brought to this release's schema: `sqlite:///relative.db` or `sqlite:////absolute.db`, made
        when there is none, or `postgresql+psycopg://USER@HOST:PORT/DATABASE`, where the database must exist. `now` is the
        clock that leases run by and intents are dated by; without it, the database's own.

        Raises `ConfigError` when the URL is wrong, the database cannot be used, or another process holds a store that
        one process can hold; and `Transient` when the server cannot be reached.
        """
        database = _opened(url)
        try:
            upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database, now=now)

    # Credentials and versions

    def register(
        self,
        name: str,
        version: Version,
        *,
        due_at: datetime | None,
        others: Sequence[Version] = (),
        history: Sequence[HistoryEntry] = (),
        apart_from: Collection[str] = (),
    ) -> None:
        with self._database.write() as connection:
            if credentials.register(connection, name, version, due_at, others, apart_from):
                trail.append(connection, history)

    def restored(self, at: datetime) -> None:
        with self._database.write() as connection:
            credentials.restored(connection, at)

    def unconfirmed(self) -> Sequence[str]:
        with self._database.read() as connection:
            return credentials.unconfirmed(connection)

    def found(self, name: str, versions: Sequence[Version]) -> None:
        with self._database.write() as connection:
            credentials.found(connection, name, versions)

    def confirm(self, name: str) -> None:
        with self._database.write() as connection:
            credentials.confirm(connection, name)

    def credential(self, name: str) -> Credential | None:
        with self._database.read() as connection:
            return credentials.find(connection, name)

    def credentials(self) -> Mapping[str, Credential]:
        with self._database.read() as connection:
            return credentials.all_of_them(connection)

    def due_dates(self) -> Mapping[str, datetime]:
        with self._database.read() as connection:
            return credentials.due_dates(connection)

    def current(self) -> Mapping[str, int]:
        with self._database.read() as connection:
            return credentials.current(connection)

    def set_due(self, name: str, due_at: datetime | None) -> None:
        with self._database.write() as connection:
            credentials.set_due(connection, name, due_at)

    def set_check(self, name: str, check_at: datetime | None) -> None:
        with self._database.write() as connection:
            credentials.set_check(connection, name, check_at)

    def to_check(self, now: datetime) -> Sequence[str]:
        with self._database.read() as connection:
            return credentials.to_check(connection, now)

    def due(self, now: datetime) -> Sequence[str]:
        with self._database.read() as connection:
            return credentials.due(connection, now)

    def key_ids(self, key_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        with self._database.read() as connection:
            return credentials.key_ids(connection, key_ids)

    # Rotations

    def begin(self, rotation: Rotation, entry: HistoryEntry, *, claim: Lease | None = None) -> None:
        with self._database.write() as connection:
            leases.fence(connection, claim)
            rotations.begin(connection, rotation, entry)

    def live(self) -> Sequence[Rotation]:
        with self._database.read() as connection:
            return rotations.live(connection)

    def rotating(self) -> Sequence[str]:
        with self._database.read() as connection:
            return rotations.rotating(connection)

    def rotation(self, id: str) -> Rotation | None:
        with self._database.read() as connection:
            return rotations.find(connection, id)

    def revision(self, id: str) -> int | None:
        with self._database.read() as connection:
            return rotations.revision(connection, id)

    def live_of(self, credential: str) -> Rotation | None:
        with self._database.read() as connection:
            return rotations.live_of(connection, credential)

    def latest_of(self, credential: str) -> Rotation | None:
        with self._database.read() as connection:
            return rotations.latest_of(connection, credential)

    def commit(self, commit: Commit) -> Rotation:
        with self._database.write() as connection:
            leases.fence(connection, commit.claim)
            return rotations.commit(connection, commit, self._moment(connection))

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        with self._database.write() as connection:
            journal.record(connection, effect_id, attempt, outcome)

    def journal(self, rotation: str) -> Mapping[str, Intent]:
        with self._database.read() as connection:
            return journal.of_rotation(connection, rotation)

    def open_intents(self, credential: str) -> Sequence[Intent]:
        with self._database.read() as connection:
            return journal.open_of(connection, credential)

    def mints(self) -> Sequence[Intent]:
        with self._database.read() as connection:
            return journal.mints(connection)

    def uncertain(self, credential: str) -> frozenset[tuple[EffectKind, int]]:
        with self._database.read() as connection:
            return journal.uncertain(connection, credential, self._moment(connection))

    def history(self, credential: str, *, limit: int = 1000) -> Sequence[HistoryEntry]:
        with self._database.read() as connection:
            return trail.newest(connection, credential, limit)

    def bind(self, credential: str, target: str, backend_id: str, serial: int) -> None:
        with self._database.write() as connection:
            credentials.bind(connection, credential, target, backend_id, serial)

    def bindings(self, credential: str) -> Mapping[tuple[str, str], int]:
        with self._database.read() as connection:
            return credentials.bound(connection, credential)

    # Usage

    def sources(self) -> Mapping[str, SourceState]:
        with self._database.read() as connection:
            return usage.states(connection)

    def add_usage(
        self, told: Sequence[Told], *, received_at: datetime, claim: Lease | None = None
    ) -> Sequence[bool | Refused]:
        with self._database.write() as connection:
            leases.fence(connection, claim)
            answers, uses = usage.add(connection, told, received_at, self._remembered)
        self._remembered.written(uses)
        return answers

    def forget_batches(self, before: datetime) -> None:
        with self._database.write() as connection:
            usage.forget_batches(connection, before)

    def usage(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None = None
    ) -> Sequence[UsageRow]:
        with self._database.read() as connection:
            return usage.rows(connection, credential, start, end, sources)

    def uses(self, credential: str) -> Mapping[tuple[str, int, str], Uses]:
        with self._database.read() as connection:
            return usage.remembered(connection, credential)

    def forget_uses(self, credential: str, before: datetime) -> None:
        with self._database.write() as connection:
            usage.forget_uses(connection, credential, before)

    def pooled(self, credential: str) -> Mapping[tuple[int, str], Pooled]:
        with self._database.read() as connection:
            return usage.pooled_of(connection, credential)

    def holes(self, source: str) -> Sequence[Hole]:
        with self._database.read() as connection:
            return usage.holes_of(connection, source)

    def set_blind(self, source: str, since: datetime | None, trouble: str) -> None:
        with self._database.write() as connection:
            usage.set_blind(connection, source, since, trouble)

    def dismiss(self, dismissal: Dismissal, entry: HistoryEntry) -> None:
        with self._database.write() as connection:
            credentials.lock(connection, entry.credential)
            dismissals.add(connection, entry.credential, dismissal)
            trail.append(connection, [entry])

    def dismissals(self, credential: str) -> Mapping[str, Dismissal]:
        with self._database.read() as connection:
            return dismissals.of(connection, credential)

    def acknowledge(self, acknowledgement: Acknowledgement, entry: HistoryEntry) -> None:
        with self._database.write() as connection:
            credentials.lock(connection, entry.credential)
            acknowledgements.add(connection, entry.credential, acknowledgement)
            trail.append(connection, [entry])

    def acknowledgements(self, credential: str) -> Mapping[tuple[str, int], Acknowledgement]:
        with self._database.read() as connection:
            return acknowledgements.of(connection, credential)

    def with_usage(self) -> Sequence[str]:
        with self._database.read() as connection:
            return slots.credentials(connection)

    def roll_up(self, credential: str, before: datetime) -> bool:
        with self._database.write() as connection:
            return slots.roll_up(connection, credential, before)

    def forget_slots(self, credential: str, before: datetime) -> None:
        with self._database.write() as connection:
            slots.forget(connection, credential, before)

    def use_starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        with self._database.read() as connection:
            return slots.starts(connection, credential, client, end)

    def detector(self, rotation: str) -> str | None:
        with self._database.read() as connection:
            return detectors.find(connection, rotation)

    def save_detector(self, rotation: str, state: str) -> None:
        with self._database.write() as connection:
            detectors.save(connection, rotation, state)

    def forget_detectors(self) -> None:
        with self._database.write() as connection:
            detectors.forget_ended(connection)

    # Outbox

    def enqueue(self, messages: Sequence[Message], notifiers: Sequence[str], *, now: datetime) -> None:
        with self._database.write() as connection:
            outbox.enqueue(connection, messages, notifiers, now)

    def outbox(self, now: datetime, *, limit: int = 100, without: frozenset[str] = frozenset()) -> Sequence[OutboxItem]:
        with self._database.read() as connection:
            return outbox.due(connection, now, limit, without)

    def delivered(self, item: int, *, at: datetime) -> None:
        with self._database.write() as connection:
            outbox.delivered(connection, item, at)

    def undelivered(self, item: int, *, retry_at: datetime | None, error: str) -> None:
        with self._database.write() as connection:
            outbox.undelivered(connection, item, retry_at, error, self._moment(connection))

    def forget_messages(self, before: datetime) -> bool:
        with self._database.write() as connection:
            return outbox.forget(connection, before)

    # Leases and access

    def claim(self, names: Sequence[str], owner: str, *, ttl: timedelta) -> Sequence[Lease]:
        with self._database.write() as connection:
            now = self._moment(connection)
            taken = list(leases.claim(connection, names, owner, now, now + ttl))
            left = sorted(set(names) - {lease.name for lease in taken})
            ours = leases.passed_over(connection, left, owner) if left else []
        # One by one, and not in that transaction: whoever waits for a lock of its own process holds no other meanwhile.
        for name in ours:
            with self._database.write() as connection:
                taken += leases.renew(connection, name, owner, self._moment(connection) + ttl)
        return sorted(taken, key=lambda lease: lease.name)

    def holds(self, lease: Lease) -> bool:
        with self._database.read() as connection:
            return leases.holds(connection, lease)

    def release(self, lease: Lease) -> None:
        with self._database.write() as connection:
            leases.release(connection, lease)

    def resign(self, owner: str) -> None:
        with self._database.write() as connection:
            leases.resign(connection, owner)

    def tokens(self) -> Sequence[AccessToken]:
        with self._database.read() as connection:
            return access.all_tokens(connection)

    def add_token(self, token: AccessToken) -> None:
        with self._database.write() as connection:
            access.add_token(connection, token)

    def pin(self, name: str, digest: str) -> str:
        with self._database.write() as connection:
            return access.pin(connection, name, digest)

    def close(self) -> None:
        self._database.close()

    def _moment(self, connection: Connection) -> datetime:
        return self._database.clock(connection) if self._now is None else self._now()


def checked(url: str | URL) -> URL:
    """A URL that names a store that this keyturn can have. Raises `ConfigError` saying which it can."""
    form = "use sqlite:///relative.db, sqlite:////absolute.db or postgresql+psycopg://USER@HOST:PORT/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The URL itself is left out of the message: one to a server would hold a password.
        raise ConfigError(f"store.url is no database URL: {form}") from None
    if parsed.drivername in POSTGRES:
        return parsed
    if parsed.drivername != "sqlite":
        raise ConfigError(f"store.url names {parsed.drivername}, which this keyturn has no store for: {form}")
    if not parsed.database or parsed.database == ":memory:" or parsed.query or parsed.database.startswith("file:"):
        raise ConfigError(f"store.url {url} names no plain file: {form}")
    return parsed


def _opened(url: str | URL) -> Database:
    parsed = checked(url)
    return open_sqlite(Path(parsed.database or "")) if parsed.drivername == "sqlite" else open_postgres(parsed)
