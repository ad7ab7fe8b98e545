"""One daemon of several: the product's runtime on a machine whose clock, disk and network go wrong.

Every call that it makes, to the store or to the outside, goes over a `line`, where a disturbance may meet it. A replica
that is paused sleeps inside that very call while the others go on, as under SIGSTOP; a crash unwinds the tick, and a call
of the dead process never happens.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from keyturn.domain.errors import Denied, KeyturnError, Throttled, Transient
from keyturn.runtime.claims import LEASE
from keyturn.runtime.tick import Runtime
from keyturn.testing.simulation.faults import ANY, BETWEEN_VERIFIERS, IN_TABLE, LOOKS, STORE, Disturbance
from keyturn.testing.simulation.plan import ReplicaShape
from keyturn.testing.simulation.timeline import WorldClock

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import World

T = TypeVar("T")

STORE_WRITES = frozenset(
    [
        "register",
        "found",
        "confirm",
        "set_due",
        "set_check",
        "begin",
        "commit",
        "record",
        "bind",
        "add_usage",
        "forget_batches",
        "set_blind",
        "dismiss",
        "acknowledge",
        "save_detector",
        "enqueue",
        "delivered",
        "undelivered",
        "claim",
        "release",
        "resign",
    ]
)
DEEPEST = 3
"""So many replicas at most sleep inside each other."""
LONGEST_CALL = 45.0
"""Seconds: a call's own timeout, which ends before the lease of the table does."""


PRODUCT, TESTING, SABOTAGED = "keyturn.", "keyturn.testing.", "keyturn.testing.simulation.sabotages."
"""Modules by how their names begin: a sabotage stands in for the product."""


class Crash(BaseException):
    """The process dies here. Not an `Exception`: nothing of the product may catch it."""


