"""A claim is sure of itself by its own process's clock, and sends nothing that could outlast it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from keyturn.domain.errors import StaleRevision
from keyturn.ports.records import Commit, Lease
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.sending import Sender
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import FakeClock
from keyturn.testing.store_samples import begun

TTL = timedelta(seconds=60)
CALL = timedelta(seconds=10)
TICK = timedelta(microseconds=1)


class SlowStore(MemoryStore):
    """A store that may take its time to answer."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        super().__init__(now=now)
        self.slow: Callable[[], None] = lambda: None

    def holds(self, lease: Lease) -> bool:
        held = super().holds(lease)
        self.slow()
        return held


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> SlowStore:
    return SlowStore(now=clock.now)


@pytest.fixture
def claims(store: SlowStore, clock: FakeClock) -> Claims:
    return Claims(store=store, clock=clock, owner="a", ttl=TTL)


@pytest.fixture
def others(store: SlowStore, clock: FakeClock) -> Claims:
    return Claims(store=store, clock=clock, owner="b", ttl=TTL)


@pytest.fixture
def claim(claims: Claims) -> Claim:
    claim = claims.take_one("credential/x")
    assert claim is not None
    return claim


@pytest.fixture
def sender(store: SlowStore, claim: Claim) -> Sender:
    return Sender(store=store, rotation=begun(store), claim=claim)


def test_claim_lasts_for_less_than_what_is_left(claim: Claim, clock: FakeClock) -> None:
    """A call that may take as long as the lease still runs could end after it: that is too long."""
    clock.advance(TTL - CALL)
    assert not claim.lasts(CALL)
    assert claim.lasts(CALL - TICK)


def test_claim_is_renewed_when_it_must_be(claim: Claim, others: Claims, clock: FakeClock) -> None:
    """A claim that might run out during a call is renewed before it; then it lasts, and others go on being kept out."""
    clock.advance(TTL - CALL)
    claim.keep(CALL)
    assert claim.lasts(TTL - TICK)
    clock.advance(TTL - TICK)
    assert others.take_one("credential/x") is None


def test_claim_that_lasts_is_left_as_it_is(claim: Claim, others: Claims, clock: FakeClock) -> None:
    """While it lasts it is not renewed at every call: its time runs on."""
    clock.advance(CALL)
    claim.keep(CALL)
    clock.advance(TTL - CALL)
    assert others.take_one("credential/x") is not None


def test_claim_is_renewed_in_time_while_its_holder_asks_around(claim: Claim, others: Claims, clock: FakeClock) -> None:
    """Whoever renews it before each of many calls has it for as long as they take, each up to half of its time; and hears it
    when it is lost."""
    for _ in range(10):
        claim.renew()
        assert claim.lasts(TTL / 2 - TICK)
        clock.advance(TTL / 2)
        assert others.take_one("credential/x") is None
    clock.advance(TTL)
    assert others.take_one("credential/x") is not None
    with pytest.raises(StaleRevision, match="credential/x"):
        claim.renew()


def test_claim_that_another_took_is_lost(claim: Claim, others: Claims, clock: FakeClock) -> None:
    """Once another has it, it is lost, whether it seems to last or not, and though it was given back since."""
    clock.advance(TTL)
    theirs = others.take_one("credential/x")
    assert theirs is not None
    with pytest.raises(StaleRevision, match="credential/x"):
        claim.keep(CALL)
    theirs.release()
    with pytest.raises(StaleRevision, match="credential/x"):
        claim.keep(CALL)


def test_claim_that_lapsed_and_nobody_took_goes_on(claim: Claim, clock: FakeClock) -> None:
    """Whoever was slow and finds nobody in its place goes on: else what always takes long would never be done."""
    clock.advance(10 * TTL)
    assert not claim.lasts(timedelta(0))
    claim.keep(CALL)
    assert claim.lasts(CALL)


def test_time_of_asking_counts(store: SlowStore, clock: FakeClock) -> None:
    """How long the store takes to grant a claim is no time that it lasts."""

    class Dawdling(MemoryStore):
        def claim(self, *arguments: object, **named: object) -> list[Lease]:
            leases = list(super().claim(*arguments, **named))  # type: ignore[arg-type]
            clock.advance(CALL)
            return leases

    claim = Claims(store=Dawdling(now=clock.now), clock=clock, owner="a", ttl=TTL).take_one("x")
    assert claim is not None
    assert claim.lasts(TTL - CALL - TICK)
    assert not claim.lasts(TTL - CALL)


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_wall_clock_that_is_set_changes_nothing(store: SlowStore, step: timedelta) -> None:
    """A replica whose wall clock is set, forward or back, is as sure of its claim as before."""
    clock = FakeClock()
    claim = Claims(store=store, clock=clock, owner="a", ttl=TTL).take_one("x")
    assert claim is not None
    clock.set_utc(clock.now() + step)
    assert claim.lasts(TTL - TICK)
    assert not claim.lasts(TTL)


def test_call_is_sent_and_its_result_comes_back(sender: Sender) -> None:
    """With the claim held and the rotation unmoved, the call is made once."""
    assert not sender.sent
    assert sender.send(lambda: "done", within=CALL) == "done"
    assert sender.sent


def must_not_run() -> None:
    raise AssertionError("it was sent")


def test_call_is_not_sent_once_the_rotation_has_moved(sender: Sender, store: SlowStore) -> None:
    """A command that came since the decision stops what was decided before it."""
    (rotation,) = store.live()
    store.commit(Commit(rotation=rotation))
    with pytest.raises(StaleRevision, match="moved"):
        sender.send(must_not_run, within=CALL)
    assert not sender.sent


def test_call_is_not_sent_once_the_claim_is_anothers(sender: Sender, others: Claims, clock: FakeClock) -> None:
    """A replica that was paused for a lease's time and was taken over sends nothing."""
    clock.advance(TTL)
    assert others.take_one("credential/x") is not None
    with pytest.raises(StaleRevision, match="another replica"):
        sender.send(must_not_run, within=CALL)
    assert not sender.sent


def test_call_is_not_sent_when_looking_took_the_time_that_it_needs(
    sender: Sender, store: SlowStore, clock: FakeClock
) -> None:
    """A store that answers late leaves too little of the lease: the call is not made, and could be made next time."""
    store.slow = lambda: clock.advance(TTL - CALL)
    with pytest.raises(StaleRevision, match="outlast"):
        sender.send(must_not_run, within=CALL)
    store.slow = lambda: None
    assert sender.send(lambda: "done", within=CALL) == "done"


def test_every_claim_that_a_call_needs_is_looked_at(
    sender: Sender, claims: Claims, others: Claims, clock: FakeClock
) -> None:
    """What is sent under a table's lease as well needs both, and for as long as it does."""
    table = claims.take_one("authority/table")
    assert table is not None
    with sender.under(table):
        assert sender.send(lambda: "done", within=CALL) == "done"
        clock.advance(TTL)
        assert others.take_one("authority/table") is not None
        with pytest.raises(StaleRevision, match="authority/table"):
            sender.send(must_not_run, within=CALL)
    assert sender.send(lambda: "done", within=CALL) == "done"
