"""The outbox: each message once, to each of its notifiers until it has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from keyturn.domain.effects import Message
from keyturn.ports.records import OutboxItem
from keyturn.stores.codec import MESSAGE
from keyturn.stores.sql.database import InsertOnce
from keyturn.stores.sql.tables import EPOCH, deliveries, messages

_ADD = InsertOnce(messages)
_ADDRESS = insert(deliveries)
_DUE = (
    select(deliveries, messages.c.created_at, messages.c.document)
    .join(messages, messages.c.id == deliveries.c.message)
    .where(deliveries.c.waiting.is_(True), deliveries.c.retry_at <= bindparam("now"))
    .order_by(deliveries.c.number)
    .limit(bindparam("most"))
)


def enqueue(connection: Connection, news: Sequence[Message], notifiers: Sequence[str], now: datetime) -> None:
    for message in news:
        row = {"id": message.id, "created_at": now, "document": MESSAGE.write(message)}
        if _ADD.run(connection, row) and notifiers:
            connection.execute(
                _ADDRESS,
                [
                    # Due at once, whatever the clock of whoever delivers says.
                    {"message": message.id, "notifier": one, "attempts": 0, "retry_at": EPOCH, "waiting": True}
                    for one in notifiers
                ],
            )


def due(connection: Connection, now: datetime, limit: int) -> Sequence[OutboxItem]:
    return [
        OutboxItem(
            id=row.number,
            message=MESSAGE.read(row.document, f"message {row.message}"),
            notifier=row.notifier,
            created_at=row.created_at,
            attempts=row.attempts,
        )
        for row in connection.execute(_DUE, {"now": now, "most": limit})
    ]


def delivered(connection: Connection, item: int, at: datetime) -> None:
    connection.execute(
        update(deliveries).where(deliveries.c.number == item).values(waiting=False, closed_at=at, error=None)
    )


def undelivered(connection: Connection, item: int, retry_at: datetime | None, error: str, now: datetime) -> None:
    tried = update(deliveries).where(deliveries.c.number == item, deliveries.c.waiting.is_(True))
    tried = tried.values(attempts=deliveries.c.attempts + 1, error=error)
    after = {"waiting": False, "closed_at": now} if retry_at is None else {"retry_at": retry_at}
    connection.execute(tried.values(**after))
