"""What a hold or a halt was ruled on is kept with it."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROTATIONS = sa.table("rotations", sa.column("id"), sa.column("document"))


def upgrade() -> None:
    """Every rotation's document from schema 2 to 3; of those that stand still already nothing more is known."""
    connection = op.get_bind()
    for name in connection.execute(sa.select(ROTATIONS.c.id)).scalars().all():
        this = ROTATIONS.c.id == name
        rotation = json.loads(connection.execute(sa.select(ROTATIONS.c.document).where(this)).scalar_one())["rotation"]
        for stands in (rotation["hold"], rotation["halted"]):
            if stands is not None:
                stands["evidence"] = {}
        connection.execute(sa.update(ROTATIONS).where(this).values(document=_dump({"schema": 3, "rotation": rotation})))


_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
