"""Which URLs name a store. Read without a database library, which the command line need not load to check one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

SQLITE = "sqlite:///"
POSTGRES = frozenset({"postgresql", "postgresql+psycopg"})
SECRETS = frozenset({"password", "sslpassword", "passfile", "options", "service"})
"""Parameters of a URL that may hold a secret, or lead to one that nobody checks."""


def objections(url: str) -> Iterator[str]:
    """What is wrong with a store's URL as the configuration gives it, and the mend. The URL itself is left out of it: one to
    a server may hold a password."""
    if url.startswith(SQLITE):
        name, mark, _ = url.removeprefix(SQLITE).partition("?")
        if not name or name == ":memory:":
            yield "names no file: write sqlite:///keyturn.db"
        elif mark:
            yield "sets parameters after the file's name, of which it takes none: leave out `?` and what follows it"
        return
    try:
        parts = urlsplit(url)
        _ = parts.port  # read only now, and it may be no number
    except ValueError:
        yield "is no URL: write postgresql+psycopg://USER@HOST:PORT/DATABASE"
        return
    if url.partition("://")[0] not in POSTGRES:
        yield "should begin with sqlite:/// or postgresql+psycopg://"
        return
    if parts.password:
        yield "holds a password: put it into store.password as env:NAME or file:/path"
    for name in sorted(SECRETS & {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}):
        yield f"sets {name!r}: leave it out; the password belongs into store.password"
