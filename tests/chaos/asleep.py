"""A replica that falls asleep between its last look at the lease and the call, wakes when another has gone on without it,
and makes the call then (promise P7)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.daemons import Plan
from tests.chaos.ground import Secret
from tests.chaos.house import House, Replica

from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed, wait_until

WITHIN = 90.0
LOOK_EVERY = 0.1
TICKS = 6
"""So many ticks are waited after the sleeper's call, for what it did to be found and undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Where a replica falls asleep, and what the other does meanwhile."""

    name: str
    at: str
    """The pattern of the point."""
    roll_back_first: bool = False
    """An operator rolls back before the sleep: the point is one of the rollback."""
    end: str
    """How the rotation is to end."""


SLEEPS = (
    Sleep(name="stage", at="*/introduce/*/v2/* stage: before", end="rolled_back"),
    Sleep(name="install", at="*-introduce/install/v2* install: before", end="rolled_back"),
    Sleep(name="promote", at="*-overlap/promote/v2/* promote: before", end="rolled_back"),
    Sleep(name="disable", at="*-retire/disable/v1* disable: before", end="rolled_back"),
    Sleep(name="destroy", at="*-destroy/revoke/v1* revoke: before", end="completed"),
    Sleep(name="remove", at="*-destroy/remove/v1* remove: before", end="completed"),
    Sleep(name="disable the new", at="*-rollback/disable/v2* disable: before", roll_back_first=True, end="rolled_back"),
    Sleep(name="destroy the new", at="*-rollback/revoke/v2* revoke: before", roll_back_first=True, end="rolled_back"),
    Sleep(name="inside the table's change", at="*-retire/disable/v1* table of *: before", end="completed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """How one sleep went."""

    name: str
    slept: float
    refused: int
    mended_after: float
    """Seconds from the wakening until nobody was refused by it any more; 0 where nobody was."""
    broken: list[str]
