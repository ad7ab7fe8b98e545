"""Stores that are restored from a backup: since when nobody has confirmed what became of a credential."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The new column and its index; no store was ever restored before."""
    op.add_column("credentials", sa.Column("restored_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_credentials_restored_at",
        "credentials",
        ["restored_at"],
        unique=False,
        sqlite_where=sa.text("restored_at IS NOT NULL"),
        postgresql_where=sa.text("restored_at IS NOT NULL"),
    )
