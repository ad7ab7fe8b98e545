"""What a guard or a row may rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keyturn.domain.reasons import Reason

Evidence = Mapping[str, "str | int | float | bool | list[str] | None"]


class Ruling(StrEnum):
    """What can be ruled."""

    ADVANCE = "advance"
    WAIT = "wait"
    HOLD = "hold"
    RETREAT = "retreat"
    ROLL_BACK = "roll_back"
    SUPERSEDE = "supersede"
    """End here; another rotation takes over every version that is not yet dead, by name."""
    HALT = "halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A ruling, its reason, and what it rests on."""

    ruling: Ruling
    reason: Reason
    detail: str = ""
    """One sentence for a person, naming what it is about."""
    evidence: Evidence = field(default_factory=dict)
    until: datetime | None = None
    """The earliest time at which waiting can end, when that is known."""
    latch: bool = False
    """A hold that stays until an operator ends it, even if its cause goes away."""


def wait(
    reason: Reason, detail: str = "", *, until: datetime | None = None, **evidence: str | int | list[str]
) -> Verdict:
    """Not yet."""
    return Verdict(ruling=Ruling.WAIT, reason=reason, detail=detail, until=until, evidence=evidence)


def hold(reason: Reason, detail: str = "", *, latch: bool = False, **evidence: str | int | list[str]) -> Verdict:
    """Stand still and page."""
    return Verdict(ruling=Ruling.HOLD, reason=reason, detail=detail, latch=latch, evidence=evidence)
