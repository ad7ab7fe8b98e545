"""The ground that the simulated daemon stands on: places, clients, time, and everything that others do to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from tests.domain.places import Client, Source, Target, Use, Verifier, seconds

from keyturn.domain.effects import Effect, EffectKind, Message
from keyturn.domain.evidence import Finding
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.observations import EffectSeen, Entry, Obstacle, SourceKind
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
    FROZEN = "frozen"
    """The worker stands still before the call, nothing is written, and it makes the call when it wakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The journal's line on one effect."""

    seen: EffectSeen
    kind: EffectKind
    rotation: str


class Ground:
    """Places and people; the daemon is added by `World`."""

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
        self.orphan: Obstacle | None = None
        """A key of ours that nobody can use; it is looked for between rotations."""
        self.unseen = 0.0
        self.since: datetime | None = EPOCH
        """Since when all sources know; None while one has never told anything."""
        self.denied: set[EffectKind] = set()
        self.fates: list[Fate] = []
        self.late: list[Effect] = []
        self.journal: dict[str, Written] = {}
        self.rotation: Rotation | None = None
        self.ended: Rotation | None = None
        """The last rotation, which is kept as its end left it while none lives."""
        self.room: int | None = None
        """How many keys the authority takes in all; None: any number."""
        self.rotations = 0
        self.current = Version(serial=0, state=VersionState.CURRENT, key_id="k0", fingerprint="f0")
        self.next_serial = 1
        self.keys = {0: "k0"}
        self.messages: dict[str, tuple[datetime, Message]] = {}
        self.leaked: set[int] = set()
        """Versions that were ever reported compromised."""
        self.ever_served: set[int] = {0}
        self.served_since: dict[str, datetime] = dict.fromkeys(self.targets, EPOCH)
        self.proved: set[int] = set()
        """Versions that were tried on every verifier and refused."""
        self.forced: set[int] = set()
        """Versions for which somebody's word stood in for silence."""
        self.given_up: set[int] = set()
        """Versions that an emergency gave up for room, though somebody may use them."""
        self.refused_since: dict[int, datetime] = {}
        self.robbed: set[str] = set()
        """Targets from which somebody took our copies."""
        self.gone: set[int] = set()
        """Versions whose copies are lost for good."""
        self.heard = EPOCH
        """When a person was last told something, or spoke."""

    def fork(self) -> Self:
        """The same world, to see what would become of it."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.targets = {name: target.fork() for name, target in self.targets.items()}
        other.verifiers = {name: verifier.fork() for name, verifier in self.verifiers.items()}
        other.clients = {name: client.fork() for name, client in self.clients.items()}
        other.sources = {name: source.fork() for name, source in self.sources.items()}
        for name in ("untold", "uses", "denied", "fates", "late", "journal", "keys", "messages", "given_up"):
            setattr(other, name, type(getattr(self, name))(getattr(self, name)))
        for name in ("leaked", "ever_served", "proved", "forced", "robbed", "gone", "served_since", "refused_since"):
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
            excused=verifier.away or client.holds in verifier.excused,
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

    def rebuild(self, verifier: Verifier, *, older: bool = False) -> None:
        """A verifier that was seen to be away is back, from a backup; in an older one is alive what earlier rotations
        destroyed."""
        if verifier.seen_away:
            revoked = {serial: entry for serial, entry in verifier.table.items() if entry is Entry.REVOKED}
            verifier.table = {**verifier.backup, **revoked}
            if older:
                verifier.risen = set(self.keys) - self.remembered()
                verifier.table.update(dict.fromkeys(verifier.risen, Entry.ACTIVE))
            self.set_away(verifier, False)

    def remembered(self) -> set[int]:
        """The versions of the rotation that lives, or of the last; every other was destroyed."""
        last = self.rotation or self.ended
        return set(last.versions) if last is not None else {self.current.serial}

    def join(self) -> None:
        """A verifier joins, with an empty table."""
        self.counter += 1
        self.verifiers[f"g{self.counter}n"] = Verifier(name=f"g{self.counter}n", excused=set(self.keys))

    def lose(self, verifier: Verifier, serial: int) -> None:
        """Somebody takes an entry out of a verifier's table."""
        if verifier.table.get(serial, Entry.ABSENT) in (Entry.ACTIVE, Entry.DISABLED):
            verifier.lost[serial] = verifier.table.pop(serial)
            verifier.excused.add(serial)

    def revoke(self, verifier: Verifier, serial: int) -> None:
        """Somebody revokes a version at a verifier, which nobody can take back."""
        if serial in verifier.alive():
            verifier.table[serial] = Entry.REVOKED
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
            target.put_by_hand = target.id

    def give(self, target: Target, serial: int) -> None:
        """Somebody gives a target's readers a version of ours that is kept there."""
        if serial in target.copies and serial != target.serial and target.taken_by_hand is None:
            self.overwrite(target, missing=False)
            assert target.id is not None
            target.serials[target.id] = serial
            for verifier in self.verifiers.values():
                verifier.excused.add(serial)

    def put_back(self) -> None:
        """They put back what readers got, where what they gave instead is still there, and have whoever read that meanwhile
        read again: no look of ours may ever have met it."""
        for target in self.targets.values():
            if target.taken_by_hand is not None and target.id == target.put_by_hand:
                given, target.id = target.serial, target.taken_by_hand
                for verifier in self.verifiers.values():
                    if target.serial is not None and verifier.table.get(target.serial) is Entry.REVOKED:
                        verifier.excused.add(target.serial)  # it died while readers got the hand's value
                for client in self.clients.values():
                    if client.target == target.name and client.holds == given:
                        client.holds = target.serial
            target.taken_by_hand = None

    def rob(self, target: Target) -> None:
        """Somebody removes our copies from a target."""
        if self.rotation is not None and target.copies:
            self.robbed.add(target.name)
            target.copies.clear()

    def lose_value(self, serial: int) -> None:
        """Every copy of a version is lost for good."""
        self.gone.add(serial)
        for target in self.targets.values():
            target.copies.discard(serial)

    def heal(self) -> None:
        """Every fault ends."""
        self.fates, self.finding, self.obstacle, self.room = [], None, None, None
        self.unseen, self.since = 0.0, EPOCH
        self.denied.clear()
        self.put_back()
        self.mend_tables()
        for target in self.targets.values():
            target.away = False
            if self.rotation is not None and target.name in self.robbed:
                target.copies |= set(self.rotation.versions) & set(self.keys) - self.gone
        self.robbed.clear()
        for verifier in self.verifiers.values():
            self.set_away(verifier, False)
            verifier.lag, verifier.unlisted = seconds(0), False
        for source in self.sources.values():
            source.down, source.mute, source.lag = False, False, seconds(5)
        self.sources["gateway"].sees_failures = True

    def wake_clients(self) -> None:
        """Every client fetches and uses often again; one that nobody waited for fetches first."""
        for client in self.clients.values():
            if client.sleeper or client.every >= self.policy.drain:
                client.next_fetch = self.now
            client.refresh, client.every = seconds(20), min(client.every, seconds(10))
