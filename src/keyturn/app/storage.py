"""Opens the store that the configuration names."""

from __future__ import annotations

from sqlalchemy import make_url

from keyturn.config import Config, resolver
from keyturn.ports.store import Store
from keyturn.stores.sql import SqlStore


def store_url(config: Config) -> str:
    """Where the store is, with the password that opens it."""
    url = make_url(config.store_url)
    if config.store_password is not None:
        url = url.set(password=resolver(config.folder)(config.store_password).reveal())
    return url.render_as_string(hide_password=False)


def open_store(config: Config) -> Store:
    """The store, ready to use. Raises `ConfigError` when it cannot be: another daemon holds it, say."""
    return SqlStore.open(store_url(config))
