"""One rotation one step on: gather → decide → commit → execute → record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from keyturn.domain.machine import Decision, decide
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Observations
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Verdict
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import Commit, Lease
from keyturn.ports.store import Store
from keyturn.runtime.adopt import started
from keyturn.runtime.claims import Claim
from keyturn.runtime.due import after_end
from keyturn.runtime.execute import Execute
from keyturn.runtime.gather import Gather
from keyturn.runtime.reconcile import Reconcile
from keyturn.runtime.registry import Registry
from keyturn.runtime.trail import trail

WATCHFUL = timedelta(minutes=10)
"""For so long after an end a call of ours that was on its way is looked for at every tick, and then at the policy's pace:
no plugin's timeout is as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Looks at a rotation's world, and does what is ruled on it."""

    store: Store
    registry: Registry
    clock: Clock
    executor: Executor
    gather: Gather
    reconcile: Reconcile
    execute: Execute
    looks: dict[str, tuple[Verdict, Observations]] = field(default_factory=dict)
    """What was ruled last, and on what, by rotation. Only for people to look at: nothing is ever decided on it."""

    def run(self, rotation: Rotation, claim: Claim) -> None:
        """One step, under the claim. What fails raises, and leaves what was committed to the next step."""
        stored = rotation
        rotation = self.registry.credential(stored.credential).at_its_targets(stored, self.clock.now())
        seen = self.gather.observe(rotation, claim)
        # Looking may take long: what it shows is put on record only by whom the rotation still belongs to.
        claim.keep(timedelta(0))
        seen = self.reconcile.settle(rotation.credential, seen)
        now = self.clock.now()
        decision = decide(rotation, seen, now)
        self.looks[rotation.id] = decision.verdict, seen
        if decision.rotation == stored and not decision.effects:
            if not rotation.live:
                self.store.set_check(rotation.credential, _next_check(decision, seen, now))
            return
        committed = self._commit(stored, decision, seen, now, claim.lease)
        attempts = {
            effect.id: (seen.effects[effect.id].attempts if effect.id in seen.effects else 0) + 1
            for effect in decision.effects
        }
        self.executor.run(
            [partial(self.execute.run, one, committed, attempts[one.id], claim) for one in decision.effects]
        )

    def forget_all_but(self, live: Collection[str]) -> None:
        """Let go of the looks at rotations that have ended."""
        for gone in [rotation for rotation in list(self.looks) if rotation not in live]:
            self.looks.pop(gone, None)

    def _commit(
        self, before: Rotation, decision: Decision, seen: Observations, now: datetime, claim: Lease
    ) -> Rotation:
        after, successor = decision.rotation, decision.successor
        wired = self.registry.credential(after.credential)
        due = None
        if before.live and not after.live:
            known = self.store.credential(after.credential)
            due = after_end(wired.schedule, after, known.rolled_back if known is not None else 0, now)
        return self.store.commit(
            Commit(
                rotation=after,
                claim=claim,
                intents=decision.effects,
                messages=decision.messages,
                notifiers=wired.notifiers,
                history=trail(before, decision, seen, now),
                due_at=due,
                check_at=None if after.live else _next_check(decision, seen, now),
                successor=successor,
                successor_entry=None
                if successor is None
                else started(successor, why=f"takes over from {after.id}: {decision.verdict.detail}", now=now),
            )
        )


def _next_check(decision: Decision, seen: Observations, now: datetime) -> datetime:
    """When an ended rotation is looked at again: at the next tick while something is to be done, or may still land."""
    ended = decision.rotation
    doubtful = (seen.late or any(one.attempts > 1 or not one.succeeded for one in seen.effects.values())) and (
        now - ended.entered.at < WATCHFUL
    )
    resting = decision.verdict.reason is Reason.AT_REST and not doubtful
    return now + ended.policy.drift_every if resting else now
