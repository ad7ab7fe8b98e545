"""The trail: lines that are only ever added, each chained to the one before it (promise P9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from keyturn.domain.phases import Phase
from keyturn.ports.records import HistoryEntry
from keyturn.stores.chain import linked
from keyturn.stores.codec import EVIDENCE
from keyturn.stores.sql.query import Query, Write
from keyturn.stores.sql.tables import history

_ADD = Write(insert(history))
_LAST = Query(
    select(history.c.number, history.c.digest)
    .where(history.c.credential == bindparam("wanted"))
    .order_by(history.c.number.desc())
    .limit(1)
)
_NEWEST = (
    select(history)
    .where(history.c.credential == bindparam("wanted"))
    .order_by(history.c.number.desc())
    .limit(bindparam("most"))
)


def append(connection: Connection, entries: Sequence[HistoryEntry]) -> None:
    for entry in entries:
        last = _LAST.first(connection, wanted=entry.credential)
        number, digest = (0, "") if last is None else (last.number, last.digest)
        line = linked(digest, entry)
        _ADD.run(
            connection,
            credential=line.credential,
            number=number + 1,
            at=line.at,
            rotation=line.rotation,
            phase=line.phase,
            kind=line.kind,
            reason=line.reason,
            detail=line.detail,
            evidence=EVIDENCE.write(line.evidence),
            by=line.by,
            digest=line.digest,
        )


def newest(connection: Connection, credential: str, limit: int) -> Sequence[HistoryEntry]:
    rows = connection.execute(_NEWEST, {"wanted": credential, "most": limit}).all()
    return [_entry(row) for row in reversed(rows)]


def _entry(row: Any) -> HistoryEntry:
    return HistoryEntry(
        at=row.at,
        credential=row.credential,
        rotation=row.rotation,
        phase=Phase(row.phase),
        kind=row.kind,
        reason=row.reason,
        detail=row.detail,
        evidence=EVIDENCE.read(row.evidence, f"line {row.number} of the history of {row.credential}"),
        by=row.by,
        digest=row.digest,
    )
