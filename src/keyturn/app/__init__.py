"""The composition root: configuration in, wired daemon out."""

from keyturn.app.daemon import Daemon, open_daemon
from keyturn.app.serving import serve

__all__ = ["Daemon", "open_daemon", "serve"]
