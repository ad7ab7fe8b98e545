"""What the clauses on issuers start from: the harness that a plugin's author writes, and the states of a key."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol
from uuid import uuid4

import pytest

from keyturn.domain.observations import Acceptance, Entry
from keyturn.ports.issuer import Issuer, Minted
from keyturn.testing.trouble import Trouble


class HeldConnection(Protocol):
    """A client's connection to one verifier, kept open between presentations as connection pools do."""

    def accepts(self, value: str) -> bool:
        """Present the value on this connection; on a new one only if the verifier has closed it."""

    def close(self) -> None:
        """Let go of it."""


class IssuerHarness(ABC):
    """One authority with its verifiers, and a back door to them that does not use the plugin."""

    @abstractmethod
    def issuer(self) -> Issuer:
        """A new instance of the plugin for the same credential, as after a restart: it remembers nothing."""

    @abstractmethod
    def accepts(self, verifier: str, value: str) -> bool:
        """Present the value to one verifier as a client would, on a new connection."""

    def hold(self, verifier: str) -> HeldConnection:
        """Open a client's connection to the verifier and use it once, so that it is held from now on."""
        pytest.skip(f"this harness cannot hold a connection to {verifier}")

    def in_trouble(self, trouble: Trouble) -> Issuer:
        """A new instance of the plugin whose calls that change the authority meet this trouble."""
        pytest.skip(f"this harness cannot cause: {trouble}")

    def unreachable(self, verifier: str) -> Issuer:
        """Take one verifier off the network; a new instance of the plugin that sees it so."""
        pytest.skip(f"this harness cannot make {verifier} unreachable")

    def wait(self) -> None:
        """Let a little time pass at the authority."""
        time.sleep(0.05)


class IssuerClauses:
    """What the clauses start from."""

    settle_within: ClassVar[float] = 15.0
    """Seconds, of this machine's clock, within which a change must have reached everything that serves older rules."""

    @pytest.fixture
    def harness(self) -> IssuerHarness:
        """The plugin at an authority with one verifier or more, all of them well."""
        raise NotImplementedError("override the fixture `harness`")

    @pytest.fixture
    def issuer(self, harness: IssuerHarness) -> Issuer:
        return harness.issuer()

    def settle(self, harness: IssuerHarness, issuer: Issuer, minted: Minted) -> set[Acceptance]:
        """What all verifiers say of a key once none of them says `UNSETTLED` any more."""
        deadline = time.monotonic() + self.settle_within
        while True:
            said = {issuer.probe(verifier, minted.key_id, minted.value) for verifier in issuer.verifiers()}
            if Acceptance.UNSETTLED not in said:
                return said
            assert time.monotonic() < deadline, f"still unsettled after {self.settle_within} s"
            harness.wait()

    def installed(self, harness: IssuerHarness, issuer: Issuer) -> Minted:
        """A key that every verifier accepts."""
        minted = mint(issuer)
        issuer.install(minted.key_id, minted.value, issuer.verifiers())
        assert self.settle(harness, issuer, minted) == {Acceptance.ACCEPTED}
        return minted

    def disabled(self, harness: IssuerHarness, issuer: Issuer) -> Minted:
        """A key that every verifier refuses for being disabled."""
        minted = self.installed(harness, issuer)
        issuer.disable(minted.key_id, issuer.verifiers())
        assert self.settle(harness, issuer, minted) == {Acceptance.DISABLED}
        return minted


def mint(issuer: Issuer) -> Minted:
    """A new key under a token of its own."""
    return issuer.mint(f"mint-{uuid4().hex}")


def listed(issuer: Issuer, minted: Minted) -> set[Entry]:
    """What the listings of all verifiers say of a key."""
    return {issuer.entries(verifier).get(minted.key_id, Entry.ABSENT) for verifier in issuer.verifiers()}


def accepting(harness: IssuerHarness, issuer: Issuer, minted: Minted) -> set[bool]:
    """Whether verifiers accept a key, asked as a client on new connections."""
    return {harness.accepts(verifier, minted.value.reveal()) for verifier in issuer.verifiers()}
