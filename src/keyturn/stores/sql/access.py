"""The digests of access tokens, and of what all processes must agree on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from keyturn.ports.records import AccessToken
from keyturn.stores.sql.database import InsertOnce, Upsert
from keyturn.stores.sql.tables import pins, tokens

_PUT = Upsert(tokens)
_PIN = InsertOnce(pins)
_PINNED = select(pins.c.digest).where(pins.c.name == bindparam("wanted"))


def all_tokens(connection: Connection) -> Sequence[AccessToken]:
    rows = connection.execute(select(tokens))
    found = [AccessToken(name=row.name, role=row.role, source=row.source, digest=row.digest) for row in rows]
    return sorted(found, key=lambda token: token.name)


def add_token(connection: Connection, token: AccessToken) -> None:
    row = {"name": token.name, "role": token.role, "source": token.source, "digest": token.digest}
    _PUT.run(connection, [row])


def pin(connection: Connection, name: str, digest: str) -> str:
    if _PIN.run(connection, {"name": name, "digest": digest}):
        return digest
    pinned: str = connection.execute(_PINNED, {"wanted": name}).scalar_one()
    return pinned
