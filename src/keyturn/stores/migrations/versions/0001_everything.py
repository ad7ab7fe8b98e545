"""Everything the first release stores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out here: a revision must go on making what it made, whatever becomes of the tables' own types.
MOMENT = sa.BigInteger()
SPAN = sa.BigInteger()
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """All tables and indexes."""
    op.create_table(
        "batches",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("batch", sa.String(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source", "batch", name=op.f("pk_batches")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credentials",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next_serial", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("rolled_back", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_credentials")),
    )
    op.create_index(
        "ix_credentials_due_at",
        "credentials",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "detectors",
        sa.Column("rotation", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rotation", name=op.f("pk_detectors")),
    )
    op.create_table(
        "history",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("rotation", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "number", name=op.f("pk_history")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_table(
        "sources",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("watermark", MOMENT, nullable=True),
        sa.Column("since", MOMENT, nullable=True),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tokens")),
    )
    op.create_table(
        "usage",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("start", MOMENT, nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("length", SPAN, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("unauthenticated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "credential", "start", "client", "serial", "length", "source", "late", name=op.f("pk_usage")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_client", "usage", ["credential", "client", "start"], unique=False)
    op.create_table(
        "uses",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_use", MOMENT, nullable=False),
        sa.Column("last_use", MOMENT, nullable=False),
        sa.Column("last_success", MOMENT, nullable=True),
        sa.Column("last_refusal", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("credential", "client", "serial", name=op.f("pk_uses")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bindings",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("backend_id", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_bindings_credential_credentials")),
        sa.PrimaryKeyConstraint("credential", "target", "backend_id", name=op.f("pk_bindings")),
    )
    op.create_table(
        "deliveries",
        sa.Column("number", ROW_NUMBER, nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("notifier", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("retry_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_deliveries_message_messages")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["number"],
        unique=False,
        sqlite_where=sa.text("waiting IS 1"),
        postgresql_where=sa.text("waiting IS true"),
    )
    op.create_table(
        "rotations",
        sa.Column("number", ROW_NUMBER, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_rotations_credential_credentials")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rotations")),
        sa.UniqueConstraint("id", name=op.f("uq_rotations_id")),
    )
    op.create_index(op.f("ix_rotations_credential"), "rotations", ["credential"], unique=False)
    op.create_index(
        "ix_rotations_live",
        "rotations",
        ["number"],
        unique=False,
        sqlite_where=sa.text("live IS 1"),
        postgresql_where=sa.text("live IS true"),
    )
    op.create_index(
        "uq_rotations_live",
        "rotations",
        ["credential"],
        unique=True,
        sqlite_where=sa.text("live IS 1"),
        postgresql_where=sa.text("live IS true"),
    )
    op.create_table(
        "versions",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("compromised_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_versions_credential_credentials")),
        sa.PrimaryKeyConstraint("credential", "serial", name=op.f("pk_versions")),
    )
    op.create_index(op.f("ix_versions_key_id"), "versions", ["key_id"], unique=False)
    op.create_table(
        "intents",
        sa.Column("effect", sa.String(), nullable=False),
        sa.Column("rotation", sa.String(), nullable=False),
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["rotation"], ["rotations.id"], name=op.f("fk_intents_rotation_rotations")),
        sa.PrimaryKeyConstraint("effect", name=op.f("pk_intents")),
    )
    op.create_index(
        "ix_intents_open",
        "intents",
        ["credential"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(op.f("ix_intents_rotation"), "intents", ["rotation"], unique=False)
