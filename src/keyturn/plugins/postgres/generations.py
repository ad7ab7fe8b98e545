"""Which generation of a paired user a login belongs to.

Two users take turns, and each gets a new password for its turn: a user name alone names many versions. The generations of
a role stand in its comment, where whoever changes its password writes them, and outlive our store:

    COMMENT ON ROLE app_a IS 'keyturn generations: {"7": "2026-11-25T10:00:00+00:00"}'

A session belongs to the generation whose password was in force when it began, for as long as it is open: PostgreSQL asks
for a password at login alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

MARK = "keyturn generations: "
KEPT = 8
"""So many generations of a role are remembered: sessions that are older belong to the oldest."""


def key_id(user: str, generation: int) -> str:
    """The public id of a version: the user and its generation."""
    return f"{user}.{generation}"


def comment(generations: Mapping[int, datetime]) -> str:
    """What to write on a role whose generations began then."""
    newest = sorted(generations.items())[-KEPT:]
    return MARK + json.dumps({str(number): since.isoformat() for number, since in newest})


def read_comment(text: str | None) -> dict[int, datetime]:
    """The generations of a role, ascending; none where the role is not ours, or its comment was changed."""
    if text is None or not text.startswith(MARK):
        return {}
    try:
        found = {int(number): datetime.fromisoformat(since) for number, since in json.loads(text[len(MARK) :]).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return dict(sorted(found.items())) if all(since.tzinfo for since in found.values()) else {}


def generation_at(generations: Mapping[int, datetime], moment: datetime) -> int | None:
    """The generation that was in force; the oldest known for what is older still."""
    begun = [number for number, since in generations.items() if since <= moment]
    return max(begun, default=min(generations, default=None))
