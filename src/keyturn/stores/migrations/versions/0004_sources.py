"""Usage sources: who told of a use, what a source could not tell, what was sent twice, and who was declared gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNKNOWN = "(before 0004)"
"""The source of uses that were remembered without one: none that is configured can be called so."""


def upgrade() -> None:
    """New columns and tables; what is remembered of uses gains its source."""
    op.add_column("sources", sa.Column("blind_since", sa.BigInteger(), nullable=True))
    op.add_column("sources", sa.Column("trouble", sa.Text(), nullable=True))
    op.add_column("batches", sa.Column("digest", sa.String(), nullable=True))
    op.create_index("ix_batches_received_at", "batches", ["received_at"], unique=False)
    _uses()
    op.create_table(
        "holes",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "start", name="pk_holes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "slots",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("used", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "client", "day", name="pk_slots"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pooled",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "serial", "source", name="pk_pooled"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dismissals",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "client", name="pk_dismissals"),
        sqlite_with_rowid=False,
    )


def _uses() -> None:
    """A primary key cannot be widened in SQLite: the table is made anew."""
    op.rename_table("uses", "uses_before")
    if op.get_bind().dialect.name == "postgresql":
        # There a constraint's name is an index's, and lives on in the renamed table.
        op.drop_constraint("pk_uses", "uses_before", type_="primary")
    op.create_table(
        "uses",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("first_use", sa.BigInteger(), nullable=False),
        sa.Column("last_use", sa.BigInteger(), nullable=False),
        sa.Column("last_success", sa.BigInteger(), nullable=True),
        sa.Column("last_refusal", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("credential", "client", "serial", "source", name="pk_uses"),
        sqlite_with_rowid=False,
    )
    columns = ["credential", "client", "serial", "first_use", "last_use", "last_success", "last_refusal"]
    before = sa.table("uses_before", *(sa.column(name) for name in columns))
    after = sa.table("uses", *(sa.column(name) for name in [*columns, "source"]))
    rows = sa.select(*(before.c[name] for name in columns), sa.literal(UNKNOWN))
    op.execute(sa.insert(after).from_select([*columns, "source"], rows))
    op.drop_table("uses_before")
