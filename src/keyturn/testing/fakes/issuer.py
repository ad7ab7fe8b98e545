"""An authority in memory, with verifiers that lag, go away, come back stale and keep connections to old rules."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from keyturn.domain.errors import Absent, ConfigError, Conflict, Invalid, Transient
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.clock import Clock
from keyturn.ports.issuer import Issued, Minted, ValueOrigin
from keyturn.testing.fakes.clock import FakeClock
from keyturn.testing.fakes.faults import Faults
from keyturn.testing.fakes.verifier import FakeVerifier, Row

T = TypeVar("T")

TIMEOUT = timedelta(seconds=10)


class FakeIssuer:
    """One credential at a `FakeAuthority`."""

    def __init__(self, authority: FakeAuthority) -> None:
        self.origin = authority.origin
        self.lease: str | None = authority.lease
        self.timeout = TIMEOUT
        self._authority = authority

    def __repr__(self) -> str:
        return f"FakeIssuer(lease={self.lease!r})"

    def verifiers(self) -> Sequence[str]:
        return tuple(self._authority.nodes)

    def mint(self, token: str) -> Minted:
        return self._authority.faults.run("mint", lambda: self._authority.new_key(token))

    def issued(self) -> Sequence[Issued]:
        return self._authority.faults.run("issued", self._authority.issued)

    def room(self) -> int | None:
        return self._authority.faults.run("room", self._authority.room)

    def key_id(self, value: SecretValue) -> str:
        parts = value.reveal().split("_")
        if len(parts) != 3 or parts[0] != "fake":
            raise Invalid("fake: not a value of this authority's")
        return parts[1]

    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        def change(row: Row | None) -> Row:
            if row is None:
                if self.origin is ValueOrigin.AUTHORITY and key_id not in self._authority.made:
                    raise Absent(f"fake: no key {key_id} was ever made here")
                if self._authority.full_for(key_id):
                    raise Conflict(f"fake: no room for key {key_id}: {self._authority.capacity} are there")
                return Row(entry=Entry.ACTIVE, value=value)
            if row.entry is Entry.REVOKED:
                raise Conflict(f"fake: key {key_id} is revoked")
            return row

        self._change("install", key_id, verifiers, change)

    def enable(self, key_id: str, verifiers: Collection[str]) -> None:
        def change(row: Row | None) -> Row:
            if row is None:
                raise Absent(f"fake: no entry of key {key_id}")
            if row.entry is Entry.REVOKED:
                raise Conflict(f"fake: key {key_id} is revoked")
            return Row(entry=Entry.ACTIVE, value=row.value)

        self._change("enable", key_id, verifiers, change)

    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        def change(row: Row | None) -> Row:
            if row is None:
                raise Absent(f"fake: no entry of key {key_id}")
            if row.entry is Entry.REVOKED:
                return row
            return Row(entry=Entry.DISABLED, value=row.value)

        self._change("disable", key_id, verifiers, change)

    def revoke(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change("revoke", key_id, verifiers, lambda _: Row(entry=Entry.REVOKED, value=None))

    def entries(self, verifier: str) -> Mapping[str, Entry]:
        return self._authority.faults.run("entries", self._authority.reach(verifier).entries)

    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        def ask() -> Acceptance:
            return self._authority.reach(verifier).probe(key_id, value.reveal())

        try:
            return self._authority.faults.run("probe", ask)
        except Transient:
            return Acceptance.UNREACHABLE

    def _change(
        self, method: str, key_id: str, verifiers: Collection[str], change: Callable[[Row | None], Row]
    ) -> None:
        def apply() -> None:
            with self._authority.lock:
                unreachable = []
                for name in verifiers:
                    try:
                        self._authority.reach(name).change(key_id, change)
                    except Transient:
                        unreachable.append(name)
                if unreachable:
                    raise Transient(f"fake: {', '.join(unreachable)}: unreachable")

        self._authority.faults.run(method, apply)


class FakeAuthority:
    """Several verifiers with a key table each.

    A change is in the table at once and is served `lag` later, by `clock`; a connection that a client holds goes on
    being served by older rules for `held_lag` more. `nodes[name].leave()` takes a verifier off the network and
    `nodes[name].come_back()` brings it back with the table it left with, or an older one. With a `capacity` no more keys
    than that are there at once, on all verifiers together, revoked ones not counted; a test may change it. With the origin
    `AUTHORITY` it makes the values itself: a minted key is accepted at once, its value is shown once, and `made` keeps
    under which token and when each was made; `made_by_hand` is somebody else's. Values are random, or drawn from `draw`.
    """

    def __init__(
        self,
        *verifiers: str,
        clock: Clock | None = None,
        lag: timedelta = timedelta(0),
        held_lag: timedelta = timedelta(0),
        lease: str | None = "fake-key-table",
        capacity: int | None = None,
        origin: ValueOrigin = ValueOrigin.KEYTURN,
        draw: random.Random | None = None,
    ) -> None:
        self.clock: Clock = clock or FakeClock()
        self.faults = Faults()
        self.lease = lease
        self.capacity = capacity
        self.origin = origin
        self.made: dict[str, Issued] = {}
        self.lock = threading.RLock()
        self.problems: list[str] = []
        self.nodes: dict[str, FakeVerifier] = {}
        """The verifiers by name; a test may add one, as a node that joins."""
        for name in verifiers or ("one", "two"):
            self.nodes[name] = FakeVerifier(name, self.clock, lag=lag, held_lag=held_lag)
        self._serials = itertools.count(1)
        self._draw = draw or random.SystemRandom()

    def credential(self, options: object) -> FakeIssuer:
        if options:
            raise ConfigError("fake issuer: takes no options")
        return FakeIssuer(self)

    def check(self) -> Sequence[str]:
        return tuple(self.problems)

    def close(self) -> None:
        """Nothing is held."""

    def new_key(self, token: str) -> Minted:
        """A new key, with an id that counts up; in use at once where the authority makes it."""
        if self.origin is ValueOrigin.AUTHORITY and self.room() == 0:
            raise Conflict(f"fake: no room for another key: {self.capacity} are there")
        key_id = f"k{next(self._serials)}"
        minted = Minted(key_id=key_id, value=SecretValue(f"fake_{key_id}_{self._draw.getrandbits(128):032x}"))
        if self.origin is ValueOrigin.AUTHORITY:
            self._enter(minted, token)
        return minted

    def made_by_hand(self) -> Minted:
        """Another's hand: a key that bears no token of ours."""
        minted = self.new_key("")
        self._enter(minted, None)
        return minted

    def _enter(self, minted: Minted, token: str | None) -> None:
        with self.lock:
            self.made[minted.key_id] = Issued(key_id=minted.key_id, token=token, created_at=self.clock.now())
            for node in self.nodes.values():
                node.put(minted.key_id, Entry.ACTIVE, minted.value)

    def issued(self) -> Sequence[Issued]:
        """What was made here and is not revoked."""
        return [one for key_id, one in self.made.items() if key_id in self._held()]

    def room(self) -> int | None:
        """How many more keys may be there; never below zero."""
        return None if self.capacity is None else max(0, self.capacity - len(self._held()))

    def full_for(self, key_id: str) -> bool:
        """Whether this key would be one too many; one that a verifier holds already takes no more room."""
        return self.room() == 0 and key_id not in self._held()

    def _held(self) -> set[str]:
        with self.lock:
            tables = [node.entries() for node in self.nodes.values()]
        return {key for table in tables for key, entry in table.items() if entry is not Entry.REVOKED}

    def reach(self, verifier: str) -> FakeVerifier:
        """The verifier, if it is on the network."""
        node = self.nodes.get(verifier)
        if node is None or node.away:
            raise Transient(f"fake: {verifier}: unreachable")
        return node
