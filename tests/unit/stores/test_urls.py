"""The URL of a store, as the configuration is checked and as it is opened."""

from __future__ import annotations

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.stores.sql.store import checked
from keyturn.stores.urls import objections


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///keyturn.db",
        "sqlite:////var/lib/keyturn/keyturn.db",
        "sqlite:///keyturn.db?mode=rwc",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite:///keyturn.db",
        "postgresql://keyturn@db/keyturn",
        "postgresql+psycopg://keyturn@[::1]:5432/keyturn?sslmode=require",
        "postgresql+psycopg://keyturn@[::1:5432/keyturn",
        "postgresql+psycopg://keyturn@db:door/keyturn",
        "postgresql+asyncpg://keyturn@db/keyturn",
        "POSTGRESQL://keyturn@db/keyturn",
        "mysql://keyturn@db/keyturn",
        "keyturn.db",
    ],
)
def test_what_passes_the_check_can_be_opened(url: str) -> None:
    """Both take the same URLs: no configuration passes that the daemon refuses at its start."""
    try:
        checked(url)
    except ConfigError:
        taken = False
    else:
        taken = True
    assert taken is not bool(list(objections(url)))
