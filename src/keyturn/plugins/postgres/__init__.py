"""PostgreSQL: who is logged in as which generation of a paired user."""

from keyturn.plugins.postgres.logins import Logins

postgres_logins = Logins

__all__ = ["postgres_logins"]
