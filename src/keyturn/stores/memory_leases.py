"""Leases in memory; their owner holds the lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.ports.records import Lease
from keyturn.stores.rules import NEVER, NOBODY, lost, token_for


class MemoryLeases:
    """Who holds what, and until when."""

    def __init__(self) -> None:
        self._held: dict[str, Lease] = {}

    def claim(self, names: Sequence[str], owner: str, ttl: timedelta, now: datetime) -> Sequence[Lease]:
        taken = []
        for name in sorted(set(names)):
            token = token_for(owner, self._held.get(name), now)
            if token is not None:
                self._held[name] = Lease(name=name, owner=owner, token=token, expires_at=now + ttl)
                taken.append(self._held[name])
        return taken

    def holds(self, lease: Lease) -> bool:
        held = self._held.get(lease.name)
        return held is not None and (held.owner, held.token) == (lease.owner, lease.token)

    def fence(self, claim: Lease | None) -> None:
        """Raises `StaleRevision` when the claim has passed on."""
        if claim is not None and not self.holds(claim):
            raise lost(claim)

    def release(self, lease: Lease) -> None:
        if self.holds(lease):
            self._held[lease.name] = replace(self._held[lease.name], owner=NOBODY, expires_at=NEVER)

    def resign(self, owner: str) -> None:
        for lease in list(self._held.values()):
            if lease.owner == owner:
                self.release(lease)
