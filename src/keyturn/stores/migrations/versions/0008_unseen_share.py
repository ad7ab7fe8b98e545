"""From which chance on that a user was never seen an owner's word is waited for."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROTATIONS = sa.table("rotations", sa.column("id"), sa.column("document"))


def upgrade() -> None:
    """Every rotation's document from schema 3 to 4, with what was the default when this came."""
    connection = op.get_bind()
    for name in connection.execute(sa.select(ROTATIONS.c.id)).scalars().all():
        this = ROTATIONS.c.id == name
        rotation = json.loads(connection.execute(sa.select(ROTATIONS.c.document).where(this)).scalar_one())["rotation"]
        rotation["policy"]["unseen_share"] = 0.05
        connection.execute(sa.update(ROTATIONS).where(this).values(document=_dump({"schema": 4, "rotation": rotation})))


_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
