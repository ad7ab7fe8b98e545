"""How a rotation is meant to go: what is asked of the daemon, and what its end is to look like from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

FORWARD = ("introduce", "overlap", "monitor", "retire", "destroy", "completed")
GRACE = timedelta(seconds=3)
"""Of an emergency: longer than clients take to read their secret again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One way from a start to an end."""

    name: str
    phases: Sequence[str] = FORWARD
    old: Sequence[str] = ("disabled", "revoked")
    """States that the outgoing key goes through at each node, after the last rotation's."""
    new: Sequence[str] = ()
    """The same for the incoming one, which is first of all active."""
    promotes: int = 1
    compromised: bool = False
    """The outgoing key is: when its grace is over, whoever still has it is refused."""

    @property
    def forward(self) -> bool:
        """The incoming key is the one that readers get at the end."""
        return "revoked" not in self.new


ROTATION = Course(name="rotation")
ROLLBACK = Course(
    name="rollback",
    # Out of RETIRE, so that there is something to enable.
    phases=("introduce", "overlap", "monitor", "retire", "rollback", "rolled_back"),
    old=("disabled", "active"),
    new=("disabled", "revoked"),
    promotes=2,
)
EMERGENCY = Course(name="emergency", compromised=True)


def states(courses: Sequence[Course]) -> Mapping[int, list[str]]:
    """By serial, every state that the key of a version goes through in these rotations, one after the other."""
    found = {1: ["active"]}
    served = 1
    for new, course in enumerate(courses, start=2):
        found[served] += course.old
        found[new] = ["active", *course.new]
        served = new if course.forward else served
    return found


def compromised(courses: Sequence[Course]) -> Mapping[int, int]:
    """By the serial of each compromised version: the number that its successor's promote makes at OpenBao."""
    found = {}
    served = number = 1
    for new, course in enumerate(courses, start=2):
        if course.compromised:
            found[served] = number + 1
        number += course.promotes
        served = new if course.forward else served
    return found
