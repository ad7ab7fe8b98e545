"""A notifier: carries a message to people or clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Notifier(Protocol):
    """One way to tell someone. Delivery is at least once; the receiver tells repeats by `message_id`."""

    def deliver(self, message_id: str, occurred_at: datetime, payload: Mapping[str, object]) -> None:
        """Send one message, bounded by a timeout. Raises `Transient` or `Throttled` for what is worth another try and
        `Denied` or `Invalid` for what is not. The payload never holds a secret value."""

    def close(self) -> None:
        """Give connections back."""
