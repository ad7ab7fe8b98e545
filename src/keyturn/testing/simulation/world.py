"""The world of a run: authority, regions, sources, clients, replicas, people. Whatever is true stands here."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.domain.model import VersionState
from keyturn.domain.observations import Entry, SourceKind
from keyturn.domain.phases import ENDS, Phase
from keyturn.domain.schedule import Schedule
from keyturn.ports.issuer import Minted, ValueOrigin
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import FakeAuthority, FakeNotifier, FakeUsageSource
from keyturn.testing.fakes.verifier import Table
from keyturn.testing.simulation.clients import Client
from keyturn.testing.simulation.faults import ANY, JOINING, Disturbance, source_of
from keyturn.testing.simulation.lines import IssuerLine, NotifierLine, SourceLine, TargetLine, store_line
from keyturn.testing.simulation.plan import CHAOS, WARM_UP, CredentialShape, Plan, seconds
from keyturn.testing.simulation.promises import Promises
from keyturn.testing.simulation.regions import Region
from keyturn.testing.simulation.replica import Replica
from keyturn.testing.simulation.timeline import Timeline, WorldClock, moment
from keyturn.testing.simulation.watch import Watch

OpenStore = Callable[[Callable[[], datetime]], Store]
"""Opens a store that dates by a clock."""

RESOLUTION = seconds(20)
EVERY = seconds(300)
"""Between two starts of a scheduled credential, unless the one before takes longer."""
MAILBOX = "people"


@dataclass(slots=True, kw_only=True)
class Key:
    """One value that was ever made for a credential."""

    id: str
    credential: str
    serial: int | None
    """keyturn's number for it; None for one that somebody made by hand."""
    value: str
    made: float
    reported: float | None = None
    """When it was reported compromised."""
    cut: float = float("inf")
    """When it may be disabled at the latest, by that report."""
    forced: bool = False
    """Whether somebody put their word in the place of its silence."""
    bad: tuple[str, str] | None = None
    """Clients (or all: "") that fail with it, and verifiers (or all: "") where they do."""

    def __str__(self) -> str:
        return f"{self.credential} v{self.serial}" if self.serial is not None else f"{self.credential} {self.id}"


def _in_memory(now: Callable[[], datetime]) -> Store:
    return MemoryStore(now=now)


def _capacity(plan: Plan) -> int | None:
    """So many keys the authority takes at once: any number, as a rule; else an old and a new one of each credential, and
    one more or none."""
    room = random.Random(f"{plan.seed}/{plan.run}/capacity").choice((*[None] * 8, 0, 1))
    return None if room is None else 2 * len(plan.shape.credentials) + room


