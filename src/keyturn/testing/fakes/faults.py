"""Faults to inject into the fakes, one call at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from keyturn.domain.errors import Denied, Failure, Throttled, Transient

T = TypeVar("T")


class Fault(StrEnum):
    """What goes wrong with one call."""

    THROTTLED = "throttled"
    """Refused for being too frequent; nothing happened."""
    DENIED = "denied"
    """Refused for a missing permission; nothing happened."""
    LOST_REQUEST = "lost request"
    """The call never arrives: the caller sees `Transient`, and nothing happened."""
    LOST_RESPONSE = "lost response"
    """The call takes effect and the caller sees `Transient`."""
    STALE_READ = "stale read"
    """A look at the world is answered from before the last write; of no effect on calls that write."""


@dataclass(slots=True, kw_only=True)
class _Planned:
    fault: Fault
    on: frozenset[str]
    times: int | None


class Faults:
    """A plan of faults; each call consumes the first that is meant for it."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self.happened: list[tuple[str, Fault]] = []
        """What was injected so far: method and fault."""

    def inject(self, fault: Fault, *on: str, times: int | None = 1) -> None:
        """Let the next `times` calls (None: all until `clear`) of the methods `on` (none named: any) meet `fault`."""
        self._planned.append(_Planned(fault=fault, on=frozenset(on), times=times))

    def clear(self) -> None:
        """All is well again."""
        self._planned.clear()

    def run(self, method: str, call: Callable[[], T], *, stale: Callable[[], T] | None = None) -> T:
        """Make the call, or what the plan makes of it; `stale` answers a stale read."""
        fault = self._next(method, readable=stale is not None) if self._planned else None
        if fault is Fault.STALE_READ and stale is not None:
            return stale()
        if fault is None:
            return call()
        if fault is Fault.LOST_RESPONSE:
            call()
        raise failure_of(fault, method)

    def _next(self, method: str, *, readable: bool) -> Fault | None:
        for plan in self._planned:
            if plan.on and method not in plan.on:
                continue
            if plan.fault is Fault.STALE_READ and not readable:
                continue
            if plan.times is not None:
                plan.times -= 1
                if plan.times <= 0:
                    self._planned.remove(plan)
            self.happened.append((method, plan.fault))
            return plan.fault
        return None


def failure_of(fault: Fault, method: str) -> Failure:
    """What the caller sees of a fault."""
    if fault is Fault.THROTTLED:
        return Throttled(f"fake: {method}: slow down", retry_after=timedelta(seconds=1))
    if fault is Fault.DENIED:
        return Denied(f"fake: {method}: not permitted")
    return Transient(f"fake: {method}: no answer")
