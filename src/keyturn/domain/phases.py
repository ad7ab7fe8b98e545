"""The phases of a rotation and what each is for.

INTRODUCE  The new version is made, kept where readers cannot see it, and accepted by every verifier. Readers get the old.
OVERLAP    Both are accepted. Readers are given the new one, wave after wave.
MONITOR    Both are accepted, readers get the new one. Every client must move and the old version must fall silent.
RETIRE     The old version is disabled, which can be undone, and watched for whoever still needs it.
DESTROY    The point of no return: the old version is revoked, proven dead, and forgotten.
ROLLBACK   Readers are given the old version again; the new one is drained, then destroyed.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a rotation stands. The last three are ends."""

    INTRODUCE = "introduce"
    OVERLAP = "overlap"
    MONITOR = "monitor"
    RETIRE = "retire"
    DESTROY = "destroy"
    ROLLBACK = "rollback"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"

    @property
    def is_end(self) -> bool:
        """Whether nothing more happens to the rotation."""
        return self in ENDS


ENDS = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK, Phase.SUPERSEDED})
