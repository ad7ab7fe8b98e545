"""One pass over everything that something is to be done for, and what operators ask for between two. No state is kept in
memory between ticks, so a crash, a restart and an operator's command are all the ordinary tick."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from keyturn.domain import commands
from keyturn.domain.errors import Refused, StaleRevision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Observations
from keyturn.logs import place_of
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import Commit
from keyturn.ports.store import Store
from keyturn.runtime.adopt import begin_emergency, begin_rotation, check_confirmed, in_care, plan_rotation
from keyturn.runtime.claims import LEASE, Claims
from keyturn.runtime.confirm import Adoption, Confirm
from keyturn.runtime.contained import Contained, Met, Trouble
from keyturn.runtime.evidence import Silences
from keyturn.runtime.execute import Execute
from keyturn.runtime.gather import Gather
from keyturn.runtime.guarded import guarded
from keyturn.runtime.outbox import Outbox
from keyturn.runtime.reconcile import Reconcile
from keyturn.runtime.registry import Registry
from keyturn.runtime.retention import Housekeeping, Retention
from keyturn.runtime.retries import AtOnce
from keyturn.runtime.status import Standing, Status
from keyturn.runtime.step import Step
from keyturn.runtime.targets import Targets
from keyturn.runtime.trail import commanded
from keyturn.runtime.usage import Intake
from keyturn.runtime.work import Work

log = structlog.get_logger(__name__)

COMMAND_TRIES = 5
"""A command that finds the rotation moved reads it again this often: ticks move it all the time."""


class Runtime:
    """Runs every configured credential against one store."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        clock: Clock,
        executor: Executor,
        fingerprint_key: bytes,
        owner: str,
        retention: Retention | None = None,
        met: Met | None = None,
    ) -> None:
        """`owner` is this process's name among the replicas: no other, and none before it, has the same. `met` is told of
        each defect of keyturn's or of a plugin's that was contained."""
        self._contained = Contained(store=store, registry=registry, clock=clock, met=met)
        registry = guarded(registry, self._contained.met)
        self._store = store
        self._registry = registry
        self._clock = clock
        self._key = fingerprint_key
        silences = Silences(store=store)
        at_once = AtOnce(clock=clock, executor=executor)
        self._gather = Gather(
            store=store,
            registry=registry,
            executor=executor,
            fingerprint_key=fingerprint_key,
            silences=silences,
            at_once=at_once,
            targets=Targets(store=store, executor=executor, fingerprint_key=fingerprint_key, at_once=at_once),
        )
        claims = Claims(store=store, clock=clock, owner=owner, ttl=_lease_for(registry))
        self._claims = claims
        self._confirm = Confirm(store=store, gather=self._gather, clock=clock, fingerprint_key=fingerprint_key)
        self._step = Step(
            store=store,
            registry=registry,
            clock=clock,
            executor=executor,
            gather=self._gather,
            reconcile=Reconcile(store=store, clock=clock),
            execute=Execute(
                store=store,
                registry=registry,
                clock=clock,
                claims=claims,
                fingerprint_key=fingerprint_key,
                at_once=at_once,
            ),
        )
        self._standing = Standing(
            store=store, clock=clock, gather=self._gather, step=self._step, contained=self._contained
        )
        self._work = Work(
            store=store,
            registry=registry,
            clock=clock,
            executor=executor,
            claims=claims,
            step=self._step,
            confirm=self._confirm,
            silences=silences,
            contained=self._contained,
            fingerprint_key=fingerprint_key,
        )
        self._outbox = Outbox(
            store=store, registry=registry, clock=clock, executor=executor, claims=claims, contained=self._contained
        )
        self._intake = Intake(
            store=store, registry=registry, clock=clock, executor=executor, claims=claims, contained=self._contained
        )
        self._housekeeping = Housekeeping(
            store=store,
            registry=registry,
            clock=clock,
            retention=retention or Retention(),
            claims=self._claims,
            contained=self._contained,
        )

    def tick(self) -> None:
        """One pass: usage in, what is due started, every live rotation one step on, messages out; all of it claimed first,
        so that of several replicas one works on each thing.

        What fails for one credential is logged and leaves the others as they are. What ends a part of the pass, such as a
        store that is away, keeps no other part from being tried: the first is raised when all have ended.
        """
        failed: Exception | None = None
        for part in (
            self._intake.poll,
            self._work.run,
            self._work.report,
            self._outbox.deliver,
            self._housekeeping.tidy,
        ):
            try:
                part()
            except Exception as error:  # noqa: BLE001 - raised again below
                if failed is not None:
                    log.error("another part ended early", **place_of(error))  # noqa: TRY400 - a traceback may show values
                failed = failed or error
        try:
            if failed is not None:
                raise failed
        finally:
            del failed  # its frames, and what they hold, would outlive the tick

    def work_on(self, name: str) -> None:
        """What a tick does for one credential, beside the tick under way. What fails is logged, and left to the ticks."""
        self._contained.run(lambda: self._work.on_one(name), credential=name)

    def resign(self) -> None:
        """Leave everything to the other replicas, at once."""
        self._claims.resign()

    def start(self, name: str, *, by: str, why: str, dry_run: bool = False) -> Rotation:
        """Start a rotation now. Raises `Refused` when one is under way, or when the credential cannot be read yet."""
        wired, now = self._registry.credential(name), self._clock.now()
        known = in_care(self._store, self._registry, name, self._key, now, dry_run=dry_run)
        if dry_run:
            return plan_rotation(self._store, wired, by=by, now=now, known=known)
        return begin_rotation(self._store, wired, by=by, why=why, now=now)

    def emergency(
        self,
        name: str,
        *,
        serial: int | None,
        by: str,
        why: str,
        grace: timedelta | None,
        cut_now: bool,
        dry_run: bool = False,
    ) -> Rotation:
        """Report a version compromised, and rotate away from it: with a rotation that starts now, or with the one under
        way. None: the version that readers get, where only one can be meant. Raises `Refused` with the reason."""
        self._check_confirmed(name)
        live = self._store.live_of(name)
        if serial is None and live is not None:
            able = [v for v, known in sorted(live.versions.items()) if known.key_id and not known.compromised_at]
            if len(able) != 1:
                named = ", ".join(f"v{v}" for v in able) or "none that is not reported yet"
                raise Refused(f"{name} has {named}: name the one that is compromised with --version")
            serial = able[0]
        now = self._clock.now()
        report = partial(commands.emergency, by=by, why=why, now=now, grace=grace, cut_now=cut_now)
        if live is not None and serial is not None:
            change = partial(report, serial=serial)
            return self.command(name, change, by=by, what=f"emergency v{serial}: {why}", dry_run=dry_run)
        wired = self._registry.credential(name)
        known = in_care(self._store, self._registry, name, self._key, now, dry_run=dry_run)
        return begin_emergency(
            self._store, wired, report, serial=serial, by=by, why=why, now=now, dry_run=dry_run, known=known
        )

    def adopt(self, name: str, *, code: str | None, by: str, why: str, dry_run: bool = False) -> Adoption:
        """What is found of a credential whose store was restored or lost, and what follows from it; with the code of just
        that, it follows. Raises `Refused` when there is nothing to adopt, or when the code stands for another world, and
        `Transient` or `Denied` when the world cannot be read."""
        wired = self._registry.credential(name)
        if code is None or dry_run:
            return self._confirm.look(wired, code)
        return self._confirm.confirm(wired, code, by=by, why=why)

    def look(self, name: str) -> Observations:
        """The world of a credential's live rotation as it is now. Raises `Refused` when none is live."""
        rotation = self._store.live_of(name)
        if rotation is None:
            raise Refused(f"no rotation of {name} is under way; `keyturn rotate {name}` starts one")
        return self._gather.observe(rotation)

    def command(
        self,
        name: str,
        change: Callable[[Rotation], Rotation],
        *,
        by: str,
        what: str,
        dry_run: bool = False,
    ) -> Rotation:
        """Apply an operator's command to the live rotation. One that changes nothing, like the same once more, leaves the
        ticks alone. Raises `Refused` with the reason when it is not allowed; the world is then as it was."""
        self._registry.credential(name)
        self._check_confirmed(name)
        for _ in range(COMMAND_TRIES):
            rotation = self._store.live_of(name)
            if rotation is None:
                raise Refused(f"no rotation of {name} is under way; `keyturn rotate {name}` starts one")
            changed = change(rotation)
            if dry_run or changed == rotation:
                return changed
            entry = commanded(name, rotation, what, by=by, now=self._clock.now())
            try:
                return self._store.commit(Commit(rotation=changed, history=[entry]))
            except StaleRevision:
                continue
        raise Refused(f"{name} is moving too fast to command; try again")

    def _check_confirmed(self, name: str) -> None:
        if (known := self._store.credential(name)) is not None:
            check_confirmed(known)

    def status(self, name: str) -> Status:
        """A credential as the last tick saw it, or read afresh when there was none. Raises `Refused` before it was first
        read."""
        self._registry.credential(name)
        return self._standing.of(name)

    def trouble(self, name: str) -> Trouble | None:
        """What keeps anything from being done for a credential."""
        return self._contained.trouble(name)

    @property
    def defects(self) -> int:
        """How many defects, of keyturn's or of plugins', were contained so far."""
        return self._contained.defects

    @property
    def ingest(self) -> Intake:
        """Where sources push to."""
        return self._intake


def _lease_for(registry: Registry) -> timedelta:
    """How long claims last: a call must end well before the lease that it is made under."""
    wired = registry.credentials.values()
    targets = [target.timeout for one in wired for target in one.targets.values()]
    return max(LEASE, 2 * max([*targets, *(one.issuer.timeout for one in wired)], default=timedelta(0)))
