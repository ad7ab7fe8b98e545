"""What a finding tells people: recent counts and the clients that stand out in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keyturn.domain.evidence.buckets import BLOCK_SECONDS, Culprit
from keyturn.domain.evidence.series import Floats, packed, unpacked, widened

#: Seconds: a window is turned over this often, so that its counts cover one to two of these.
TURN_SECONDS = 1800

_NEW, _NEW_FAILED, _OLD, _OLD_FAILED = range(4)


class Window:
    """Each client's counts of the latest 30 to 60 minutes: the half under way and the one before.

    `counts` holds, for both halves, new trials and failures and old trials and failures by client.
    `buckets` says how many buckets each half covers.
    """

    __slots__ = ("buckets", "counts")

    def __init__(self, counts: Floats, buckets: tuple[int, int]) -> None:
        self.counts = counts
        self.buckets = buckets

    @classmethod
    def empty(cls, clients: int) -> Window:
        """A window in which nothing has happened yet."""
        return cls(np.zeros((2, 4, clients)), (0, 0))

    def state(self) -> dict[str, Any]:
        """Plain, JSON-serialisable data from which `from_state` makes an equal window."""
        return {"counts": packed(self.counts), "buckets": list(self.buckets)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Window:
        """The window that `state` was taken from."""
        earlier, latest = state["buckets"]
        return cls(unpacked(state["counts"]), (earlier, latest))

    def admit(self, more: int) -> None:
        """Make room for `more` clients."""
        self.counts = widened(self.counts, more)

    def add(self, arms: Floats) -> None:
        """Add one bucket's raw counts."""
        self.counts[1] += arms
        self.buckets = (self.buckets[0], self.buckets[1] + 1)

    def turn(self, buckets_per_block: int) -> None:
        """At a block's end: drop the earlier half when the one under way is full."""
        if self.buckets[1] >= buckets_per_block * TURN_SECONDS // BLOCK_SECONDS:
            self.counts = np.stack([self.counts[1], np.zeros_like(self.counts[1])])
            self.buckets = (self.buckets[1], 0)

    def totals(self) -> tuple[int, int, int, int]:
        """All clients' old successes and failures, and new successes and failures."""
        totals = self.counts.sum(axis=(0, 2))
        old, new = int(totals[_OLD_FAILED]), int(totals[_NEW_FAILED])
        return int(totals[_OLD]) - old, old, int(totals[_NEW]) - new, new

    def culprits(self, clients: Mapping[str, int], shares: Mapping[int, float], null: Floats) -> tuple[Culprit, ...]:
        """The clients that have a share, largest first, or those that fail more than `null` tolerates if none has."""
        trials, failures = self.counts[:, _NEW].sum(axis=0), self.counts[:, _NEW_FAILED].sum(axis=0)
        beyond = failures - trials * null
        numbers = list(shares) if shares else np.flatnonzero(beyond > 0).tolist()
        names, failed, good = list(clients), failures.tolist(), (trials - failures).tolist()
        culprits = [
            Culprit(names[number], int(good[number]), int(failed[number]), shares.get(number, 0.0))
            for number in numbers
        ]
        return tuple(sorted(culprits, key=lambda one: (-one.share, -beyond[clients[one.client]], one.client)))