def _in_product(error: Exception) -> str | None:
    """Where in the product it was raised; None for a mistake of the simulator's own."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(SABOTAGED) or (module.startswith(PRODUCT) and not module.startswith(TESTING)):
            return f"{module}:{line}"
        if module.startswith(TESTING):
            return None
    return None


class OneByOne:
    """Runs independent calls one after another, in any order: nothing may rest on which comes first."""

    def __init__(self, order: random.Random) -> None:
        self._order = order

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        if len(calls) < 2:
            return [call() for call in calls]
        order = list(range(len(calls)))
        self._order.shuffle(order)
        results = {number: calls[number]() for number in order}
        return [results[number] for number in range(len(calls))]

    def pause(self, seconds: float) -> None:
        """No time passes between the tries of one call."""

    def close(self) -> None:
        """Nothing runs."""


class Replica:
    """A daemon, its machine, and what is about to go wrong with it."""

    def __init__(self, world: World, shape: ReplicaShape) -> None:
        self.world = world
        self.name = shape.name
        self.interval = shape.interval
        self.phase = shape.phase
        self.clock = WorldClock(world.timeline, shape.skew)
        self.armed: list[Disturbance] = []
        self.skipped: Counter[int] = Counter()
        self.cut: dict[str, Disturbance] = {}
        """Places that it cannot reach."""
        self.generation = 0
        """Which start of the process this is; calls of an earlier one are dead."""
        self.down_until = 0.0
        self.in_tick = False
        self.undisturbed = True
        """Whether this tick has seen the world as it is, and nothing has moved since."""
        self.unanswered: set[tuple[str, str]] = set()
        """(verifier, key id) whose last probe was lost: to this process the verifier is away."""
        self._order = random.Random(f"{world.plan.seed}/{world.plan.run}/{self.name}/order")
        self.runtime = self._started()

    def _started(self) -> Runtime:
        self.generation += 1
        world = self.world
        self.store, self.registry = world.store_over(self), world.registry_over(self)
        return Runtime(
            store=self.store,
            registry=self.registry,
            clock=self.clock,
            executor=OneByOne(self._order),
            fingerprint_key=world.fingerprint_key,
            owner=f"{self.name}{self.generation}",
            met=self._breaks,
        )

    def restart(self) -> None:
        """Start the process again."""
        self.world.held_until = self.world.timeline.now + LEASE.total_seconds()
        self.world.promises.held_up(LEASE.total_seconds())
        self.runtime = self._started()

    @property
    def up(self) -> bool:
        """Whether it can tick now."""
        return not self.in_tick and self.world.timeline.now >= self.down_until

    def tick(self) -> None:
        """One tick of the daemon, as its clock calls it: what it raises ends the tick, not the daemon."""
        if self.up:
            self.within(self.runtime.tick)

    def within(self, call: Callable[[], object]) -> None:
        """Do something in this process. Raises `KeyturnError` never: the daemon reports it and lives. Anything else that
        breaks in the product, contained there or not, is told of (promise P10), and ends the run."""
        self.in_tick, self.undisturbed = True, True
        try:
            call()
        except Crash:
            self.restart()
        except KeyturnError as error:
            self.world.timeline.tell(f"{self.name}: {error}")
        except Exception as error:  # noqa: BLE001 - the simulator's own are raised again
            self._breaks(error)
        finally:
            self.in_tick = False

    def _breaks(self, error: Exception) -> None:
        """Something breaks. Raises it where that is a mistake of the simulator's own."""
        if (where := _in_product(error)) is None:
            raise error
        self.world.promises.check([("P10", f"{self.name} breaks at {where}: {type(error).__name__}: {error}")])

    def line(
        self, place: str, method: str, real: Callable[..., T], *, stale: Callable[..., T] | None = None
    ) -> Callable[..., T]:
        """The call `real` as this process makes it."""
        world, generation = self.world, self.generation

        def call(*arguments: object, **named: object) -> T:
            if generation != self.generation:
                raise Crash
            if not (self.armed or self.cut or world.disk_full):
                return real(*arguments, **named)
            self._barred(place, method)
            armed = self._due(place, method, readable=stale is not None)
            if armed is None:
                return real(*arguments, **named)
            return self._disturbed(
                armed,
                place,
                method,
                lambda: real(*arguments, **named),
                None if stale is None else lambda: stale(*arguments, **named),
            )

        return call

    def _barred(self, place: str, method: str) -> None:
        """Raises `Transient` where nothing gets through."""
        world = self.world
        if place in self.cut:
            world.happened(self.cut[place])
            raise Transient(f"{place}: no route from {self.name}")
        if world.disk_full and place == STORE and method in STORE_WRITES:
            world.happened(world.disk_full)
            raise Transient("the store's disk is full")

    def _disturbed(
        self, armed: Disturbance, place: str, method: str, real: Callable[[], T], stale: Callable[[], T] | None
    ) -> T:
        world = self.world
        world.happened(armed)
        if world.timeline.telling:
            world.timeline.tell(f"{self.name}: {armed.fault} {armed.choice}".rstrip() + f" at {method} ({place})")
        if armed.fault == "replica-pause":
            if armed.choice == "before":
                self.sleep(armed.lasting)
                return real()
            result = real()
            self.sleep(armed.lasting)
            return result
        if armed.fault == "stale-read" and stale is not None:
            self.undisturbed = False
            return stale()
        if armed.fault == "duplicate-delivery":
            result = real()
            self._later(armed.lasting, method, real)
            return result
        if armed.fault in ("lost-response", "lost-ack") or (armed.fault == "crash" and armed.choice == "after"):
            with suppress(KeyturnError):
                real()
        if armed.fault == "crash":
            self._dies(armed.lasting)
        if armed.fault == "throttling":
            raise Throttled(f"{place}: slow down", retry_after=timedelta(seconds=5))
        if armed.fault == "denial":
            raise Denied(f"{place}: {method} is not permitted")
        raise Transient(f"{place}: no answer to {method}")

    def _due(self, place: str, method: str, *, readable: bool) -> Disturbance | None:
        for position, armed in enumerate(self.armed):
            if armed.method not in (ANY, method):
                continue
            if armed.fault == "stale-read" and not readable:
                continue
            if armed.fault == "duplicate-delivery" and (place == STORE or method in LOOKS):
                continue
            if armed.fault in ("throttling", "denial") and place == STORE:
                continue
            if armed.fault == "replica-pause" and len(self.world.wakes) >= DEEPEST:
                continue
            key = id(armed)
            self.skipped[key] += 1
            if self.skipped[key] <= armed.skip:
                continue
            if self.skipped[key] >= armed.skip + armed.times:
                del self.armed[position], self.skipped[key]
            return armed
        return None

    def sleep(self, lasting: float) -> None:
        """Stand still, as under SIGSTOP, while the world goes on. Raises `Crash` if the process has died meanwhile."""
        world, generation = self.world, self.generation
        # Whoever falls asleep while another sleeps wakes first: calls return in the order in which they nest.
        until = min([world.timeline.now + lasting, *world.wakes])
        world.wakes.append(until)
        world.timeline.run_until(until)
        world.wakes.pop()
        self.undisturbed = False
        world.timeline.tell(f"{self.name}: wakes")
        if generation != self.generation:
            raise Crash

    def in_table(self) -> None:
        """Between reading a shared key table and writing it: the process may die here, or stand still, shorter than a
        lease."""
        if self.world.landing_late or not self.undisturbed:
            # Whoever has slept since the last look at the lease has none: its own deadline ends the call.
            return
        armed = self._met_in(IN_TABLE)
        if armed is not None and armed.fault == "crash":
            self._dies(armed.lasting)
        elif armed is not None:
            self.sleep(min(armed.lasting, LONGEST_CALL))

    def at_each(self, verifiers: Sequence[str], change: Callable[[Sequence[str]], None]) -> None:
        """Change the table of one verifier after another; the process may die when it has done the first."""
        armed = self._met_in(BETWEEN_VERIFIERS) if len(verifiers) > 1 and not self.world.landing_late else None
        if armed is None:
            change(verifiers)
            return
        with suppress(KeyturnError):
            change(verifiers[:1])
        self._dies(armed.lasting)

    def _met_in(self, moment: str) -> Disturbance | None:
        """What befalls the process in this moment within a call, if anything does."""
        for position, armed in enumerate(self.armed):
            if armed.method == moment and (armed.fault == "crash" or len(self.world.wakes) < DEEPEST):
                del self.armed[position]
                self.world.happened(armed)
                self.world.timeline.tell(f"{self.name}: {armed.fault} {moment}")
                return armed
        return None

    def _dies(self, lasting: float) -> None:
        self.generation += 1
        self.down_until = self.world.timeline.now + lasting
        raise Crash

    def _later(self, delay: float, method: str, real: Callable[[], object]) -> None:
        """Let a call of this process arrive once more."""
        world = self.world

        def lands() -> None:
            world.timeline.tell(f"a {method} of {self.name} arrives late")
            world.landing_late = True
            world.landed_late = world.timeline.now
            try:
                real()
            except KeyturnError as error:
                world.timeline.tell(f"the late {method} is refused: {error}")
            finally:
                world.landing_late = False

        world.timeline.at(world.timeline.now + delay, lands)
