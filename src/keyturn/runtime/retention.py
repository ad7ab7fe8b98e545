"""How long usage and messages are kept, and in what detail."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from keyturn.domain.errors import StaleRevision
from keyturn.ports.clock import Clock
from keyturn.ports.store import Store
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.contained import Contained
from keyturn.runtime.registry import Registry
from keyturn.runtime.usage import BATCHES_KEPT

EVERY = timedelta(hours=1)
"""Between two rounds over all credentials that are used."""
LONGEST = timedelta(seconds=30)
"""One transaction takes less."""
ROLL_UPS_A_ROUND = 24
"""So often some of one credential's usage, a day's at most, is rolled up in a round, each time in a transaction of its own:
a backlog is worked off without holding up anything, and faster than thousands of clients add to it."""
MESSAGES_A_ROUND = 20
"""So often some hundreds of old messages are forgotten in a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The policy."""

    buckets: timedelta = timedelta(days=7)
    """As sources tell them: what the detector learns from and reads."""
    history: timedelta = timedelta(days=90)
    """When each client used a credential, to five minutes: what silence is judged by. Also which destroyed versions it
    used, of which the last is always known."""
    messages: timedelta = timedelta(days=90)
    """What people were told, from when it was delivered or, if that is later, said last: an id that is known is not sent
    again. What is said of a state (a compromised version that is presented, a restored store that nobody has confirmed) is
    said again for as long as that lasts. All else is said once: at a commit, or with what a source tells, which comes again
    within days if at all (`BATCHES_KEPT`)."""


class Housekeeping:
    """Rolls up and forgets, once in a while."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        clock: Clock,
        retention: Retention,
        claims: Claims,
        contained: Contained,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._retention = retention
        self._claims = claims
        self._contained = contained
        self._next = clock.now()

    def tidy(self) -> None:
        """What is due, by one replica at a time; what fails for one credential leaves the others as they are. Buckets that a
        source has not declared complete are left: the detector has not read them."""
        now = self._clock.now()
        if now < self._next:
            return
        self._next = now + EVERY
        claim = self._claims.take_one("housekeeping")
        if claim is not None:
            with suppress(StaleRevision):  # another has taken over, and tidies
                self._round(claim, now)

    def _round(self, claim: Claim, now: datetime) -> None:
        self._store.forget_batches(now - BATCHES_KEPT)
        self._store.forget_detectors()
        any(not self._store.forget_messages(now - self._retention.messages) for _ in range(MESSAGES_A_ROUND))
        for name in self._store.with_usage():
            # Two that roll up the same day at once would each write what it has read of it, and one of it would be lost.
            claim.keep(LONGEST)
            self._contained.run(partial(self._tidy, name, claim, now), credential=name)

    def _tidy(self, name: str, claim: Claim, now: datetime) -> None:
        before = self._known(name, now) - self._retention.buckets
        for _ in range(ROLL_UPS_A_ROUND):
            if not self._store.roll_up(name, before):
                break
            claim.keep(LONGEST)
        self._store.forget_slots(name, now - self._retention.history)
        self._store.forget_uses(name, now - self._retention.history)

    def _known(self, credential: str, now: datetime) -> datetime:
        wired = self._registry.credentials.get(credential)
        states = self._store.sources()
        names: Iterable[str] = wired.sources if wired is not None else ()
        marks = [states[name].watermark for name in names if name in states]
        return min([mark for mark in marks if mark is not None], default=now)
