"""One pass over every credential that something is to be done for, lot by lot; each is claimed first, and worked on by
itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import Credential
from keyturn.ports.store import Store
from keyturn.runtime.adopt import adopt, begin_rotation
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.confirm import Confirm
from keyturn.runtime.contained import Contained
from keyturn.runtime.due import as_scheduled
from keyturn.runtime.evidence import Silences
from keyturn.runtime.registry import Registry
from keyturn.runtime.step import Step

log = structlog.get_logger(__name__)

CLAIMED_AT_ONCE = 64
"""So many credentials are claimed and worked on before the next are: what waits behind them is free for other replicas. No
more than are worked on well within a lease, also by a slow machine among slow backends: claims that run out before their
turn go to another replica, to run out there, and the last of many credentials would never have one."""


class Work:
    """What a tick does for credentials. A tick's cost follows what is due, not what exists."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        clock: Clock,
        executor: Executor,
        claims: Claims,
        step: Step,
        confirm: Confirm,
        silences: Silences,
        contained: Contained,
        fingerprint_key: bytes,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._executor = executor
        self._claims = claims
        self._step = step
        self._confirm = confirm
        self._silences = silences
        self._contained = contained
        self._key = fingerprint_key
        self._unscheduled = set(registry.credentials)
        # Not yet seen to be registered, and due by the schedule that they have now.
        self._turns: dict[str, threading.Lock] = {}

    def run(self) -> None:
        """What is due started, and every live rotation one step on. What fails for one credential leaves the others as
        they are."""
        moved: set[str] = set()
        names = self._names()
        for start in range(0, len(names), CLAIMED_AT_ONCE):
            ended = self._each(names[start : start + CLAIMED_AT_ONCE], self._on)
            moved |= {rotation for rotation in ended if rotation is not None}
        self._silences.forget_all_but(moved)
        self._step.forget_all_but(moved)

    def on_one(self, name: str) -> None:
        """What is due for one credential, whatever else is under way."""
        if name not in self._store.unconfirmed():
            self._each([name], self._on)

    def report(self) -> None:
        """Tell of what a backup remembers and nobody has confirmed yet. After the work: each is a whole look at a world
        that may be slow, and nothing else is done for it before a person's word."""
        restored = [name for name in self._store.unconfirmed() if name in self._registry.credentials]
        self._each(self._confirm.to_report(restored), self._report)

    def _report(self, name: str, claim: Claim) -> None:
        del claim
        report = partial(self._confirm.report, self._registry.credential(name))
        self._contained.part(name, report, lasting=True)

    def _each(self, names: Sequence[str], work: Callable[[str, Claim], str | None]) -> list[str | None]:
        """Claim these credentials, and work on each that is ours."""
        claims = self._claims.take([f"credential/{name}" for name in names])
        for name in names:
            if f"credential/{name}" not in claims:
                self._contained.elsewhere(name)
        ours = [(name, claims[f"credential/{name}"]) for name in names if f"credential/{name}" in claims]
        return self._executor.run([partial(self._in_turn, name, partial(work, name, claim)) for name, claim in ours])

    def _in_turn(self, name: str, work: Callable[[], str | None]) -> str | None:
        """Work on a credential after whoever does so already: a claim keeps other replicas out, and not the command's work
        from the tick's."""
        with self._turns.setdefault(name, threading.Lock()):
            return self._contained.whole(name, work)

    def _names(self) -> list[str]:
        """Names of the credentials that something is to be done for now."""
        now = self._clock.now()
        rotating = dict.fromkeys(self._store.rotating())
        unknown = []
        for name in sorted(self._unscheduled):
            credential = self._store.credential(name)
            if credential is None:
                unknown.append(name)
            elif name in rotating:  # its end sets the date
                self._unscheduled.discard(name)
            else:
                self._contained.part(name, partial(self._schedule, credential, now))
        # Another set, for going through one costs what it once held, and a tick nothing for what is not due.
        self._unscheduled = set(self._unscheduled)
        for name in rotating:
            if name not in self._registry.credentials:
                log.error("a credential rotates that is not configured", credential=name)
        names = dict.fromkeys([*unknown, *self._store.due(now), *rotating, *self._store.to_check(now)])
        # Nothing is done for what a backup remembers before a person has confirmed it.
        restored = set(self._store.unconfirmed())
        return [name for name in names if name in self._registry.credentials and name not in restored]

    def _schedule(self, credential: Credential, now: datetime) -> None:
        """The schedule may have changed while no process ran: a credential at rest is due by the one that it has now. Once a
        process, since a schedule changes with a restart only; but until it has succeeded."""
        name, schedule = credential.name, self._registry.credential(credential.name).schedule
        if schedule is not None or credential.due_at is not None:
            due_at = as_scheduled(schedule, credential, self._store.latest_of(name), now)
            if due_at != credential.due_at:
                said = "on command" if due_at is None else due_at.isoformat()
                log.info("the schedule has changed", credential=name, next=said)
                self._store.set_due(name, due_at)
        self._unscheduled.discard(name)

    def _on(self, name: str, claim: Claim) -> str | None:
        """Do what is to be done for one credential. Returns the id of its live rotation."""
        wired, now = self._registry.credential(name), self._clock.now()
        if name in self._unscheduled and self._store.credential(name) is None:
            take = partial(adopt, self._store, self._registry, name, self._key, now)
            self._contained.part(name, take, lasting=True)
        rotation = self._store.live_of(name)
        known = self._store.credential(name) if rotation is None else None
        if known is not None and known.due_at is not None and known.due_at <= now:
            begin = partial(begin_rotation, by="schedule", why="due", now=now, claim=claim.lease)
            rotation = self._contained.part(name, lambda: begin(self._store, wired))
        if known is not None and known.check_at is not None and known.check_at <= now and rotation is None:
            # Between rotations: what a late call of an ended one has changed is undone, and another's hand is reported.
            rotation = self._store.latest_of(name)
        if rotation is None:
            return None
        self._contained.part(name, lambda: self._step.run(rotation, claim))
        return rotation.id if rotation.live else None
