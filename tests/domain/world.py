"""A simulated world for `decide`: in memory, without I/O, with every fault that the runtime's contract allows.

One tick is observe → decide → commit → (perhaps crash) → execute → record. Everything a test asks of the world is its
truth, never the machine's memory of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.domain.ground import Fate, Ground, Written
from tests.domain.places import Client, Target, Verifier, seconds

from keyturn.domain import commands, machine
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation
from keyturn.domain.observations import (
    Acceptance,
    ClientSeen,
    EffectSeen,
    Entry,
    Observations,
    Serving,
    ServingKind,
    SourceSeen,
    TargetSeen,
    UsageSeen,
    VerifierSeen,
)
from keyturn.domain.succession import begin


class TroubleError(Exception):
    """A call failed."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class World(Ground):
    """The world, and the daemon in it."""

    def calm(self) -> None:
        """Every fault ends; what was on its way arrives."""
        for effect in self.late:
            self.land(effect)
        self.late = []
        self.heal()

    # One tick of the daemon

    def start(self) -> None:
        """A rotation begins, if none lives."""
        if self.rotation is not None:
            return
        self.ended = None
        self.rotations += 1
        self.heard = self.now
        for client in self.clients.values():
            client.acknowledged = False  # of what an owner said of another rotation
        for verifier in self.verifiers.values():
            verifier.backup = dict(verifier.table)
        self.forced.discard(self.current.serial)
        self.rotation = begin(
            id=f"r{self.rotations}",
            credential="api",
            policy=self.policy,
            targets=tuple(self.targets),
            current=self.current,
            incoming=self.next_serial,
            now=self.now,
            by="schedule",
        )
        self.next_serial += 1

    def tick(self, judge: Callable[[World, Rotation, Decision], None] | None = None) -> Decision | None:
        """One pass of the daemon over the live rotation, or over the end of the last; `judge` sees what is decided for a
        live one before it is done."""
        for verifier in self.verifiers.values():
            verifier.seen_away = verifier.seen_away or verifier.away
        before = self.rotation
        if before is None:
            if self.ended is not None:
                kept = machine.decide(self.ended, self.observe(self.ended), self.now)
                self.commit(kept)
                self.run(kept.effects)
            return None
        decision = machine.decide(before, self.observe(before), self.now)
        self.commit(decision)
        if judge is not None:
            judge(self, before, decision)
        self.run(decision.effects)
        return decision

    def commit(self, decision: Decision) -> None:
        """The rotation, its intents and its messages, all or nothing."""
        after = replace(decision.rotation, revision=decision.rotation.revision + 1)
        ids = [effect.id for effect in decision.effects]
        assert len(set(ids)) == len(ids), f"P5: one outcome for two calls: {ids}"
        for effect in decision.effects:
            before = self.journal.get(effect.id)
            attempts = before.seen.attempts + 1 if before is not None else 1
            self.journal[effect.id] = Written(
                seen=EffectSeen(kind=effect.kind, serial=effect.serial, attempts=attempts, succeeded=False),
                kind=effect.kind,
                rotation=after.id,
            )
        for message in decision.messages:
            self.messages.setdefault(message.id, (self.now, message))
        self.rotation = after
        if decision.successor is not None:
            self.rotation = decision.successor
            self.next_serial += 1
            self.ended = None
        elif not after.live:
            self.current = after.versions[after.survivor]
            self.rotation, self.ended = None, after

    def run(self, effects: tuple[Effect, ...]) -> None:
        """Carry effects out, as their fates will have it."""
        for effect in effects:
            fate = self.fates.pop(0) if self.fates else Fate.DONE
            if fate is Fate.CRASH_BEFORE:
                return
            if fate in (Fate.LATE, Fate.FROZEN):
                self.late.append(effect)
            if fate is Fate.FROZEN:
                return
            if fate in (Fate.FAILED, Fate.LATE):
                self._record(effect, failure=FailureKind.TRANSIENT, message="timed out")
                continue
            try:
                key_id = self.perform(effect)
            except TroubleError as trouble:
                self._record(effect, failure=trouble.kind, message=str(trouble))
                continue
            if fate is Fate.CRASH_AFTER:
                return
            if fate is Fate.LOST:
                self._record(effect, failure=FailureKind.TRANSIENT, message="timed out")
            else:
                self._record(effect, key_id=key_id)

    def _record(
        self, effect: Effect, *, failure: FailureKind | None = None, message: str = "", key_id: str | None = None
    ) -> None:
        before = self.journal[effect.id]
        attempts = before.seen.attempts
        retry_at = self.now + seconds(min(15, 2**attempts)) if failure is not None else None
        seen = EffectSeen(
            kind=effect.kind,
            serial=effect.serial,
            attempts=attempts,
            succeeded=failure is None,
            at=self.now,
            failure=failure,
            message=message,
            retry_at=retry_at,
            key_id=key_id,
            fingerprint=f"f{effect.serial}" if key_id is not None else None,
        )
        self.journal[effect.id] = replace(before, seen=seen)

    def command(self, change: Callable[..., Rotation], **arguments: object) -> None:
        """An operator's word to the live rotation. Raises `Refused` as the daemon would."""
        if self.rotation is None:
            return
        changed = change(self.rotation, **arguments)
        self.rotation = replace(changed, revision=changed.revision + 1)
        self.heard = self.now
        self.leaked |= set(changed.marks)
        if change is commands.force:
            self.forced |= set(changed.forced)

    # What can be known

    def readable(self, serial: int) -> bool:
        """Whether a version's value can be had from some target."""
        return any(not t.away and (serial in t.copies or t.serial == serial) for t in self.targets.values())

    def observe(self, rotation: Rotation | None = None) -> Observations:
        """What a tick sees; whatever cannot be reached is unknown."""
        rotation = rotation or self.rotation
        assert rotation is not None
        minted = [serial for serial, v in rotation.versions.items() if v.key_id is not None]
        asked = [serial for serial in minted if self.readable(serial)]
        watermarks = {
            name: SourceSeen(kind=source.kind, watermark=source.told(), sees_failures=source.sees_failures)
            for name, source in self.sources.items()
        }
        return Observations(
            targets={name: self._look(target) for name, target in self.targets.items()},
            verifiers={name: self._ask(verifier, minted, asked) for name, verifier in self.verifiers.items()},
            usage=UsageSeen(
                sources=watermarks,
                since=self.since,
                clients={name: _seen(client) for name, client in self.clients.items()},
                finding=self.finding,
                unseen=self.unseen,
            ),
            effects={name: line.seen for name, line in self.journal.items() if line.rotation == rotation.id},
            late=frozenset(
                (line.kind, line.seen.serial)
                for line in self.journal.values()
                if line.rotation != rotation.id and (line.seen.attempts > 1 or not line.seen.succeeded)
            ),
            found={
                serial: (self.keys[serial], f"f{serial}")
                for serial in rotation.versions
                if serial in self.keys and serial not in minted
                if any(serial in target.copies for target in self.targets.values() if not target.away)
            },
            orphans=(self.orphan,) if self.orphan is not None and rotation.phase.is_end else (),
            room=None if self.room is None else max(0, self.room - len(self.listed())),
        )

    def listed(self) -> set[int]:
        """Keys that take a place at the authority."""
        return set().union(*[verifier.alive() for verifier in self.verifiers.values()])

    def _look(self, target: Target) -> TargetSeen:
        if target.away:
            return TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)
        kind = ServingKind.OURS if target.serial is not None else ServingKind.FOREIGN
        if target.id is None:
            kind = ServingKind.MISSING
        obstacles = (self.obstacle,) if self.obstacle is not None else ()
        serving = Serving(kind=kind, serial=target.serial, id=target.id)
        marks = frozenset(target.marks)
        return TargetSeen(serving=serving, copies=frozenset(target.copies), obstacles=obstacles, marked=marks)

    def _ask(self, verifier: Verifier, minted: list[int], asked: list[int]) -> VerifierSeen:
        acceptance = {serial: verifier.probe(serial, self.now) for serial in asked}
        if verifier.away or verifier.unlisted:
            return VerifierSeen(acceptance=acceptance)
        return VerifierSeen(
            acceptance=acceptance,
            entries={serial: verifier.table.get(serial, Entry.ABSENT) for serial in minted},
            risen=frozenset(verifier.alive() - self.remembered()),
        )

    # What calls do

    def perform(self, effect: Effect) -> str | None:
        """Carry one effect out. Raises `TroubleError` as a backend or authority would."""
        if effect.kind in self.denied:
            raise TroubleError(FailureKind.DENIED, f"{effect.kind} is not permitted")
        if effect.target is not None:
            return self._at_target(effect, self.targets[effect.target])
        if effect.kind is EffectKind.PROVE_DEAD:
            self._prove_dead(effect)
            return None
        if effect.kind is EffectKind.INSTALL and not self.readable(effect.serial):
            raise TroubleError(FailureKind.ABSENT, f"no target holds v{effect.serial}")
        for name in effect.verifiers:
            self._at_verifier(effect, self.verifiers.get(name))
        return None

    def _at_verifier(self, effect: Effect, verifier: Verifier | None) -> None:
        if verifier is None or verifier.away:
            raise TroubleError(FailureKind.TRANSIENT, "a verifier is away")
        entry = verifier.table.get(effect.serial, Entry.ABSENT)
        if effect.kind is EffectKind.REVOKE:
            verifier.change(effect.serial, Entry.REVOKED, self.now)
        elif entry is Entry.REVOKED:
            raise TroubleError(FailureKind.CONFLICT, f"v{effect.serial} is revoked at {verifier.name}")
        elif effect.kind is EffectKind.DISABLE:
            verifier.change(effect.serial, Entry.DISABLED, self.now)
        elif entry is Entry.ABSENT and self.room is not None and effect.serial not in self.listed():
            if len(self.listed()) >= self.room:
                raise TroubleError(FailureKind.CONFLICT, "the authority is full")
            verifier.change(effect.serial, Entry.ACTIVE, self.now)
        elif effect.kind is EffectKind.ENABLE or entry is Entry.ABSENT:
            verifier.change(effect.serial, Entry.ACTIVE, self.now)

    def _prove_dead(self, effect: Effect) -> None:
        if not self.readable(effect.serial):
            raise TroubleError(FailureKind.ABSENT, f"no target holds v{effect.serial}")
        for name in effect.verifiers:
            verifier = self.verifiers.get(name)
            probe = verifier.probe(effect.serial, self.now) if verifier is not None else Acceptance.UNREACHABLE
            if probe not in (Acceptance.REFUSED, Acceptance.DISABLED):
                raise TroubleError(FailureKind.TRANSIENT, f"{name} does not refuse v{effect.serial}: {probe}")
        self.proved.add(effect.serial)

    def _at_target(self, effect: Effect, target: Target) -> str | None:
        if target.away:
            raise TroubleError(FailureKind.TRANSIENT, f"{target.name} is away")
        serial = effect.serial
        if effect.kind is EffectKind.MARK:
            target.marks.add(serial)
            return None
        if effect.kind is EffectKind.MINT and effect.expected is not None and serial not in target.copies:
            if target.id != effect.expected:
                raise TroubleError(FailureKind.CONFLICT, f"{target.name} serves something else")
            target.serials[target.id] = serial
            for verifier in self.verifiers.values():
                verifier.excused.add(serial)  # a hand gave it to readers, not we
        if effect.kind is EffectKind.MINT:
            self.keys.setdefault(serial, f"k{serial}")
            target.copies.add(serial)
            return self.keys[serial]
        if effect.kind is EffectKind.REMOVE:
            target.copies.discard(serial)
        elif effect.kind is EffectKind.KEEP:
            if target.id != effect.expected:
                raise TroubleError(FailureKind.CONFLICT, f"{target.name} serves something else")
            target.copies.add(serial)
        elif effect.kind is EffectKind.STAGE:
            if not self.readable(serial):
                raise TroubleError(FailureKind.ABSENT, f"no target holds v{serial}")
            target.copies.add(serial)
        else:
            self._promote(effect, target)
        return None

    def _promote(self, effect: Effect, target: Target) -> None:
        if target.tokens.get(effect.id, "") == target.id:
            return
        if target.id != effect.expected:
            raise TroubleError(FailureKind.CONFLICT, f"{target.name} serves something else")
        if effect.serial not in target.copies:
            raise TroubleError(FailureKind.ABSENT, f"{target.name} holds no copy of v{effect.serial}")
        self.counter += 1
        target.id = f"{target.name}-{self.counter}"
        target.serials[target.id] = effect.serial
        target.tokens[effect.id] = target.id
        self.ever_served.add(effect.serial)
        self.served_since[target.name] = self.now

    def land(self, effect: Effect) -> None:
        """A call that timed out is done after all. What it upsets at the authority is ours to undo, a tick later."""
        try:
            self.perform(effect)
        except TroubleError:
            return
        if effect.kind is EffectKind.DISABLE:
            for name in effect.verifiers:
                if name in self.verifiers:
                    self.verifiers[name].excused.add(effect.serial)


def _seen(client: Client) -> ClientSeen:
    return ClientSeen(
        last_use=dict(client.last_use),
        last_success=dict(client.last_success),
        last_refusal=dict(client.last_refusal),
        required_silence=client.silence,
        acknowledged=client.acknowledged,
        dismissed=client.dismissed,
    )
