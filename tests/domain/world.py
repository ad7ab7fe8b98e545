"""A simulated world for `decide`: in memory, without I/O, with every fault that the runtime's contract allows.

One tick is observe → decide → commit → (perhaps crash) → execute → record. Everything a test asks of the world is its
truth, never the machine's memory of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from tests.domain.places import Client, Source, Target, Use, Verifier, seconds

from keyturn.domain import commands, machine
from keyturn.domain.effects import Effect, EffectKind, Message
from keyturn.domain.errors import FailureKind
from keyturn.domain.evidence import Finding
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation, Version, VersionState, begin
from keyturn.domain.observations import (
    Acceptance,
    ClientSeen,
    EffectSeen,
    Entry,
    Observations,
    Obstacle,
    Serving,
    ServingKind,
    SourceKind,
    SourceSeen,
    TargetSeen,
    UsageSeen,
    VerifierSeen,
)
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, Policy

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
QUANTUM = seconds(5)

POLICY = Policy(
    propagation=seconds(5),
    client_refresh=seconds(20),
    pool_lifetime=seconds(10),
    minimum_overlap=seconds(40),
    bake=seconds(15),
    soak=seconds(60),
    drain=seconds(50),
    silence_floor=seconds(60),
    silence_few=seconds(60),
    silence_unseen=seconds(90),
    page_every=seconds(60),
    maximum_retreats=2,
    deadlines={
        Phase.INTRODUCE: Deadline(after=seconds(200)),
        Phase.OVERLAP: Deadline(after=seconds(400)),
        Phase.MONITOR: Deadline(after=seconds(400)),
        Phase.RETIRE: Deadline(after=seconds(400)),
        Phase.DESTROY: Deadline(after=seconds(200)),
        Phase.ROLLBACK: Deadline(after=seconds(400)),
    },
)


class Fate(StrEnum):
    """What becomes of one outside call."""

    DONE = "done"
    CRASH_BEFORE = "crash before"
    """The process dies before the call."""
    CRASH_AFTER = "crash after"
    """The call is done, and the process dies before it can write so."""
    FAILED = "failed"
    """The call fails and nothing happens."""
    LOST = "lost"
    """The call is done, and its answer is lost."""
    LATE = "late"
    """The call times out, and is done later all the same."""


class TroubleError(Exception):
    """A call failed."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The journal's line on one effect."""

    seen: EffectSeen
    kind: EffectKind
    rotation: str


