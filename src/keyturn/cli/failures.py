"""How a command fails: one clear line, and an exit code that says whose fault it is."""

from __future__ import annotations

REFUSED = 1
"""Refused, unreachable, or a check-up that found problems."""
USAGE = 2
"""The command line or the configuration is wrong."""


class CommandFailed(Exception):
    """A command that ends here."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.code = code
