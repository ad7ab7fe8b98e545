"""The real runtime on fakes and a virtual clock, with clients that authenticate and a source that reports them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keyturn.domain.model import Rotation
from keyturn.domain.observations import SourceKind
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.schedule import Schedule
from keyturn.ports.issuer import ValueOrigin
from keyturn.ports.store import Store
from keyturn.ports.usage import UsageReport
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.runtime.tick import Runtime
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import FakeAuthority, FakeBackend, FakeClock, InlineExecutor

SECOND = timedelta(seconds=1)
NAME = "payments"
KEY = b"fingerprint key of a test store!"

QUICK = Policy(
    propagation=SECOND,
    client_refresh=2 * SECOND,
    pool_lifetime=SECOND,
    minimum_overlap=4 * SECOND,
    bake=2 * SECOND,
    soak=5 * SECOND,
    drain=4 * SECOND,
    silence_floor=5 * SECOND,
    silence_few=5 * SECOND,
    silence_unseen=5 * SECOND,
    unseen_share=1.0,
)


class Heard:
    """A notifier that remembers."""

    def __init__(self) -> None:
        self.payloads: list[Mapping[str, object]] = []

    def deliver(self, message_id: str, occurred_at: datetime, payload: Mapping[str, object]) -> None:
        self.payloads.append(payload)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Client:
    """Presents what it last read, once a second, to each verifier in turn."""

    name: str
    refreshes: bool = True
    value: str = ""
    refused: int = 0
    served: int = 0


@dataclass
class Rig:
    """Everything around one credential."""

    policy: Policy = QUICK
    schedule: Schedule | None = None
    targets: tuple[str, ...] = ("t0", "t1")
    clock: FakeClock = field(default_factory=FakeClock)
    open_store: Callable[[Callable[[], datetime]], Store] = lambda now: MemoryStore(now=now)
    reporting: bool = True
    """Whether the source reports; what it does not, it tells when it is back."""
    origin: ValueOrigin = ValueOrigin.KEYTURN
    capacity: int | None = None
    before_tick: Callable[[], None] = lambda: None
    bears_defects: bool = False
    """Whether a defect that the runtime contains is kept in `defects`; any other rig fails its test with it."""
    defects: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.open_store(self.clock.now)
        self.backend = FakeBackend()
        self.authority = FakeAuthority(
            "one", "two", clock=self.clock, held_lag=SECOND, origin=self.origin, capacity=self.capacity
        )
        self.notifier = Heard()
        first = self.authority.new_key("first")
        self.first_key_id = first.key_id
        issuer = self.authority.credential({})
        issuer.install(first.key_id, first.value, ("one", "two"))
        for path in self.targets:
            self.backend.place(path).overwrite(first.value.reveal())
        self.registry = Registry(
            credentials={
                NAME: WiredCredential(
                    name=NAME,
                    issuer=issuer,
                    targets={path: self.backend.target({"path": path}) for path in self.targets},
                    policy=self.policy,
                    schedule=self.schedule,
                    sources=("gateway",),
                    notifiers=("ops",),
                )
            },
            sources={
                "gateway": WiredSource(
                    name="gateway",
                    kind=SourceKind.AUTHENTICATION,
                    sees_failures=True,
                    resolution=SECOND,
                    poll=None,
                )
            },
            notifiers={"ops": self.notifier},
        )
        self._untold: list[UsageReport] = []
        self.last: list[UsageReport] = []
        self._lost_until: datetime | None = None
        self.clients = [Client(name=f"client-{number}") for number in range(4)]
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        self.runtime = Runtime(
            store=self.store,
            registry=self.registry,
            clock=self.clock,
            executor=InlineExecutor(),
            fingerprint_key=KEY,
            owner="test",
            met=self.meet,
        )

    def another(self, name: str) -> WiredCredential:
        """A credential like the first, with a key and places of its own; not configured yet."""
        first = self.registry.credential(NAME)
        made = self.authority.new_key(name)
        first.issuer.install(made.key_id, made.value, ("one", "two"))
        for path in first.targets:
            self.backend.place(f"{name}/{path}").overwrite(made.value.reveal())
        targets = {path: self.backend.target({"path": f"{name}/{path}"}) for path in first.targets}
        return replace(first, name=name, targets=targets)

    def meet(self, error: Exception) -> None:
        """The runtime has met a defect."""
        if not self.bears_defects:
            raise error
        self.defects.append(error)

    def second(self) -> None:
        """One second of traffic, reported when it is over, then one tick."""
        start = self.clock.now()
        reports = [self._present(client, start) for client in self.clients]
        self.clock.advance(SECOND)
        self._untold += reports
        self.last = reports
        if self.reporting:
            now, lost = self.clock.now(), self._lost_until
            self.runtime.ingest.push("gateway", self._untold, watermark=now, id=None, complete_from=lost)
            self._untold, self._lost_until = [], None
        self.before_tick()
        self.runtime.tick()

    def warm_up(self) -> None:
        """Ten seconds of ordinary use, so that the source has a history to tell of."""
        for _ in range(10):
            self.second()

    def lose(self) -> None:
        """What the source has not told yet is lost, and it says so when it is back."""
        self._untold, self._lost_until = [], self.clock.now()

    def _present(self, client: Client, start: datetime) -> UsageReport:
        if client.refreshes or not client.value:
            client.value = self.backend.place(self.targets[0]).readers_get() or client.value
        accepted = [node.accepts(client.value) for node in self.authority.nodes.values()]
        client.served += accepted.count(True)
        client.refused += accepted.count(False)
        return UsageReport(
            key_id=client.value.split("_")[1],
            client=client.name,
            start=start,
            successes=accepted.count(True),
            failures=accepted.count(False),
            matched=True,
            identified=True,
        )

    def until(self, done: Callable[[Rotation], bool], *, seconds: int = 120) -> Rotation:
        """Let seconds pass until the newest rotation is so; fails the test when it never is."""
        rotation = None
        for _ in range(seconds):
            rotation = self.store.latest_of(NAME)
            if rotation is not None and done(rotation):
                return rotation
            self.second()
        phase = None if rotation is None else (rotation.phase, rotation.hold, rotation.halted)
        verdict = self.runtime.status(NAME).verdict
        raise AssertionError(f"never so within {seconds} s: {phase}, {verdict}")

    def until_phase(self, phase: Phase, *, seconds: int = 120) -> Rotation:
        """Let seconds pass until the newest rotation is in a phase."""
        return self.until(lambda rotation: rotation.phase is phase, seconds=seconds)

    @property
    def refused(self) -> Mapping[str, int]:
        """Refusals so far, by client, of those that had any."""
        return {client.name: client.refused for client in self.clients if client.refused}