class World:
    """The world, and the daemon in it."""

    def __init__(self, *, targets: int = 2, verifiers: int = 2, policy: Policy = POLICY) -> None:
        self.now = EPOCH
        self.policy = policy
        self.counter = 0
        self.targets: dict[str, Target] = {}
        for index in range(targets):
            first = f"id{index}"
            self.targets[f"t{index}"] = Target(name=f"t{index}", id=first, serials={first: 0})
        self.verifiers = {f"g{i}": Verifier(name=f"g{i}", table={0: Entry.ACTIVE}) for i in range(verifiers)}
        self.clients: dict[str, Client] = {}
        self.sources = {
            "gateway": Source(kind=SourceKind.AUTHENTICATION, sees_failures=True, lag=seconds(5), watermark=EPOCH),
            "reports": Source(kind=SourceKind.CLIENT_REPORT, sees_failures=False, lag=seconds(10), watermark=EPOCH),
        }
        self.untold: list[Use] = []
        self.uses: list[Use] = []
        """Since the last check."""
        self.finding: Finding | None = None
        self.obstacle: Obstacle | None = None
        self.denied: set[EffectKind] = set()
        self.fates: list[Fate] = []
        self.late: list[Effect] = []
        self.journal: dict[str, Written] = {}
        self.rotation: Rotation | None = None
        self.rotations = 0
        self.current = Version(serial=0, state=VersionState.CURRENT, key_id="k0", fingerprint="f0")
        self.next_serial = 1
        self.keys = {0: "k0"}
        self.messages: dict[str, tuple[datetime, Message]] = {}
        self.ever_served: set[int] = {0}
        self.served_since: dict[str, datetime] = dict.fromkeys(self.targets, EPOCH)
        self.residue = False
        """A call of an ended rotation landed late: what it left is the drift check's to find."""
        self.forced: set[int] = set()
        """Versions for which somebody's word stood in for silence."""
        self.refused_since: dict[int, datetime] = {}
        self.robbed: set[str] = set()
        """Targets from which somebody took our copies."""
        self.heard = EPOCH
        """When a person was last told something, or spoke."""

    def fork(self) -> World:
        """The same world, to see what would become of it."""
        other = World.__new__(World)
        other.__dict__.update(self.__dict__)
        other.targets = {name: target.fork() for name, target in self.targets.items()}
        other.verifiers = {name: verifier.fork() for name, verifier in self.verifiers.items()}
        other.clients = {name: client.fork() for name, client in self.clients.items()}
        other.sources = {name: source.fork() for name, source in self.sources.items()}
        for name in ("untold", "uses", "denied", "fates", "late", "journal", "keys", "messages"):
            setattr(other, name, type(getattr(self, name))(getattr(self, name)))
        for name in ("ever_served", "forced", "robbed", "served_since", "refused_since"):
            setattr(other, name, type(getattr(self, name))(getattr(self, name)))
        return other

    # Clients and time

    def add_client(
        self,
        *,
        target: str = "t0",
        every: float = 10,
        refresh: float | None = 20,
        held: bool = False,
        silence: float = 60,
        holds: int | None = None,
    ) -> Client:
        """A client boots: it fetches at once, and uses what it got."""
        client = Client(
            name=f"c{len(self.clients)}",
            target=target,
            every=seconds(every),
            refresh=seconds(refresh) if refresh is not None else None,
            held=held,
            silence=seconds(silence),
            holds=self.targets[target].serial if holds is None else holds,
            next_use=self.now,
            next_fetch=self.now + seconds(refresh or 0),
        )
        self.clients[client.name] = client
        return client

    def advance(self, span: timedelta) -> None:
        """Time goes by: clients fetch and use, sources tell."""
        end = self.now + span
        while self.now < end:
            self.now = min(end, self.now + QUANTUM)
            for client in self.clients.values():
                self._live(client)
            for source in self.sources.values():
                if not source.down:
                    source.watermark = max(source.watermark or EPOCH, self.now - source.lag)
        for verifier in self.verifiers.values():
            verifier.older = [(until, rules) for until, rules in verifier.older if until > self.now]
        self._tell()

    def _live(self, client: Client) -> None:
        target = self.targets[client.target]
        if client.refresh is not None and client.next_fetch <= self.now:
            client.next_fetch = self.now + client.refresh
            if target.serial is not None:
                client.holds = target.serial
        if client.next_use > self.now or client.holds is None or not self.verifiers:
            return
        client.next_use = self.now + client.every
        client.turn += 1
        names = sorted(self.verifiers)
        verifier = self.verifiers[names[client.turn % len(names)]]
        rules = verifier.rules(self.now)[0 if client.held else -1]
        accepted = rules.get(client.holds) is Entry.ACTIVE
        use = Use(
            at=self.now,
            client=client.name,
            serial=client.holds,
            verifier=verifier.name,
            accepted=accepted,
            excused=client.holds in verifier.excused,
        )
        self.untold.append(use)
        self.uses.append(use)

    def _tell(self) -> None:
        """What the gateway's log has told by now."""
        mark = self.sources["gateway"].watermark or EPOCH
        told = [use for use in self.untold if use.at <= mark]
        self.untold = [use for use in self.untold if use.at > mark]
        for use in told:
            client = self.clients[use.client]
            client.last_use[use.serial] = use.at
            (client.last_success if use.accepted else client.last_refusal)[use.serial] = use.at

    # Faults, other people's hands, and their end

    def set_away(self, verifier: Verifier, away: bool) -> None:
        """A verifier cannot be reached, or is back with whatever rules it had."""
        if away != verifier.away:
            verifier.away, verifier.seen_away = away, False
            verifier.excused |= set(self.keys)

    def rebuild(self, verifier: Verifier) -> None:
        """A verifier that was seen to be away is back, from a backup."""
        if verifier.seen_away:
            revoked = {serial: entry for serial, entry in verifier.table.items() if entry is Entry.REVOKED}
            verifier.table = {**verifier.backup, **revoked}
            self.set_away(verifier, False)

    def join(self) -> None:
        """A verifier joins, with an empty table."""
        self.counter += 1
        self.verifiers[f"g{self.counter}n"] = Verifier(name=f"g{self.counter}n", excused=set(self.keys))

    def lose(self, verifier: Verifier, serial: int) -> None:
        """Somebody takes an entry out of a verifier's table."""
        if verifier.table.get(serial, Entry.ABSENT) in (Entry.ACTIVE, Entry.DISABLED):
            verifier.lost[serial] = verifier.table.pop(serial)
            verifier.excused.add(serial)

    def mend_tables(self) -> None:
        """They put back what they took, where nothing is in its place."""
        for verifier in self.verifiers.values():
            for serial, entry in verifier.lost.items():
                if serial not in verifier.table:
                    verifier.table[serial] = entry
            verifier.lost.clear()

    def overwrite(self, target: Target, *, missing: bool) -> None:
        """Somebody gives a target's readers another value, or none."""
        if target.taken_by_hand is None and target.id is not None:
            self.counter += 1
            target.taken_by_hand, target.id = target.id, None if missing else f"hand-{self.counter}"

    def put_back(self) -> None:
        """They put back what readers got."""
        for target in self.targets.values():
            if target.taken_by_hand is not None and target.serial is None:
                target.id = target.taken_by_hand
            target.taken_by_hand = None

    def rob(self, target: Target) -> None:
        """Somebody removes our copies from a target."""
        if self.rotation is not None and target.copies:
            self.robbed.add(target.name)
            target.copies.clear()

    def calm(self) -> None:
        """Every fault ends."""
        for effect in self.late:
            self.land(effect)
        self.late, self.fates, self.finding, self.obstacle = [], [], None, None
        self.denied.clear()
        self.put_back()
        self.mend_tables()
        for target in self.targets.values():
            target.away = False
            if self.rotation is not None and target.name in self.robbed:
                target.copies |= {serial for serial in self.rotation.versions if serial in self.keys}
        self.robbed.clear()
        for verifier in self.verifiers.values():
            self.set_away(verifier, False)
            verifier.lag = seconds(0)
        for source in self.sources.values():
            source.down, source.mute, source.lag = False, False, seconds(5)

    def wake_clients(self) -> None:
        """Every client fetches and uses often again."""
        for client in self.clients.values():
            client.refresh, client.every = seconds(20), min(client.every, seconds(10))

    # One tick of the daemon

    def start(self) -> None:
        """A rotation begins, if none lives."""
        if self.rotation is not None:
            return
        for effect in self.late:
            self.land(effect)
        self.late = []
        self.rotations += 1
        self.heard = self.now
        for verifier in self.verifiers.values():
            verifier.backup = dict(verifier.table)
        self.forced = set()
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
        """One pass of the daemon over the live rotation; `judge` sees what is decided before it is done."""
        before = self.rotation
        if before is None:
            return None
        decision = machine.decide(before, self.observe(), self.now)
        self.commit(decision)
        if judge is not None:
            judge(self, before, decision)
        self.run(decision.effects)
        return decision

    def commit(self, decision: Decision) -> None:
        """The rotation, its intents and its messages, all or nothing."""
        after = replace(decision.rotation, revision=decision.rotation.revision + 1)
        for effect in decision.effects:
            before = self.journal.get(effect.id)
            attempts = before.seen.attempts + 1 if before is not None else 1
            self.journal[effect.id] = Written(
                seen=EffectSeen(attempts=attempts, succeeded=False), kind=effect.kind, rotation=after.id
            )
        for message in decision.messages:
            self.messages.setdefault(message.id, (self.now, message))
        self.rotation = after
        if not after.live:
            survivor = after.incoming if after.phase is Phase.COMPLETED else after.outgoing[0]
            self.current = after.versions[survivor]
            self.rotation = None

    def run(self, effects: tuple[Effect, ...]) -> None:
        """Carry effects out, as their fates will have it."""
        for effect in effects:
            fate = self.fates.pop(0) if self.fates else Fate.DONE
            if fate is Fate.CRASH_BEFORE:
                return
            if fate is Fate.LATE:
                self.late.append(effect)
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
            attempts=attempts,
            succeeded=failure is None,
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
        if change is commands.force and changed.force is not None:
            self.forced.add(changed.force.serial)

    # What can be known

    def readable(self, serial: int) -> bool:
        """Whether a version's value can be had from some target."""
        return any(not t.away and (serial in t.copies or t.serial == serial) for t in self.targets.values())

    def observe(self) -> Observations:
        """What a tick sees; whatever cannot be reached is unknown."""
        assert self.rotation is not None
        minted = [serial for serial, v in self.rotation.versions.items() if v.key_id is not None]
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
                since=EPOCH,
                clients={name: _seen(client) for name, client in self.clients.items()},
                finding=self.finding,
            ),
            effects={name: line.seen for name, line in self.journal.items() if line.rotation == self.rotation.id},
        )

    def _look(self, target: Target) -> TargetSeen:
        if target.away:
            return TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)
        kind = ServingKind.OURS if target.serial is not None else ServingKind.FOREIGN
        if target.id is None:
            kind = ServingKind.MISSING
        obstacles = (self.obstacle,) if self.obstacle is not None else ()
        serving = Serving(kind=kind, serial=target.serial, id=target.id)
        return TargetSeen(serving=serving, copies=frozenset(target.copies), obstacles=obstacles)

    def _ask(self, verifier: Verifier, minted: list[int], asked: list[int]) -> VerifierSeen:
        acceptance = {serial: verifier.probe(serial, self.now) for serial in asked}
        if verifier.away:
            verifier.seen_away = True
            return VerifierSeen(acceptance=acceptance)
        return VerifierSeen(
            acceptance=acceptance, entries={serial: verifier.table.get(serial, Entry.ABSENT) for serial in minted}
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

    def _at_target(self, effect: Effect, target: Target) -> str | None:
        if target.away:
            raise TroubleError(FailureKind.TRANSIENT, f"{target.name} is away")
        serial = effect.serial
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
        if self.rotation is None:
            self.residue = True
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
