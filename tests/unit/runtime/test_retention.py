"""Usage is rolled up and forgotten once in a while, in the time that the policy gives it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from keyturn.domain.errors import Transient
from keyturn.domain.model import VersionState
from keyturn.domain.phases import Phase
from keyturn.ports.store import Store
from keyturn.runtime.claims import LEASE, Claims
from keyturn.runtime.contained import Contained
from keyturn.runtime.registry import Registry
from keyturn.runtime.retention import EVERY, Housekeeping, Retention
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import FakeClock
from keyturn.testing.store_samples import NAME, NOW, add, at, begun, bucket, ended, everything, message, version

DAY = timedelta(days=1)


def keeper(store: Store, clock: FakeClock, owner: str = "a") -> Housekeeping:
    """One replica's housekeeping."""
    registry = Registry(credentials={})
    return Housekeeping(
        store=store,
        registry=registry,
        clock=clock,
        retention=Retention(),
        claims=Claims(store=store, clock=clock, owner=owner),
        contained=Contained(store=store, registry=registry, clock=clock, met=None),
    )


def test_buckets_leave_slots_and_slots_leave_nothing() -> None:
    """A week after a use its bucket is gone and the five minutes that it was in are kept, and after ninety days nothing is.
    A round takes place once an hour, and not with each tick."""
    clock = FakeClock(NOW)
    store = MemoryStore(now=clock.now)
    store.register(NAME, version(), due_at=None)
    housekeeping = keeper(store, clock)
    housekeeping.tidy()
    add(store, bucket(0, successes=1))

    clock.advance(7 * DAY)
    housekeeping.tidy()
    assert len(everything(store)) == 1

    clock.advance(EVERY)
    housekeeping.tidy()
    assert everything(store) == []
    assert len(store.use_starts(NAME, "web", end=at(1))) == 1

    clock.advance(84 * DAY)
    housekeeping.tidy()
    assert list(store.use_starts(NAME, "web", end=at(1))) == []
    assert list(store.with_usage()) == []


def test_a_round_touches_what_is_used_and_nothing_else() -> None:
    """Whoever has never been used costs a round nothing."""
    clock = FakeClock(NOW)
    store = Counting(clock)
    for name in ("a", "b", "c"):
        store.register(name, version(name=name), due_at=None)
    add(store, bucket(0, successes=1, credential="b"))
    keeper(store, clock).tidy()
    assert store.tidied == {"b"}


class Counting(MemoryStore):
    """Remembers whose usage was tidied."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock.now)
        self.tidied: set[str] = set()

    def forget_slots(self, credential: str, before: datetime) -> None:
        self.tidied.add(credential)
        super().forget_slots(credential, before)


def test_detector_saved_after_the_end_goes_with_the_next_round() -> None:
    """A replica that has not seen the end of a rotation may save its detector once more: it is not kept for ever."""
    clock = FakeClock(NOW)
    store = MemoryStore(now=clock.now)
    ended(store, begun(store), Phase.SUPERSEDED)
    begun(store, id="r2")
    for rotation in ("r1", "r2"):
        store.save_detector(rotation, "state")
    keeper(store, clock).tidy()
    assert [store.detector(rotation) for rotation in ("r1", "r2")] == [None, "state"]


def test_uses_of_destroyed_versions_do_not_pile_up() -> None:
    """Ninety days after a client has moved on, which version it used then is forgotten, and that there is such a client is
    not: each tick reads all that is remembered."""
    clock = FakeClock(NOW)
    store = MemoryStore(now=clock.now)
    dead = [version(serial, state=VersionState.DESTROYED) for serial in range(1, 20)]
    store.register(NAME, version(20), due_at=None, others=dead)
    add(store, *(bucket(serial, serial=serial, successes=1) for serial in range(1, 20)), bucket(0, "gone", successes=1))
    clock.advance(91 * DAY)
    keeper(store, clock).tidy()
    assert set(store.uses(NAME)) == {("web", 19, "log"), ("gone", 1, "log")}


def test_delivered_messages_do_not_pile_up() -> None:
    """Ninety days after it was delivered a message is forgotten, and one that is not delivered never is."""
    clock = FakeClock(NOW)
    store = MemoryStore(now=clock.now)
    store.enqueue([message("told"), message("waits")], ["hook"], now=NOW)
    store.delivered(store.outbox(NOW)[0].id, at=NOW)
    clock.advance(91 * DAY)
    keeper(store, clock).tidy()
    store.enqueue([message("told"), message("waits")], ["hook"], now=clock.now())
    assert [one.message.id for one in store.outbox(clock.now())] == ["waits", "told"]


def test_one_replica_tidies_at_a_time() -> None:
    """While one is at it the others leave everything alone, and it stops where another has taken over; nothing waits for
    longer than a round."""
    clock = FakeClock(NOW)
    store = Interrupted(clock)
    for name in ("a", "b", "c"):
        store.register(name, version(name=name), due_at=None)
        add(store, bucket(0, successes=1, credential=name))
    clock.advance(8 * DAY)
    ours, theirs = keeper(store, clock), keeper(store, clock, "other")

    def meanwhile() -> None:
        theirs.tidy()
        assert store.tidied == []
        clock.advance(LEASE)
        Claims(store=store, clock=clock, owner="third").take_one("housekeeping")

    store.meanwhile = meanwhile
    ours.tidy()
    assert store.tidied == []
    clock.advance(EVERY)
    theirs.tidy()
    assert store.tidied == ["a", "b", "c"]


@pytest.mark.parametrize("error", [Transient("it took too long"), LookupError("hunter2")])
def test_what_fails_for_one_leaves_the_others_tidied(error: Exception) -> None:
    """The usage of one credential cannot be rolled up: that of those after it is, and the pass goes on."""
    clock = FakeClock(NOW)
    store = Interrupted(clock)
    for name in ("a", "b"):
        store.register(name, version(name=name), due_at=None)
        add(store, bucket(0, successes=1, credential=name))
    clock.advance(8 * DAY)

    def fails() -> None:
        raise error

    store.meanwhile = fails
    keeper(store, clock).tidy()
    assert store.tidied == ["b"]
    assert everything(store, "b") == []


class Interrupted(MemoryStore):
    """Lets the world go on before it first rolls up."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock.now)
        self.tidied: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def roll_up(self, credential: str, before: datetime) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().roll_up(credential, before)

    def forget_slots(self, credential: str, before: datetime) -> None:
        self.tidied.append(credential)
        super().forget_slots(credential, before)
