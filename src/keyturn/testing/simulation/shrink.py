"""Makes a broken run short: disturbances that are not needed for it are left out."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.testing.simulation.plan import Plan
from keyturn.testing.simulation.run import Outcome

Rerun = Callable[[Plan], Outcome]
TRIES = 150
"""So many runs at most are spent on it."""


def shrunk(broken: Outcome, rerun: Rerun) -> Plan:
    """The least plan found that breaks the same promise (delta debugging, Zeller and Hildebrandt 2002)."""
    if broken.violation is None:
        return broken.plan
    promise, plan, left = broken.violation.promise, broken.plan, TRIES
    size = max(1, len(plan.disturbances) // 2)
    while size and left:
        start, dropped_any = 0, False
        while start < len(plan.disturbances) and left:
            shorter = plan.without(range(start, start + size))
            left -= 1
            found = rerun(shorter).violation
            if found is not None and found.promise == promise:
                plan, dropped_any = shorter, True
            else:
                start += size
        if size == 1 and not dropped_any:
            break
        size = max(1, size // 2) if size > 1 or dropped_any else 0
    return plan
