"""What the usage source `postgres-logins` reads from the configuration."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, AwareDatetime, Field

from keyturn.plugins.logs import ByNetwork
from keyturn.plugins.options import Duration, LastingDuration, Options


class ClientBy(StrEnum):
    """By what clients are told apart."""

    ADDRESS = "address"
    """Where they connect from, by `clients`: known for refused logins too."""
    APPLICATION_NAME = "application_name"
    """What they call themselves: worth something from one who got in alone."""


def _conninfo(given: str) -> str:
    try:
        read = conninfo_to_dict(given)
    except Error:
        raise ValueError('write it as "host=db.example.net port=5432 dbname=app user=keyturn_watch"') from None
    if read.get("password"):
        raise ValueError("holds a password: put it into `password` as env:NAME or file:/path")
    return given


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for address in given:
        ip_network(address)
    return given


class LoginsOptions(Options):
    """Options of the usage source `postgres-logins`."""

    conninfo: Annotated[str, AfterValidator(_conninfo)]
    """How to reach the server, as libpq reads it; the user needs `pg_read_all_stats` and nothing else."""
    password: str | None = None
    """A reference."""
    files: tuple[Path, ...] = Field(min_length=1)
    """The server's log in JSON (`log_destination = jsonlog`), by its steady name; rotated siblings are found beside it."""
    client: ClientBy = ClientBy.ADDRESS
    clients: ByNetwork = Field(default_factory=dict)
    """Client names by address or network; the narrowest network decides."""
    ours: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    """Addresses or networks that keyturn itself connects from, and no client does: its logins are nobody's use."""
    resolution: LastingDuration = timedelta(minutes=1)
    lag: Duration = timedelta(seconds=2)
    """How late a line may be written after the time that it bears."""
    timeout: LastingDuration = timedelta(seconds=10)
    accept_gaps_before: AwareDatetime | None = None
    """Lines lost before this time are taken for lost for good: an operator's word."""
