"""Marks, successors and drift checks: when a credential at rest is checked, and what a rotation remembers more."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MINUTES = 60 * 1_000_000
CREDENTIALS = sa.table("credentials", sa.column("name"), sa.column("check_at", sa.BigInteger()))
ROTATIONS = sa.table(
    "rotations", sa.column("id"), sa.column("credential"), sa.column("live", sa.Boolean()), sa.column("document")
)
INTENTS = sa.table("intents", sa.column("rotation"), sa.column("document"))


def upgrade() -> None:
    """The new column and indexes; every rotation's document from schema 1 to 2."""
    op.add_column("credentials", sa.Column("check_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_credentials_check_at",
        "credentials",
        ["check_at"],
        unique=False,
        sqlite_where=sa.text("check_at IS NOT NULL"),
        postgresql_where=sa.text("check_at IS NOT NULL"),
    )
    op.create_index("ix_intents_credential", "intents", ["credential", "opened_at"], unique=False)
    connection = op.get_bind()
    rotating = sa.select(ROTATIONS.c.credential).where(ROTATIONS.c.live.is_(True))
    # What is at rest was never checked: it is due at once.
    connection.execute(sa.update(CREDENTIALS).where(CREDENTIALS.c.name.not_in(rotating)).values(check_at=0))
    for name in connection.execute(sa.select(ROTATIONS.c.id)).scalars().all():
        this = ROTATIONS.c.id == name
        text = connection.execute(sa.select(ROTATIONS.c.document).where(this)).scalar_one()
        effects = connection.execute(sa.select(INTENTS.c.document).where(INTENTS.c.rotation == name)).scalars()
        document = _rewritten(json.loads(text), [json.loads(one)["effect"] for one in effects])
        connection.execute(sa.update(ROTATIONS).where(this).values(document=_dump(document)))


def _rewritten(document: dict[str, Any], effects: list[dict[str, Any]]) -> dict[str, Any]:
    old = document["rotation"]
    revoked = {effect["serial"] for effect in effects if effect["kind"] == "revoke"}
    if old.pop("revoking"):
        revoked |= set(old["outgoing"])
    force = old.pop("force")
    policy = {
        "grace": 5 * MINUTES,
        "grace_cap": 15 * MINUTES,
        "maximum_remints": 3,
        "drift_every": 60 * MINUTES,
    }
    new = {
        "policy": {**old["policy"], **policy},
        "revoked": sorted(revoked),
        # Readers got the old version, and whatever was promised to them.
        "served": sorted({old["outgoing"][0], *(serial for _, serial in old["promised"])}),
        "forced": {} if force is None else {str(force.pop("serial")): force},
        "marks": {},
        "failed": [],
        "waived": {},
        "passed": [],
        "reasserted": {},
        "adopting": None,
        "accepted": None,
        "supersedes": None,
        "abandoned": None,
    }
    return {"schema": 2, "rotation": {**old, **new}}


_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
