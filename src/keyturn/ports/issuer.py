"""An issuer: makes and unmakes credentials at the authority, the system that checks them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue


class ValueOrigin(StrEnum):
    """Who makes the value, which decides the order of an introduction (a rerun must find the value again)."""

    KEYTURN = "keyturn"
    """We make it: it is staged first and the staged value is installed."""
    AUTHORITY = "authority"
    """The authority makes it and shows it once: a crash before staging leaves an orphan, found by listing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new credential: its public key id and its value."""

    key_id: str
    value: SecretValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A key as the authority lists it."""

    key_id: str
    token: str | None = None
    """What `mint` was told when it was made; None where that is not known, as of somebody else's."""
    created_at: datetime | None = None


class Issuer(Protocol):
    """One credential at its authority, whose verifiers check what clients present.

    Every method may raise `Transient`, `Throttled` and `Denied`, and returns or raises within `timeout`. All are
    idempotent: the same call again gives the same world and no error. Values appear in no error, log, repr, process
    argument or environment.
    """

    origin: ValueOrigin

    lease: str | None
    """The name of what several credentials share at the authority (a key table, a keyset): the caller holds the lease of
    that name around `install`, `enable`, `disable` and `revoke`, and around `mint` where the authority makes the value.
    None when each credential stands alone."""

    timeout: timedelta
    """The longest that one call takes, with as many verifiers as it may name: whoever makes it holds its leases for
    longer (promise P7)."""

    def verifiers(self) -> Sequence[str]:
        """The names of the nodes that check credentials now. The set may change between calls."""

    def mint(self, token: str) -> Minted:
        """A new credential. Where keyturn makes the value nothing outside changes; where the authority does, every
        verifier accepts the key from now on, `token` marks it as ours, so that an orphan can be told from a stranger's,
        and a second call makes a second key: the caller looks at `issued` first."""

    def issued(self) -> Sequence[Issued]:
        """Every key that the authority holds for this credential, disabled ones too, revoked ones not. Nothing where
        keyturn makes the value: no mint leaves anything there that is not staged before."""

    def room(self) -> int | None:
        """How many more keys the authority takes for this credential now, revoked ones not counted: each `install` of
        a new key (or each `mint`, where the authority makes the value) takes one, each `revoke` gives one back. None
        when no limit is known. Where there is no room that call raises `Conflict` and changes nothing."""

    def key_id(self, value: SecretValue) -> str:
        """The public id of a value, as usage logs show it: `[A-Za-z0-9._-]{1,100}`, since it becomes part of names in
        backends. Raises `Invalid` when the value is none of this issuer's kind."""

    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        """Have these verifiers accept the key. A key that was revoked stays revoked (raises `Conflict`): a late call
        cannot revive it. A key that is disabled stays disabled: that is `enable`'s word alone."""

    def enable(self, key_id: str, verifiers: Collection[str]) -> None:
        """Have these verifiers accept a disabled key again. Raises `Conflict` when it is revoked, `Absent` when no entry
        of it is left to enable: `install` is then the way back."""

    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        """Have these verifiers refuse the key, reversibly and by name: its users stay recognisable."""

    def revoke(self, key_id: str, verifiers: Collection[str]) -> None:
        """Refuse the key for good; a tombstone stays, so that a late user can be named and a late `install` fails."""

    def entries(self, verifier: str) -> Mapping[str, Entry]:
        """What the authority lists for this verifier, every key id of this authority, ours or not; a key that is not in
        the mapping is absent there."""

    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        """Present the value to one verifier as a client would, on a new connection and on one held open since before,
        marked as our own presentation. `ACCEPTED` and `DISABLED` mean: so on both, and nothing that serves older rules
        is left; `UNSETTLED`: the newest rules say so, but older ones may still be served. Never raises for an
        unreachable verifier: that is `UNREACHABLE`."""


class Authority(Protocol):
    """A connection to one system that checks credentials."""

    def credential(self, options: object) -> Issuer:
        """The issuer of one credential, as its `issuer:` entry describes it beyond the authority's name. Raises
        `ConfigError` naming the wrong key."""

    def check(self) -> Sequence[str]:
        """What would stop a rotation here, one line each with the mend."""

    def close(self) -> None:
        """Give held connections back."""
