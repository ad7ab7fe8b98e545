"""Whoever presents credentials: applications that fetch, cache and hold connections, and people who should not have them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.domain.observations import Entry
from keyturn.testing.fakes import FakeVerifier
from keyturn.testing.simulation.faults import ANY
from keyturn.testing.simulation.plan import ClientShape

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World

NEVER = float("inf")
THIEF = "thief"
EVERYWHERE = "all"
SETTLED = 24.0
"""Seconds after which every verifier serves the table that it was born with."""
RESTARTS = (80.0, 300.0)
"""Seconds between two starts of a client that reads at its start alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One presentation that was refused."""

    client: Client
    key: Key
    verifier: str
    fetched: float
    """When the client read the value."""


class Client:
    """An application: it fetches from its target, keeps what it fetched, and holds connections."""

    def __init__(self, world: World, shape: ClientShape) -> None:
        self.world = world
        self.shape = shape
        self.name = shape.name
        self.cut: set[str] = set()
        """Regions and verifiers that it cannot reach."""
        self.value: str | None = None
        self.fetched = -NEVER
        self.opened = -NEVER
        self.held: str | None = None
        """What its connection was opened with."""
        self.last_use: dict[str, float] = {}
        """By key id: when it last presented it."""
        self._rng = random.Random(f"{world.plan.seed}/{world.plan.run}/{shape.name}")
        self._turn = self._rng.randrange(3)
        self._restarts_at = NEVER
        world.timeline.at(SETTLED + self._rng.uniform(0, shape.every), self.act)

    def act(self) -> None:
        """One request of the application."""
        world, now = self.world, self.world.timeline.now
        world.timeline.at(now + self.shape.every * self._rng.uniform(0.8, 1.2), self.act)
        if self.value is None or now - self.fetched >= self.shape.refresh or now >= self._restarts_at:
            self.fetch()
        if self.held is None or now - self.opened >= self.shape.pool:
            self.held, self.opened = self.value, now
        if self.held is None:
            return
        if EVERYWHERE in self.cut:
            self.held = None
            return
        names = [name for name in sorted(world.authority.nodes) if name not in self.cut]
        if names:
            self._turn += 1
            self._present(self.held, names[self._turn % len(names)])

    def fetch(self) -> None:
        """Read the secret again, if its region can be reached."""
        if self.shape.target in self.cut:
            return
        self.value = self.world.regions[self.shape.credential][self.shape.target].value
        self.fetched = self.world.timeline.now
        self.held = None
        if self.shape.refresh == NEVER:
            self._restarts_at = self.world.timeline.now + self._rng.uniform(*RESTARTS)

    def _present(self, value: str, verifier: str) -> None:
        world, now = self.world, self.world.timeline.now
        key = world.by_value.get(value)
        node = world.authority.nodes[verifier]
        if key is None:
            return
        if node.away:
            self.held = None
            return
        accepted = (
            verifier not in world.ill and node.accepts(value, opened=self.opened) and not self._fails(key, verifier)
        )
        self.last_use[key.id] = now
        world.source_of(verifier).present(
            key.id,
            self.name,
            success=accepted,
            matched=node.knows(key.id, value),
            identified=True,
            verifier=verifier,
        )
        if not accepted:
            world.promises.refused(Use(client=self, key=key, verifier=verifier, fetched=self.fetched))
            # Whoever is refused reads anew, and connects anew, the next time.
            self.held, self.value = None, None
            if world.timeline.telling:
                world.timeline.tell(f"{self.name} is refused with {key} at {verifier}")

    def _fails(self, key: Key, verifier: str) -> bool:
        """Whether this key is one of those that do not work, for this client, there."""
        if key.bad is None:
            return False
        client, where = key.bad
        return client in (ANY, self.name) and where in (ANY, verifier)


class Attacker:
    """Presents garbage under key ids that it has seen, and values that it got hold of: what is destroyed or reported, and
    now and then what is only disabled, which is a real holder's use to whoever sees it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rng = random.Random(f"{world.plan.seed}/{world.plan.run}/attacker")
        world.timeline.at(self._rng.uniform(20, 60), self.act)

    def act(self) -> None:
        """One attempt."""
        world = self.world
        world.timeline.at(world.timeline.now + self._rng.uniform(20, 60), self.act)
        key = world.keys[self._rng.choice(list(world.keys))]
        verifier = self._rng.choice(sorted(world.authority.nodes))
        node = world.authority.nodes[verifier]
        if node.away:
            return
        if self._rng.random() < self._stolen(key, node):
            accepted = self._present(THIEF, key.id, key.value, verifier)
            world.promises.stolen(key, verifier, accepted=accepted)
        else:
            self._present("stranger", key.id, f"fake_{key.id}_{self._rng.getrandbits(128):032x}", verifier)

    def _stolen(self, key: Key, node: FakeVerifier) -> float:
        """How likely it is that the value itself is presented, and not garbage."""
        if key.reported is not None or self.world.promises.is_destroyed(key):
            return 0.5
        # Seldom: each of these is a retreat, and after some of them a person is called.
        return 0.05 if node.entries().get(key.id) is Entry.DISABLED else 0.0

    def _present(self, who: str, key_id: str, value: str, verifier: str) -> bool:
        node = self.world.authority.nodes[verifier]
        accepted = verifier not in self.world.ill and node.accepts(value)
        self.world.source_of(verifier).present(
            key_id, who, success=accepted, matched=node.knows(key_id, value), identified=False, verifier=verifier
        )
        return accepted
