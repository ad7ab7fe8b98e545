"""The trail's hash chain: each line's digest covers the line before it, so that none can be changed or taken out
unseen. (Lines cut off at the end leave a shorter chain that is whole; who must notice that keeps the last digest.)"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

from keyturn.ports.records import HistoryEntry


def linked(previous: str, entry: HistoryEntry) -> HistoryEntry:
    """The entry with its digest, behind the line that has the digest `previous` ("" for the first line)."""
    # Spelled out, and never to be changed for lines that exist: a trail outlives every schema of ours. What a later
    # release adds to an entry goes to the end of the list, and only where it is set.
    content = [
        previous,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.credential,
        entry.rotation,
        entry.phase,
        entry.kind,
        entry.reason,
        entry.detail,
        dict(entry.evidence),
        entry.by,
    ]
    return replace(entry, digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


def first_broken(entries: Sequence[HistoryEntry], *, previous: str = "") -> int | None:
    """The index of the first line whose digest does not follow from what stands before it; None: the chain is whole.
    `previous` is the digest of the line before the first."""
    for index, entry in enumerate(entries):
        if linked(previous, entry).digest != entry.digest:
            return index
        previous = entry.digest
    return None
