"""The tables. No column holds a secret value: versions are known by key id and fingerprint, tokens by digest.

What queries ask for is a column; the rest of a value is its document (`keyturn.stores.codec`). Times are whole
microseconds, since 1970 for moments: exact, comparable, and the same in every database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, exact to the microsecond."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Span(TypeDecorator[timedelta]):
    """A length of time, exact to the microsecond."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else value // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> timedelta | None:  # noqa: ARG002
        return None if value is None else timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself for INTEGER alone."""

credentials = Table(
    "credentials",
    metadata,
    Column("name", String, primary_key=True),
    Column("next_serial", Integer, nullable=False),
    Column("due_at", Moment),
    Column("rolled_back", Integer, nullable=False),
    Column("check_at", Moment),
    Column("restored_at", Moment),
)
Index(
    "ix_credentials_due_at",
    credentials.c.due_at,
    sqlite_where=credentials.c.due_at.is_not(None),
    postgresql_where=credentials.c.due_at.is_not(None),
)
Index(
    "ix_credentials_check_at",
    credentials.c.check_at,
    sqlite_where=credentials.c.check_at.is_not(None),
    postgresql_where=credentials.c.check_at.is_not(None),
)

Index(
    "ix_credentials_restored_at",
    credentials.c.restored_at,
    sqlite_where=credentials.c.restored_at.is_not(None),
    postgresql_where=credentials.c.restored_at.is_not(None),
)

versions = Table(
    "versions",
    metadata,
    Column("credential", ForeignKey("credentials.name"), primary_key=True),
    Column("serial", Integer, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("key_id", String, index=True),
    Column("fingerprint", String),
    Column("compromised_at", Moment),
)

bindings = Table(
    "bindings",
    metadata,
    Column("credential", ForeignKey("credentials.name"), primary_key=True),
    Column("target", String, primary_key=True),
    Column("backend_id", String, primary_key=True),
    Column("serial", Integer, nullable=False),
)

rotations = Table(
    "rotations",
    metadata,
    Column("number", ROW_NUMBER, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("credential", ForeignKey("credentials.name"), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("phase", String, nullable=False),
    Column("document", Text, nullable=False),
)
Index(
    "ix_rotations_live",
    rotations.c.number,
    sqlite_where=rotations.c.live.is_(True),
    postgresql_where=rotations.c.live.is_(True),
)
# Promise P7, held by the database itself.
Index(
    "uq_rotations_live",
    rotations.c.credential,
    unique=True,
    sqlite_where=rotations.c.live.is_(True),
    postgresql_where=rotations.c.live.is_(True),
)

intents = Table(
    "intents",
    metadata,
    Column("effect", String, primary_key=True),
    Column("rotation", ForeignKey("rotations.id"), nullable=False, index=True),
    Column("credential", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("state", String, nullable=False),
    Column("document", Text, nullable=False),
    Column("outcome", Text),
)
Index(
    "ix_intents_open",
    intents.c.credential,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)
Index("ix_intents_credential", intents.c.credential, intents.c.opened_at)

history = Table(
    "history",
    metadata,
    Column("credential", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("rotation", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", String, nullable=False),
    Column("digest", String, nullable=False),
    sqlite_with_rowid=False,
)

detectors = Table(
    "detectors",
    metadata,
    Column("rotation", String, primary_key=True),
    Column("state", Text, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("name", String, primary_key=True),
    Column("cursor", Text),
    Column("watermark", Moment),
    Column("since", Moment),
    Column("late", BigInteger, nullable=False),
    Column("blind_since", Moment),
    Column("trouble", Text),
)

holes = Table(
    "holes",
    metadata,
    Column("source", String, primary_key=True),
    Column("start", Moment, primary_key=True),
    Column("end", Moment, nullable=False),
    sqlite_with_rowid=False,
)

batches = Table(
    "batches",
    metadata,
    Column("source", String, primary_key=True),
    Column("batch", String, primary_key=True),
    Column("received_at", Moment, nullable=False),
    Column("digest", String),
    sqlite_with_rowid=False,
)
Index("ix_batches_received_at", batches.c.received_at)

usage = Table(
    "usage",
    metadata,
    Column("credential", String, primary_key=True),
    Column("start", Moment, primary_key=True),
    Column("client", String, primary_key=True),
    Column("serial", Integer, primary_key=True, autoincrement=False),
    Column("length", Span, primary_key=True),
    Column("source", String, primary_key=True),
    Column("late", Boolean, primary_key=True),
    Column("successes", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("unauthenticated", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_usage_client", usage.c.credential, usage.c.client, usage.c.start)

uses = Table(
    "uses",
    metadata,
    Column("credential", String, primary_key=True),
    Column("client", String, primary_key=True),
    Column("serial", Integer, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("first_use", Moment, nullable=False),
    Column("last_use", Moment, nullable=False),
    Column("last_success", Moment),
    Column("last_refusal", Moment),
    sqlite_with_rowid=False,
)

slots = Table(
    "slots",
    metadata,
    Column("credential", String, primary_key=True),
    Column("client", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("used", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

pooled = Table(
    "pooled",
    metadata,
    Column("credential", String, primary_key=True),
    Column("serial", Integer, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last", Moment, nullable=False),
    sqlite_with_rowid=False,
)

dismissals = Table(
    "dismissals",
    metadata,
    Column("credential", String, primary_key=True),
    Column("client", String, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("by", String, nullable=False),
    Column("why", Text, nullable=False),
    sqlite_with_rowid=False,
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("credential", String, primary_key=True),
    Column("client", String, primary_key=True),
    Column("serial", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("by", String, nullable=False),
    Column("why", Text, nullable=False),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("id", String, primary_key=True),
    Column("created_at", Moment, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("number", ROW_NUMBER, primary_key=True),
    Column("message", ForeignKey("messages.id"), nullable=False, index=True),
    Column("notifier", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("error", Text),
    Column("waiting", Boolean, nullable=False),
)
Index(
    "ix_deliveries_waiting",
    deliveries.c.number,
    sqlite_where=deliveries.c.waiting.is_(True),
    postgresql_where=deliveries.c.waiting.is_(True),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

pins = Table(
    "pins",
    metadata,
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("source", String),
    Column("digest", String, nullable=False),
)
