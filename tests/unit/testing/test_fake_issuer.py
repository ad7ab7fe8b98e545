"""The fake authority passes the kit, and its verifiers lag, leave and hold on as told."""

from datetime import timedelta

import pytest

from keyturn.domain.errors import Transient
from keyturn.domain.observations import Acceptance, Entry
from keyturn.ports.issuer import Issuer, ValueOrigin
from keyturn.testing.fakes import FakeAuthority, FakeClock, FakeVerifier, Fault
from keyturn.testing.issuer import HeldConnection, IssuerConformance, IssuerHarness
from keyturn.testing.trouble import Trouble

FAULTS = {Trouble.THROTTLED: Fault.THROTTLED, Trouble.DENIED: Fault.DENIED, Trouble.UNREACHABLE: Fault.LOST_REQUEST}


class FakeConnection:
    """A client's connection to a fake verifier, held since it was opened."""

    def __init__(self, verifier: FakeVerifier, opened: float) -> None:
        self._verifier = verifier
        self._opened = opened

    def accepts(self, value: str) -> bool:
        return self._verifier.accepts(value, opened=self._opened)

    def close(self) -> None:
        pass


class FakeIssuerHarness(IssuerHarness):
    """An authority with three verifiers that lag."""

    def __init__(self, lag: float, *, capacity: int | None = None, origin: ValueOrigin = ValueOrigin.KEYTURN) -> None:
        self.clock = FakeClock()
        self.authority = FakeAuthority(
            *("one", "two", "three"),
            clock=self.clock,
            lag=timedelta(seconds=lag),
            held_lag=timedelta(seconds=2 * lag),
            capacity=capacity,
            origin=origin,
        )

    def issuer(self) -> Issuer:
        return self.authority.credential({})

    def accepts(self, verifier: str, value: str) -> bool:
        return self.authority.nodes[verifier].accepts(value)

    def hold(self, verifier: str) -> HeldConnection:
        return FakeConnection(self.authority.nodes[verifier], self.authority.clock.monotonic())

    def in_trouble(self, trouble: Trouble) -> Issuer:
        self.authority.faults.inject(FAULTS[trouble], "install", "enable", "disable", "revoke", times=None)
        return self.authority.credential({})

    def unreachable(self, verifier: str) -> Issuer:
        self.authority.nodes[verifier].leave()
        return self.authority.credential({})

    def wait(self) -> None:
        self.clock.advance(0.5)


class TestAtOnce(IssuerConformance):
    """Verifiers that follow at once."""

    @pytest.fixture
    def harness(self) -> IssuerHarness:
        return FakeIssuerHarness(lag=0)


class TestMadeByTheAuthority(IssuerConformance):
    """An authority that makes the values itself, two keys at a time, as IAM does."""

    @pytest.fixture
    def harness(self) -> IssuerHarness:
        return FakeIssuerHarness(lag=1, capacity=2, origin=ValueOrigin.AUTHORITY)


class TestRoomForTwo(IssuerConformance):
    """An authority that takes two keys at a time."""

    @pytest.fixture
    def harness(self) -> IssuerHarness:
        return FakeIssuerHarness(lag=0, capacity=2)


class TestLagging(IssuerConformance):
    """Verifiers that follow later, and later still on held connections."""

    @pytest.fixture
    def harness(self) -> IssuerHarness:
        return FakeIssuerHarness(lag=1)


def test_held_connection_stays_on_older_rules() -> None:
    """A key disabled a moment ago is refused on new connections, accepted on a held one, and `UNSETTLED` meanwhile."""
    clock = FakeClock()
    authority = FakeAuthority("one", clock=clock, held_lag=timedelta(seconds=5))
    issuer, node = authority.credential({}), authority.nodes["one"]
    minted = issuer.mint("m")
    value = minted.value.reveal()
    issuer.install(minted.key_id, minted.value, ["one"])
    clock.advance(5)
    opened = clock.monotonic()
    clock.advance(1)
    issuer.disable(minted.key_id, ["one"])
    assert (node.accepts(value), node.accepts(value, opened=opened)) == (False, True)
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.UNSETTLED
    clock.advance(5)
    assert (node.accepts(value), node.accepts(value, opened=opened)) == (False, False)
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.DISABLED


def test_verifier_that_is_away_is_named_and_the_others_follow() -> None:
    """A change reaches whom it can reach and says who is missing; back again, stale, the missing one knows nothing."""
    authority = FakeAuthority("one", "two")
    issuer = authority.credential({})
    minted = issuer.mint("m")
    authority.nodes["two"].leave()
    with pytest.raises(Transient, match="two"):
        issuer.install(minted.key_id, minted.value, ["one", "two"])
    with pytest.raises(Transient):
        issuer.entries("two")
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.ACCEPTED
    authority.nodes["two"].come_back()
    assert issuer.probe("two", minted.key_id, minted.value) is Acceptance.REFUSED
    authority.nodes["one"].leave()
    authority.nodes["one"].come_back(forgetting=1)
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.REFUSED
    assert issuer.entries("one") == issuer.entries("two") == {}


def test_hanging_verifier_takes_changes_in_and_serves_what_it_served() -> None:
    """While it hangs a change is listed and not served, which a probe shows; when it goes on, it follows."""
    clock = FakeClock()
    authority = FakeAuthority("one", clock=clock)
    issuer, node = authority.credential({}), authority.nodes["one"]
    minted = issuer.mint("m")
    issuer.install(minted.key_id, minted.value, ["one"])
    clock.advance(1)
    node.hang()
    issuer.revoke(minted.key_id, ["one"])
    clock.advance(100)
    assert issuer.entries("one") == {minted.key_id: Entry.REVOKED}
    assert node.accepts(minted.value.reveal())
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.UNSETTLED
    node.go_on()
    assert not node.accepts(minted.value.reveal())
    assert issuer.probe("one", minted.key_id, minted.value) is Acceptance.REFUSED


def test_hands_on_the_table() -> None:
    """A row that another's hand deletes or writes is what the authority lists and serves."""
    authority = FakeAuthority("one")
    issuer, node = authority.credential({}), authority.nodes["one"]
    minted = issuer.mint("m")
    node.put(minted.key_id, Entry.ACTIVE, minted.value)
    assert node.accepts(minted.value.reveal())
    node.lose(minted.key_id)
    assert not node.accepts(minted.value.reveal())
    assert issuer.entries("one") == {}
