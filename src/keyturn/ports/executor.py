"""Runs effects: in threads in the daemon, one after another in a simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs independent calls, perhaps at once."""

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Run every call and return their results in order. Calls report their own failures as results; one that raises
        is a defect, raised here after all have ended."""

    def pause(self, seconds: float) -> None:
        """Let a call that is under way wait before it is repeated; where time is virtual it does not pass."""

    def close(self) -> None:
        """Wait for what runs and take nothing more."""
