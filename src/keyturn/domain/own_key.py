"""One key, one credential."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.domain.errors import Refused
from keyturn.domain.model import Version


def check_own_key(name: str, version: Version, others: Iterable[tuple[str, Version]]) -> None:
    """No two credentials have one key: the rotation of one would take it from the readers of the other. An authority of
    another's may use the same key ids, for other values."""
    for other, theirs in others:
        if version.key_id is not None and (theirs.key_id, theirs.fingerprint) == (version.key_id, version.fingerprint):
            raise Refused(
                f"readers of {name} get v{theirs.serial} of {other} ({version.key_id}): one key, one credential; give "
                f"{name} a key of its own, or name its targets under {other} and take {name} out of the configuration"
            )
