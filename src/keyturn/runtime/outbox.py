"""Delivers queued messages, at least once, with retries that back off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from keyturn.domain.errors import Failure, FailureKind, StaleRevision
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import OutboxItem
from keyturn.ports.store import Store
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.contained import Contained
from keyturn.runtime.registry import Registry
from keyturn.runtime.retries import backoff, delay

log = structlog.get_logger(__name__)

FIRST_RETRY = timedelta(seconds=1)
LAST_RETRY = timedelta(minutes=15)
LONGEST = timedelta(seconds=30)
"""A delivery that takes longer may be made by two replicas; receivers know a message by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Takes what is due from the store and hands it to its notifier."""

    store: Store
    registry: Registry
    clock: Clock
    executor: Executor
    claims: Claims
    contained: Contained

    def deliver(self) -> None:
        """One pass over what is due now, by one replica at a time. A notifier that cannot be reached is left alone for the
        rest of the pass: it costs one timeout, and what is for others does not wait behind what is for it."""
        if not self.store.outbox(self.clock.now(), limit=1):
            return
        claim = self.claims.take_one("outbox")
        away: set[str] = set()
        known = -1
        while claim is not None and len(away) > known:
            known = len(away)
            # Read only now: until it was claimed, another may have delivered.
            due = self.store.outbox(self.clock.now(), without=frozenset(away))
            self.executor.run([partial(self.contained.run, self._send(item, claim, away)) for item in due])

    def _send(self, item: OutboxItem, claim: Claim, away: set[str]) -> Callable[[], None]:
        def send() -> None:
            if item.notifier in away:
                return
            try:
                claim.keep(LONGEST)
            except StaleRevision:
                return
            notifier = self.registry.notifiers.get(item.notifier)
            if notifier is None:
                gone = f"no notifier is called {item.notifier!r} any more"
                self.store.undelivered(item.id, retry_at=None, error=gone)
                log.error("message dropped", message=item.message.id, error=gone)
                return
            payload = {"topic": item.message.topic, "text": item.message.text, **dict(item.message.details)}
            try:
                notifier.deliver(item.message.id, item.created_at, payload)
            except Failure as error:
                if error.kind is FailureKind.TRANSIENT:
                    away.add(item.notifier)
                self._failed(item, error)
                return
            self.store.delivered(item.id, at=self.clock.now())

        return send

    def _failed(self, item: OutboxItem, error: Failure) -> None:
        # What a receiver rejects for good may be mended there, so it is tried again too, at the slowest pace.
        first = FIRST_RETRY if error.kind is FailureKind.TRANSIENT else LAST_RETRY
        waits = backoff(f"{item.message.id}/{item.notifier}", first=first, longest=LAST_RETRY)
        retry_at = self.clock.now() + delay(error, item.attempts + 1, waits)
        self.store.undelivered(item.id, retry_at=retry_at, error=error.message)
        log.warning("message not delivered", message=item.message.id, notifier=item.notifier, error=error.message)