class Tables:
    """The key tables of the verifiers, which several credentials share."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._writes: Counter[str] = Counter()
        """By verifier: how often keyturn wrote its table under the lease. Another's hand takes none: nothing keeps out
        of its way."""

    def read(self, verifiers: Collection[str]) -> dict[str, tuple[Table, int]]:
        """The tables as somebody reads them who is about to change one row, and the number of the last write."""
        nodes = self._world.authority.nodes
        return {name: (nodes[name].newest, self._writes[name]) for name in verifiers if name in nodes}

    def wrote(self, verifiers: Collection[str]) -> None:
        """Some replica has written these tables."""
        if not self._world.landing_late:
            self._writes.update(verifiers)

    def written(self, replica: Replica, read: Mapping[str, tuple[Table, int]]) -> None:
        """Whoever writes a whole table that another replica has changed since it was read undoes what that one did."""
        nodes = self._world.authority.nodes
        for name, (table, write) in read.items():
            if name in nodes and self._writes[name] != write:
                self._world.promises.check(
                    [("P7", f"{replica.name} writes the key table of {name} over another's change")]
                )
                nodes[name].load(table)


class World:
    """Everything outside the product, and the replicas in it."""

    def __init__(self, plan: Plan, *, told: bool = False, opened: OpenStore | None = None) -> None:
        shape = plan.shape
        self.plan = plan
        self.shape = shape
        self.timeline = Timeline(told=told)
        self.clock = WorldClock(self.timeline)
        self.rng = random.Random(f"{plan.seed}/{plan.run}/world")
        self.fingerprint_key = b"simulated" * 4
        self.store: Store = (opened or _in_memory)(self.clock.now)
        self.disk_full: Disturbance | None = None
        self.healed = False
        self.wakes: list[float] = []
        """When each of the replicas wakes that sleep inside each other."""
        self.held_until = float("-inf")
        """When the leases run out at the latest that processes held which are dead: nobody else can act before."""
        self.landing_late = False
        self.landed_late = float("-inf")
        """When a call arrived last that had been made long before."""
        self.faults: Counter[str] = Counter()
        """Disturbances that met anything, each counted once."""
        self.hits = 0
        """How often any of them did."""
        self._met: set[int] = set()
        self.journal_writes = 0
        self.edges: Counter[tuple[Phase, Phase]] = Counter()
        self.keys: dict[str, Key] = {}
        self.by_value: dict[str, Key] = {}
        self._staged: defaultdict[tuple[str, int], list[Key]] = defaultdict(list)
        """(credential, serial) → the keys that were put at a target for it, one, unless a mint was repeated."""
        self.promises = Promises(self)
        self.watch = Watch(self)
        self.tables = Tables(self)
        self.verifier_names = (*shape.verifiers, JOINING)
        self.lag, self.held_lag = seconds(shape.lag), seconds(shape.held_lag)
        self.authority = FakeAuthority(
            *shape.verifiers,
            clock=self.clock,
            lag=self.lag,
            held_lag=self.held_lag,
            lease="key-table",
            capacity=_capacity(plan),
            origin=ValueOrigin.AUTHORITY if shape.made_by_authority else ValueOrigin.KEYTURN,
            draw=self.rng,
        )
        self.ill: set[str] = set()
        """Verifiers that refuse everybody."""
        self.mail = FakeNotifier()
        self.sources = {
            name: FakeUsageSource(self.clock, resolution=RESOLUTION, lag=seconds(lag)) for name, lag in shape.sources
        }
        self._source_of = {name: self.sources[source_of(shape, name)] for name in self.verifier_names}
        labelled = dict(shape.regions)
        self.regions = {
            one.name: {name: Region(self, name, one.name, labelled=labelled[name]) for name in one.targets}
            for one in shape.credentials
        }
        for one in shape.credentials:
            self._first_key(one.name)
        self.clients = [Client(self, one) for one in shape.clients]
        self.replicas = [Replica(self, one) for one in shape.replicas]

    # What is true of keys

    def made(self, credential: str, minted: Minted, token: str | None) -> Key:
        """A value exists from now on."""
        serial = int(token.rpartition(".v")[2]) if token is not None else None
        key = Key(
            id=minted.key_id,
            credential=credential,
            serial=serial,
            value=minted.value.reveal(),
            made=self.timeline.now,
        )
        self.keys[key.id] = self.by_value[key.value] = key
        return key

    def staged(self, value: str) -> None:
        """A value is at a target from now on."""
        key = self.by_value.get(value)
        if key is not None and key.serial is not None and key not in (keys := self._staged[key.credential, key.serial]):
            keys.append(key)

    def key_of(self, credential: str, serial: int) -> Key | None:
        """The key behind a version: the one that was minted for it and put at a target, whatever is stored of it. What is
        stored says which, where several were and no reader was given any, and which one a person's key has become."""
        keys = self._staged[credential, serial]
        if len(keys) == 1:
            return keys[0]
        regions = self.regions[credential].values()
        given = [key for key in keys if any(key.value in region.gave for region in regions)]
        return given[0] if given else self._stored(credential, serial)

    def _stored(self, credential: str, serial: int) -> Key | None:
        known = self.store.credential(credential)
        version = known.versions.get(serial) if known is not None else None
        return self.keys.get(version.key_id) if version is not None and version.key_id is not None else None

    def taken_for_another(self, credential: str) -> Iterator[tuple[int, Key]]:
        """Versions that live and whose stored key id is not that of the key behind them, and that key."""
        known = self.store.credential(credential)
        for serial, version in known.versions.items() if known is not None else ():
            if version.state is VersionState.DESTROYED or version.key_id is None:
                continue
            key = self.key_of(credential, serial)
            if key is not None and version.key_id != key.id:
                yield serial, key

    def is_orphan(self, key: Key) -> bool:
        """Whether the authority made it for a mint whose answer was lost: no version is it, no reader ever got it, and its
        value is at no place, or not any more."""
        if not self.shape.made_by_authority or key.serial is None or self._stored(key.credential, key.serial) is key:
            return False
        regions = self.regions[key.credential].values()
        return not any(key.value in region.gave or region.holds(key) for region in regions)

    def named(self, value: str | None) -> str:
        """What to call a value in a trace: never itself."""
        if value is None:
            return "nothing"
        key = self.by_value.get(value)
        return str(key) if key is not None else "a stranger's value"

    def happened(self, disturbance: Disturbance) -> None:
        """A disturbance has met a call, or anything else."""
        self.hits += 1
        if id(disturbance) not in self._met:
            self._met.add(id(disturbance))
            self.faults[disturbance.fault] += 1

    @property
    def ends(self) -> Counter[str]:
        """How many rotations ended, by their end."""
        return Counter({to: sum(n for (_, end), n in self.edges.items() if end == to) for to in ENDS})

    def spoil(self, key: Key, by: Disturbance) -> None:
        """A key does not work, for somebody or everybody, although every probe says so."""
        self.happened(by)
        self.timeline.tell(f"{key} does not work {by.choice}")
        clients = [one.name for one in self.clients if one.shape.credential == key.credential]
        key.bad = (clients[0] if by.choice == "for one" else ANY, by.where)

        def mended() -> None:
            key.bad = None

        self.timeline.at(max(self.timeline.now, min(self.timeline.now + by.lasting, WARM_UP + CHAOS)), mended)

    def source_of(self, verifier: str) -> FakeUsageSource:
        """Who sees what is presented at a verifier."""
        return self._source_of[verifier]

    def _first_key(self, credential: str) -> None:
        minted = self.authority.new_key(f"{credential}.v1")
        key = self.made(credential, minted, f"{credential}.v1")
        for node in self.authority.nodes.values():
            node.put(key.id, Entry.ACTIVE, minted.value)
        for region in self.regions[credential].values():
            region.place.overwrite(key.value)
            region.given()
        self.staged(key.value)

    # What a replica is given

    def store_over(self, replica: Replica) -> Store:
        """The store as one replica reaches it."""
        return store_line(replica, self.store, self.watch.over(replica))

    def registry_over(self, replica: Replica) -> Registry:
        """Everything configured, as one replica reaches it."""
        return Registry(
            credentials={one.name: self._wired(replica, one) for one in self.shape.credentials},
            sources={
                name: WiredSource(
                    name=name,
                    kind=SourceKind.AUTHENTICATION,
                    sees_failures=source.sees_failures,
                    resolution=source.resolution,
                    poll=SourceLine(replica, self, name, source),
                )
                for name, source in self.sources.items()
            },
            notifiers={MAILBOX: NotifierLine(replica, self.mail)},
        )

    def _wired(self, replica: Replica, shape: CredentialShape) -> WiredCredential:
        schedule = Schedule(every=EVERY, starting=moment(shape.start)) if shape.scheduled and not self.healed else None
        return WiredCredential(
            name=shape.name,
            issuer=IssuerLine(replica, self, shape.name, self.authority.credential({})),
            targets={name: TargetLine(replica, region) for name, region in self.regions[shape.name].items()},
            policy=shape.policy,
            schedule=schedule,
            sources=tuple(self.sources),
            clients=frozenset(one.name for one in self.shape.clients if one.credential == shape.name),
            notifiers=(MAILBOX,),
        )
