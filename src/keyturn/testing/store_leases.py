"""Clauses: leases and claims, which one holder has at a time, and which fence what is written under them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from keyturn.domain.errors import StaleRevision
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, IntentState, Lease, Outcome, Told
from keyturn.ports.store import Store
from keyturn.testing.fakes.clock import FakeClock
from keyturn.testing.store_samples import NAME, NOW, SECOND, Clauses, begun, effect, line, message, planned, version

TTL = timedelta(seconds=30)
MANY = [f"credential/{number:03}" for number in range(600)]
"""More than a database takes in one statement."""


def names(leases: Sequence[Lease]) -> list[str]:
    return [lease.name for lease in leases]


def taken(store: Store, name: str = "table", owner: str = "a") -> Lease:
    """The lease, which must be free."""
    (lease,) = store.claim([name], owner, ttl=TTL)
    return lease


class LeaseClauses(Clauses):
    # Leases

    def test_lease_is_one_holders(self, store: Store, other: Store, clock: FakeClock) -> None:
        """While a lease is held nobody else gets it; its holder renews it under the same token."""
        assert taken(store) == Lease(name="table", owner="a", token=1, expires_at=NOW + TTL)
        clock.advance(SECOND)
        assert list(other.claim(["table"], "b", ttl=TTL)) == []
        assert taken(store) == Lease(name="table", owner="a", token=1, expires_at=NOW + SECOND + TTL)
        assert taken(other, "other table", "b").token == 1

    def test_expired_lease_is_anybodys(self, store: Store, other: Store, clock: FakeClock) -> None:
        """Until the moment of its expiry a lease is its holder's alone, and from then on it can be taken; each holder has
        a higher token than the one before."""
        first = taken(store)
        clock.advance(TTL - timedelta(microseconds=1))
        assert list(other.claim(["table"], "b", ttl=TTL)) == []
        clock.advance(timedelta(microseconds=1))
        second = taken(other, owner="b")
        assert (second.owner, second.token, second.expires_at) == ("b", 2, NOW + 2 * TTL)
        assert list(store.claim(["table"], "a", ttl=TTL)) == []
        assert [store.holds(first), store.holds(second)] == [False, True]

    def test_lapsed_lease_that_nobody_took_is_its_holders(self, store: Store, clock: FakeClock) -> None:
        """A holder that comes late finds its lease as it left it, when nobody has taken it: nothing was overtaken."""
        first = taken(store)
        clock.advance(10 * TTL)
        assert store.holds(first)
        assert taken(store) == replace(first, expires_at=NOW + 11 * TTL)

    def test_released_lease_is_free(self, store: Store, other: Store) -> None:
        """A lease given back is free at once, and the next token is higher all the same, for the same owner too."""
        lease = taken(store)
        store.release(lease)
        store.release(lease)
        assert not store.holds(lease)
        again = taken(store)
        assert again.token == 2
        store.release(again)
        assert taken(other, owner="b").token == 3

    def test_only_the_holder_releases(self, store: Store, other: Store, clock: FakeClock) -> None:
        """Giving back a lease that has passed on, to another or to a later holding of one's own, changes nothing."""
        first = taken(store)
        clock.advance(TTL)
        second = taken(other, owner="b")
        store.release(first)
        store.release(replace(second, owner="a"))
        store.release(replace(second, name="unknown"))
        assert store.holds(second)
        other.release(second)
        third = taken(other, owner="b")
        other.release(second)
        assert store.holds(third)

    def test_resigning_gives_everything_back(self, store: Store, other: Store) -> None:
        """An owner that goes leaves all it held, and nothing of others'."""
        mine = store.claim(["x", "y"], "a", ttl=TTL)
        (other_one,) = other.claim(["z"], "b", ttl=TTL)
        store.resign("a")
        assert [store.holds(lease) for lease in [*mine, other_one]] == [False, False, True]
        assert names(other.claim(["x", "y", "z"], "b", ttl=TTL)) == ["x", "y", "z"]

    # Claims

    def test_claim_takes_what_is_free(self, store: Store, other: Store, clock: FakeClock) -> None:
        """Of the names asked for those come that nobody else holds, by name, each once; held ones are renewed, also when
        they are many more than one statement takes."""
        assert list(store.claim([], "a", ttl=TTL)) == []
        assert names(store.claim(MANY[::2], "a", ttl=TTL)) == MANY[::2]
        clock.advance(SECOND)
        assert names(other.claim([*reversed(MANY), MANY[1]], "b", ttl=TTL)) == MANY[1::2]
        clock.advance(TTL - SECOND)
        renewed = other.claim(MANY, "b", ttl=TTL)
        assert names(renewed) == MANY
        assert [lease.token for lease in renewed] == [2, 1] * 300
        assert {lease.expires_at for lease in renewed} == {NOW + 2 * TTL}

    def test_each_name_is_claimed_by_one_of_many(self, store: Store, other: Store) -> None:
        """Of replicas that claim the same names at the same moment each name falls to one, and none is left over."""
        together = Barrier(8)

        def ask(number: int) -> Sequence[Lease]:
            together.wait()
            return (store, other)[number % 2].claim(MANY[:50], f"replica {number}", ttl=TTL)

        with ThreadPoolExecutor(8) as threads:
            claimed = [lease for leases in threads.map(ask, range(8)) for lease in leases]
        assert len({lease.name for lease in claimed}) == len(claimed)
        # What two were after at the same moment may be nobody's until the next time.
        left = store.claim(MANY[:50], "replica 0", ttl=TTL)
        held = {lease.name for lease in [*claimed, *left]}
        assert held == set(MANY[:50])
        assert all(store.holds(lease) for lease in claimed if lease.owner != "replica 0")

    # Fencing

    def test_commit_under_a_lost_claim_is_refused(self, store: Store, other: Store, clock: FakeClock) -> None:
        """A replica whose claim another has taken over commits nothing any more, though the rotation has not moved."""
        rotation = begun(store)
        mine = taken(store, "credential/x")
        rotation = store.commit(Commit(rotation=rotation, claim=mine))
        clock.advance(TTL)
        theirs = taken(other, "credential/x", "b")
        late = Commit(
            rotation=replace(rotation, phase=Phase.OVERLAP),
            claim=mine,
            intents=[effect()],
            messages=[message()],
            notifiers=["hook"],
            history=[line(rotation, "late")],
        )
        with pytest.raises(StaleRevision, match="credential/x"):
            store.commit(late)
        assert store.live_of(NAME) == rotation
        assert (dict(store.journal("r1")), list(store.outbox(NOW)), len(store.history(NAME))) == ({}, [], 1)
        assert other.commit(replace(late, claim=theirs)).phase is Phase.OVERLAP

    def test_commit_under_a_lapsed_claim_that_nobody_took_is_good(self, store: Store, clock: FakeClock) -> None:
        """What nobody else has worked on since is still its holder's to commit."""
        mine = taken(store, "credential/x")
        clock.advance(10 * TTL)
        assert store.commit(Commit(rotation=begun(store), claim=mine)).revision == 1

    def test_command_needs_no_claim(self, store: Store, other: Store) -> None:
        """What an operator asks of any replica is committed, whoever holds the claim."""
        taken(store, "credential/x")
        assert other.commit(Commit(rotation=begun(store))).revision == 1

    def test_rotation_is_not_begun_under_a_lost_claim(self, store: Store, other: Store, clock: FakeClock) -> None:
        """A due start that another replica has taken over is not made a second time."""
        store.register(NAME, version(), due_at=NOW)
        mine = taken(store, "credential/x")
        rotation = planned(store)
        clock.advance(TTL)
        theirs = taken(other, "credential/x", "b")
        with pytest.raises(StaleRevision):
            store.begin(rotation, line(rotation), claim=mine)
        assert store.live_of(NAME) is None
        other.begin(rotation, line(rotation), claim=theirs)
        assert store.live_of(NAME) == rotation

    def test_usage_is_not_added_under_a_lost_claim(self, store: Store, other: Store, clock: FakeClock) -> None:
        """A poller that was overtaken adds nothing and moves no cursor: from one cursor on, uses count once."""
        mine = taken(store, "source/log")
        clock.advance(TTL)
        theirs = taken(other, "source/log", "b")
        other.add_usage([Told(source="log", rows=[], watermark=NOW, cursor="2")], received_at=NOW, claim=theirs)
        late = Told(source="log", rows=[], watermark=NOW + SECOND, cursor="1", batch="x")
        with pytest.raises(StaleRevision):
            store.add_usage([late], received_at=NOW, claim=mine)
        state = store.sources()["log"]
        assert (state.cursor, state.watermark) == ("2", NOW)
        again = Told(source="log", rows=[], watermark=NOW, cursor="3", batch="x")
        assert other.add_usage([again], received_at=NOW, claim=theirs) == [True]

    def test_outcome_is_recorded_whoever_holds_the_claim(self, store: Store, other: Store, clock: FakeClock) -> None:
        """A call that was made is known to have been made, also when another replica has taken over meanwhile; but once
        that one has begun another attempt, the older attempt's outcome says nothing about it."""
        mine = taken(store, "credential/x")
        rotation = store.commit(Commit(rotation=begun(store), intents=[effect(1), effect(2)], claim=mine))
        clock.advance(TTL)
        theirs = taken(other, "credential/x", "b")
        other.commit(Commit(rotation=rotation, intents=[effect(2)], claim=theirs))
        done = Outcome(state=IntentState.SUCCEEDED, at=NOW)
        store.record(effect(1).id, 1, done)
        store.record(effect(2).id, 1, done)
        journal = other.journal("r1")
        assert [journal[effect(number).id].outcome for number in (1, 2)] == [done, None]

    def test_names_of_what_rotates(self, store: Store, other: Store) -> None:
        """Credentials with a live rotation are named, the oldest rotation's first; one that has ended is not."""
        assert list(store.rotating()) == []
        begun(store, id="r1", name="b")
        second = begun(store, id="r2", name="a")
        assert list(other.rotating()) == ["b", "a"]
        store.commit(Commit(rotation=replace(second, phase=Phase.ROLLED_BACK)))
        assert list(other.rotating()) == ["b"]
