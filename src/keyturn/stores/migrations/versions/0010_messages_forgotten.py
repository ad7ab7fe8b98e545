"""Messages that were delivered long ago are forgotten: found by their age, and each with its deliveries."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two indexes: without the second each message that goes would have the database read every delivery, since a
    delivery holds its message."""
    op.create_index("ix_messages_created_at", "messages", ["created_at"], unique=False)
    op.create_index("ix_deliveries_message", "deliveries", ["message"], unique=False)
