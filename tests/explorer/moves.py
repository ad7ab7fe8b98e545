"""The steps that may be taken in a state. A step is a label, unique in its state, and what it leads to."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tests.explorer.state import State


class Cause(Enum):
    """Who takes a step."""

    DAEMON = "daemon"
    WORLD = "world"
    """What happens by itself, or ends an adverse event."""
    OPERATOR = "operator"
    """An operator's word that a standstill asks for."""
    ADVERSE = "adverse"


class Move(NamedTuple):
    """One step."""

    label: str
    cause: Cause
    take: Callable[[], State]
