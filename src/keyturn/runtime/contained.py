"""What fails in one piece of work leaves the others as they are; a credential that cannot be worked on is told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from keyturn.domain.effects import Message
from keyturn.domain.errors import KeyturnError, Transient
from keyturn.logs import place_of
from keyturn.ports.clock import Clock
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry

log = structlog.get_logger(__name__)

T = TypeVar("T")

Met = Callable[[Exception], None]
"""Told of each defect that is contained. It may look where, and keeps nothing: the frames of an error hold values."""

STUCK = 5
"""So many ticks in a row fail for a credential before its people are told."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing can be done for a credential."""

    why: str
    ticks: int
    """How many in a row have failed for it."""

    def __str__(self) -> str:
        lasting = "in the last tick" if self.ticks == 1 else f"{self.ticks} ticks in a row"
        return f"nothing can be done for it, {lasting}: {self.why}"


class Contained:
    """Does pieces of work, each by itself, and logs what fails."""

    def __init__(self, *, store: Store, registry: Registry, clock: Clock, met: Met | None) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._met = met
        self._failed: dict[str, str] = {}
        """By credential: what has failed in the work that is under way."""
        self._troubles: dict[str, Trouble] = {}
        """By credential whose last work here failed."""
        self._elsewhere: set[str] = set()
        """Credentials that another replica works on."""
        self.defects = 0
        """How many were met, for people to look at."""

    def met(self, error: Exception, **about: str) -> None:
        """A defect was met, in a plugin or in keyturn, and is contained: it is logged by its place and without its words.
        `about`: what else to log of it."""
        self.defects += 1
        log.error("met a defect", **about, **place_of(error))
        if self._met is not None:
            self._met(error)

    def run(self, call: Callable[[], T], **about: str) -> T | None:
        """What the call returns; None when it failed. `about`: what to log of the work."""
        try:
            return call()
        except KeyturnError as error:
            log.warning("work failed", error=str(error), **about)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must not stand still for it
            self.met(error, **about)
        return None

    def part(self, name: str, call: Callable[[], T], *, lasting: bool = False) -> T | None:
        """What a part of the work on a credential returns; None when it failed. `lasting`: what is away counts as failed
        too, for no rotation's deadline tells of it, however long it is away."""
        try:
            return call()
        except Transient as error:
            # Something is away for a while.
            if lasting:
                self._failed[name] = str(error)
            log.warning("credential skipped in this tick", credential=name, error=str(error))
        except KeyturnError as error:
            self._failed[name] = str(error)
            log.warning("credential skipped in this tick", credential=name, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must not stand still for it
            self.met(error, credential=name)
            place = place_of(error)
            self._failed[name] = f"a defect ({place['error_type']} at {place.get('raised_at', 'nowhere')}): report it"
        return None

    def whole(self, name: str, call: Callable[[], T]) -> T | None:
        """What all of the work on a credential in one tick returns; None when it failed. Whoever it fails for again and
        again is told of, again and again (promise P10)."""
        result = self.part(name, call)
        self._elsewhere.discard(name)
        why = self._failed.pop(name, None)
        if why is None:
            self._troubles.pop(name, None)
            return result
        before = self._troubles.get(name)
        self._troubles[name] = Trouble(why, 1 if before is None else before.ticks + 1)
        if self._troubles[name].ticks >= STUCK:
            self.run(lambda: self._tell(name, why), credential=name)
        return result

    def trouble(self, name: str) -> Trouble | None:
        """What keeps anything from being done for a credential; None while work on it ends well, and while another replica,
        which knows better, works on it."""
        return None if name in self._elsewhere else self._troubles.get(name)

    def elsewhere(self, name: str) -> None:
        """Another replica works on a credential. What has failed here still counts: replicas that go on taking it from each
        other do nothing for it, and none of them would ever tell."""
        self._elsewhere.add(name)

    def _tell(self, name: str, why: str) -> None:
        wired, now = self._registry.credential(name), self._clock.now()
        # By the clock and not by a count: neither a restart nor another replica pages twice.
        page = int(now.timestamp() / wired.policy.time_between_pages.total_seconds())
        message = Message(
            id=f"{name}/stuck/{page}",
            topic="credential.stuck",
            text=f"{name}: nothing can be done for it: {why}",
            details=(("credential", name),),
        )
        self._store.enqueue([message], wired.notifiers, now=now)
