"""The outbox in memory; its owner holds the lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import nsmallest

from keyturn.domain.effects import Message
from keyturn.ports.records import OutboxItem

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Delivery:
    item: OutboxItem
    retry_at: datetime = EPOCH
    """Due at once, whatever the clock of whoever delivers says, until it was tried."""


@dataclass(slots=True)
class _Known:
    message: Message
    """As it was said first."""
    said_at: datetime
    """When it was last said, or settled."""
    notifiers: set[str] = field(default_factory=set)
    """Those that it was queued for."""


class MemoryOutbox:
    """Messages that are known, by id, and what is left to be delivered."""

    def __init__(self) -> None:
        self._messages: dict[str, _Known] = {}
        self._deliveries: dict[int, _Delivery] = {}
        self._numbered = 0

    def queue(self, messages: Sequence[Message], notifiers: Sequence[str], now: datetime) -> None:
        for message in messages:
            known = self._messages.setdefault(message.id, _Known(message, now))
            known.said_at = now
            for one in notifiers:
                if one in known.notifiers:
                    continue
                known.notifiers.add(one)
                self._numbered += 1
                item = OutboxItem(id=self._numbered, message=known.message, notifier=one, created_at=now, attempts=0)
                self._deliveries[self._numbered] = _Delivery(item)

    def due(self, now: datetime, limit: int, without: frozenset[str]) -> Sequence[OutboxItem]:
        deliveries = self._deliveries.values()
        waiting = (one for one in deliveries if one.retry_at <= now and one.item.notifier not in without)
        first = nsmallest(limit, waiting, key=lambda one: (one.retry_at, one.item.id))
        return [one.item for one in first]

    def close(self, item: int, at: datetime) -> None:
        """Delivered, or given up."""
        closed = self._deliveries.pop(item, None)
        if closed is not None:
            self._messages[closed.item.message.id].said_at = at

    def retry(self, item: int, at: datetime) -> None:
        if item in self._deliveries:
            one = self._deliveries[item]
            one.item = replace(one.item, attempts=one.item.attempts + 1)
            one.retry_at = at

    def forget(self, before: datetime) -> bool:
        waiting = {one.item.message.id for one in self._deliveries.values()}
        self._messages = {
            one: known for one, known in self._messages.items() if one in waiting or known.said_at >= before
        }
        return False
