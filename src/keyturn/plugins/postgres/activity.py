"""What the server itself says: who is connected now, and which generations its roles have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from keyturn.domain.errors import Denied, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.postgres.generations import MARK, read_comment

_SESSIONS = """
    SELECT usename, coalesce(host(client_addr), ''), application_name, backend_start
    FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')
    AND usename IS NOT NULL AND backend_start IS NOT NULL
"""
_GENERATIONS = """
    SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles
    WHERE shobj_description(oid, 'pg_authid') LIKE %s
"""
_SETTINGS = (
    "log_destination",
    "logging_collector",
    "log_connections",
    "log_disconnections",
    "log_timezone",
    "lc_messages",
)
_MAY_SEE = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One that is open."""

    user: str
    address: str
    application: str
    began: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One look at the server."""

    sessions: Sequence[Session]
    generations: Mapping[str, Mapping[int, datetime]]
    """Of each role that is ours."""


class Server:
    """A server, asked over a connection of each look's own."""

    def __init__(self, name: str, conninfo: str, *, timeout: timedelta) -> None:
        self._name = name
        self._conninfo = conninfo
        self._timeout = timeout

    def look(self, password: SecretValue | None) -> Activity:
        """Who is connected. Raises `Transient` and `Denied`; what may not be seen is never taken for nobody."""
        try:
            with closing(self._connect(password)) as connection:
                (may_see,) = connection.execute(_MAY_SEE).fetchone() or (False,)
                if not may_see:
                    raise Denied(f"{self._name}: may not see others' sessions: GRANT pg_read_all_stats to its user")
                generations = connection.execute(_GENERATIONS, [f"{MARK}%"]).fetchall()
                sessions = connection.execute(_SESSIONS).fetchall()
        except psycopg.Error as error:
            raise self._failure(error) from None
        return Activity(
            sessions=[Session(user=u, address=a, application=n, began=b) for u, a, n, b in sessions],
            generations={role: read_comment(text) for role, text in generations},
        )

    def settings(self, password: SecretValue | None) -> Mapping[str, str]:
        """What the server logs, and how. Raises as `look` does."""
        try:
            with closing(self._connect(password)) as connection:
                return {name: str((connection.execute(f"SHOW {name}").fetchone() or [""])[0]) for name in _SETTINGS}
        except psycopg.Error as error:
            raise self._failure(error) from None

    def _connect(self, password: SecretValue | None) -> psycopg.Connection[tuple[Any, ...]]:
        seconds = max(2, round(self._timeout.total_seconds()))
        return psycopg.connect(
            self._conninfo,
            password=None if password is None else password.reveal(),
            connect_timeout=seconds,
            options=f"-c statement_timeout={seconds * 1000}",
            # A server that is gone without a word is noticed in that time too: the statement's timeout is the server's own.
            tcp_user_timeout=seconds * 1000,
            keepalives_idle=seconds,
            keepalives_interval=max(1, seconds // 4),
            keepalives_count=3,
            application_name="keyturn",
            autocommit=True,
        )

    def _failure(self, error: psycopg.Error) -> Transient | Denied:
        # A refusal at connect has no state of its own: the text alone tells it.
        said = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        if "password authentication failed" in said or "not permitted to log in" in said:
            return Denied(f"{self._name}: login refused: see `conninfo` and `password`")
        return Transient(f"{self._name}: {said}")
