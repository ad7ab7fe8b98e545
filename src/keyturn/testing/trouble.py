"""The kinds of trouble that a harness is asked to cause outside the plugin."""

from __future__ import annotations

from enum import StrEnum

from keyturn.domain.errors import Denied, Failure, Throttled, Transient


class Trouble(StrEnum):
    """What is wrong with the other side."""

    THROTTLED = "throttled"
    DENIED = "denied"
    UNREACHABLE = "unreachable"

    @property
    def failure(self) -> type[Failure]:
        """What a plugin raises for it, exactly: `Throttled` is told from any other `Transient`."""
        return {Trouble.THROTTLED: Throttled, Trouble.DENIED: Denied, Trouble.UNREACHABLE: Transient}[self]
