"""Strict implementations of the ports in memory, with faults on demand. They pass the kit."""

from keyturn.testing.fakes.backend import FakeBackend, FakeTarget, Rules
from keyturn.testing.fakes.clock import FakeClock, InlineExecutor
from keyturn.testing.fakes.faults import Fault, Faults
from keyturn.testing.fakes.issuer import FakeAuthority, FakeIssuer
from keyturn.testing.fakes.places import KvPlace, LabelledPlace, Place
from keyturn.testing.fakes.verifier import FakeVerifier, Row

__all__ = [
    "FakeAuthority",
    "FakeBackend",
    "FakeClock",
    "FakeIssuer",
    "FakeTarget",
    "FakeVerifier",
    "Fault",
    "Faults",
    "InlineExecutor",
    "KvPlace",
    "LabelledPlace",
    "Place",
    "Row",
    "Rules",
]
