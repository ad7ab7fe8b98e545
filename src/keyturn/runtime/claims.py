"""Leases that this process holds, and for how long it may be sure of them (promise P7)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from keyturn.domain.errors import StaleRevision
from keyturn.ports.clock import Clock
from keyturn.ports.records import Lease
from keyturn.ports.store import Store

LEASE = timedelta(seconds=60)
"""So long lies still what a replica held that died. Longer, where a plugin's timeout asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Claims work for one replica. `ttl` must be longer than any call that is made under a claim."""

    store: Store
    clock: Clock
    owner: str
    ttl: timedelta = LEASE

    def take(self, names: Sequence[str]) -> dict[str, Claim]:
        """Of these leases, by name, all that no other replica holds."""
        if not names:
            return {}
        # Counted from before it is asked for: whatever the answer takes on its way is lost time.
        until = self.clock.monotonic() + self.ttl.total_seconds()
        return {one.name: Claim(self, one, until) for one in self.store.claim(names, self.owner, ttl=self.ttl)}

    def take_one(self, name: str) -> Claim | None:
        """One lease, or None while another replica holds it."""
        return self.take([name]).get(name)

    def resign(self) -> None:
        """Give back whatever this replica holds."""
        self.store.resign(self.owner)


class Claim:
    """A lease as its holder knows it: its end is counted on this process's own monotonic clock."""

    def __init__(self, claims: Claims, lease: Lease, until: float) -> None:
        self._claims = claims
        self._lease = lease
        self._until = until
        self._turn = threading.Lock()

    @property
    def lease(self) -> Lease:
        """What to name to the store; the same for as long as it is held."""
        return self._lease

    def keep(self, length: timedelta) -> None:
        """See in the store that the lease is still ours; renew it, if it does not last for longer than `length`.

        Raises `StaleRevision` when another replica has it. Whoever goes on then asks `lasts`: the store may have been slow.
        """
        with self._turn:
            if self.lasts(length):
                if not self._claims.store.holds(self._lease):
                    raise self._lost()
                return
            renewed = self._claims.take_one(self._lease.name)
            if renewed is None or renewed.lease.token != self._lease.token:
                raise self._lost()
            self._until = renewed._until

    def renew(self) -> None:
        """Renew it once half of its time is over: for whoever asks one thing after another. No call takes longer than the
        other half. Raises `StaleRevision` when another replica has it."""
        half = self._claims.ttl / 2
        if not self.lasts(half):
            self.keep(half)

    def lasts(self, length: timedelta) -> bool:
        """Whether nobody else can have the lease before `length` is over, by our own clock alone."""
        return self._until - self._claims.clock.monotonic() > length.total_seconds()

    def release(self) -> None:
        """Give it back."""
        self._claims.store.release(self._lease)

    def _lost(self) -> StaleRevision:
        return StaleRevision(f"another replica has taken {self._lease.name} over")
