"""The digests of access tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from keyturn.ports.records import AccessToken
from keyturn.stores.sql.database import Upsert
from keyturn.stores.sql.tables import tokens

_PUT = Upsert(tokens)


def all_tokens(connection: Connection) -> Sequence[AccessToken]:
    rows = connection.execute(select(tokens))
    found = [AccessToken(name=row.name, role=row.role, source=row.source, digest=row.digest) for row in rows]
    return sorted(found, key=lambda token: token.name)


def add_token(connection: Connection, token: AccessToken) -> None:
    row = {"name": token.name, "role": token.role, "source": token.source, "digest": token.digest}
    _PUT.run(connection, [row])
