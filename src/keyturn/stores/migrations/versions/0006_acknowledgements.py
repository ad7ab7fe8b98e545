"""Acknowledgements: whose clients have moved to which version, by their owners' word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One new table."""
    op.create_table(
        "acknowledgements",
        sa.Column("credential", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "client", "serial", name="pk_acknowledgements"),
        sqlite_with_rowid=False,
    )
