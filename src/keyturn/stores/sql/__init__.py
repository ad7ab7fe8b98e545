"""The store in a relational database, through SQLAlchemy Core."""

from keyturn.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
