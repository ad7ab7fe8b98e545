"""A source may be late with more rows than 32 bits count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The counter's type; on SQLite, by a copy of the table, which has a row for each source."""
    with op.batch_alter_table("sources") as sources:
        sources.alter_column("late", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
