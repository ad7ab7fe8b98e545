"""Time, injected."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: UTC for what is recorded, monotonic for leases."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
