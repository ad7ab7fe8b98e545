"""The command `keyturn`."""

from keyturn.cli.application import main

__all__ = ["main"]
