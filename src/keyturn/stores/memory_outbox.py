"""The outbox in memory; its owner holds the lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.domain.effects import Message
from keyturn.ports.records import OutboxItem


@dataclass(slots=True)
class _Delivery:
    item: OutboxItem
    retry_at: datetime | None = None


class MemoryOutbox:
    """Messages that were ever queued, by id, and what is left to be delivered."""

    def __init__(self) -> None:
        self._messages: set[str] = set()
        self._deliveries: dict[int, _Delivery] = {}
        self._numbered = 0

    def queue(self, messages: Sequence[Message], notifiers: Sequence[str], now: datetime) -> None:
        for message in messages:
            if message.id in self._messages:
                continue
            self._messages.add(message.id)
            for notifier in notifiers:
                self._numbered += 1
                item = OutboxItem(id=self._numbered, message=message, notifier=notifier, created_at=now, attempts=0)
                self._deliveries[self._numbered] = _Delivery(item)

    def due(self, now: datetime, limit: int) -> Sequence[OutboxItem]:
        waiting = (one for one in self._deliveries.values() if one.retry_at is None or one.retry_at <= now)
        return [one.item for one, _ in zip(waiting, range(limit), strict=False)]

    def close(self, item: int) -> None:
        """Delivered, or given up."""
        self._deliveries.pop(item, None)

    def retry(self, item: int, at: datetime) -> None:
        if item in self._deliveries:
            one = self._deliveries[item]
            one.item = replace(one.item, attempts=one.item.attempts + 1)
            one.retry_at = at
