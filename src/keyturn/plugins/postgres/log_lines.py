"""Reads one line of PostgreSQL's JSON log as what it tells of a login."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from keyturn.plugins.logs import milliseconds

WRONG_PASSWORD = "28P01"  # noqa: S105 - an SQLSTATE
NOT_PERMITTED = "28000"
_APPLICATION = re.compile(r" application_name=(.*?)(?: SSL enabled.*| identity=.*)?$")
_LASTED = re.compile(r"disconnection: session time: (\d+):(\d\d):(\d\d\.\d+) ")
_AUTHORIZED = ("connection authorized: ", "replication connection authorized: ")
_UTC = frozenset({"UTC", "GMT"})


class Kind(StrEnum):
    """What a line tells."""

    LET_IN = "let in"
    """The password was right; a role that may not log in is refused after this."""
    REFUSED = "refused"
    ENDED = "ended"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLine:
    """A line that makes sense."""

    at: int
    """Milliseconds since the epoch."""
    kind: Kind
    session: str = ""
    user: str = ""
    address: str = ""
    application: str = ""
    began: int = 0


def read_line(line: bytes) -> LoginLine | None:
    """The line's meaning; None when it has none, or a time of an unknown zone."""
    try:
        entry = json.loads(line.decode("utf-8", "replace"))
        at = _time(entry["timestamp"])
        kind = _kind(entry)
        if kind is Kind.OTHER or "user" not in entry:
            return LoginLine(at=at, kind=Kind.OTHER)
        found = _APPLICATION.search(str(entry["message"]))
        return LoginLine(
            at=at,
            kind=kind,
            session=str(entry["session_id"]),
            user=str(entry["user"]),
            address=str(entry.get("remote_host", "")),
            application=str(entry.get("application_name", found[1] if found is not None else "")),
            began=_began(entry, at),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _kind(entry: Mapping[str, object]) -> Kind:
    message = str(entry["message"])
    if entry["error_severity"] == "FATAL" and entry.get("state_code") in (WRONG_PASSWORD, NOT_PERMITTED):
        return Kind.REFUSED
    if entry["error_severity"] == "LOG" and message.startswith(_AUTHORIZED):
        return Kind.LET_IN
    if entry["error_severity"] == "LOG" and message.startswith("disconnection: "):
        return Kind.ENDED
    return Kind.OTHER


def _began(entry: Mapping[str, object], at: int) -> int:
    """When the session began: its own field knows whole seconds only."""
    lasted = _LASTED.match(str(entry["message"]))
    if lasted is None:
        return _time(str(entry["session_start"]))
    hours, minutes, seconds = int(lasted[1]), int(lasted[2]), float(lasted[3])
    return at - round((hours * 3600 + minutes * 60 + seconds) * 1000)


def _time(text: str) -> int:
    moment, _, zone = text.rpartition(" ")
    if zone not in _UTC:
        raise ValueError(f"{zone}: set log_timezone to UTC")
    return milliseconds(datetime.fromisoformat(moment).replace(tzinfo=UTC))
