"""The outbox: each message once, to each of its notifiers until it has arrived, and then known for as long as it is said
again, also to a notifier that is named later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update

from keyturn.domain.effects import Message
from keyturn.ports.records import OutboxItem
from keyturn.stores.codec import MESSAGE
from keyturn.stores.sql.credentials import AT_ONCE
from keyturn.stores.sql.database import InsertOnce
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import EPOCH, deliveries, messages

DAY = timedelta(days=1)
"""What is said again at each tick is noted once in so long."""

_ADD = InsertOnce(messages)
_ITS = deliveries.c.message == messages.c.id
# A message's date is no longer anybody's once it is delivered: from then on it says when the message was said last.
_SAID_AGAIN = Write(
    update(messages)
    .where(
        messages.c.id == bindparam("wanted"),
        messages.c.created_at < bindparam("noted"),
        ~exists().where(_ITS, deliveries.c.waiting.is_(True)),
    )
    .values(created_at=bindparam("now"))
)
_OLD = (
    select(messages.c.id)
    .where(
        messages.c.created_at < bindparam("before"),
        ~exists().where(_ITS, or_(deliveries.c.waiting.is_(True), deliveries.c.closed_at >= bindparam("before"))),
    )
    .order_by(messages.c.created_at)
    .limit(AT_ONCE)
    # One that is being said again at this moment is not waited for.
    .with_for_update(skip_locked=True)
)
_FORGET = [
    delete(deliveries).where(deliveries.c.message.in_(bindparam("old", expanding=True))),
    delete(messages).where(messages.c.id.in_(bindparam("old", expanding=True))),
]
_ADDRESS = insert(deliveries)
_ADDRESSED = Query(select(deliveries.c.notifier).where(deliveries.c.message == bindparam("wanted")))
# Where the database has more than one writer, two that say it again at once come one after another.
_LOCKED = Query(select(messages.c.id).where(messages.c.id == bindparam("wanted")).with_for_update())
_DUE = (
    select(deliveries, messages.c.created_at, messages.c.document)
    .join(messages, messages.c.id == deliveries.c.message)
    .where(deliveries.c.waiting.is_(True), deliveries.c.retry_at <= bindparam("now"))
    # What was never tried has the earliest time there is.
    .order_by(deliveries.c.retry_at, deliveries.c.number)
    .limit(bindparam("most"))
)


def enqueue(connection: Connection, news: Sequence[Message], notifiers: Sequence[str], now: datetime) -> None:
    for message in news:
        row = {"id": message.id, "created_at": now, "document": MESSAGE.write(message)}
        if _ADD.run(connection, row):
            _address(connection, message.id, notifiers)
            continue
        _SAID_AGAIN.run(connection, wanted=message.id, noted=now - DAY, now=now)
        if _lacking(connection, message.id, notifiers) and _LOCKED.first(connection, wanted=message.id) is not None:
            _address(connection, message.id, _lacking(connection, message.id, notifiers))


def _lacking(connection: Connection, message: str, notifiers: Sequence[str]) -> Sequence[str]:
    """Those of these notifiers that a message was never queued for."""
    addressed = {row.notifier for row in _ADDRESSED.all(connection, wanted=message)} if notifiers else set()
    return [one for one in notifiers if one not in addressed]


def _address(connection: Connection, message: str, notifiers: Sequence[str]) -> None:
    if notifiers:
        connection.execute(
            _ADDRESS,
            [
                # Due at once, whatever the clock of whoever delivers says.
                {"message": message, "notifier": one, "attempts": 0, "retry_at": EPOCH, "waiting": True}
                for one in notifiers
            ],
        )


def due(connection: Connection, now: datetime, limit: int, without: frozenset[str]) -> Sequence[OutboxItem]:
    asked = _DUE.where(deliveries.c.notifier.not_in(sorted(without))) if without else _DUE
    return [
        OutboxItem(
            id=row.number,
            message=MESSAGE.read(row.document, f"message {row.message}"),
            notifier=row.notifier,
            created_at=row.created_at,
            attempts=row.attempts,
        )
        for row in connection.execute(asked, {"now": now, "most": limit})
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


def forget(connection: Connection, before: datetime) -> bool:
    old = connection.execute(_OLD, {"before": before}).scalars().all()
    for statement in _FORGET:
        connection.execute(statement, {"old": old})
    return len(old) == AT_ONCE
