"""Strict implementations of the ports in memory, with faults on demand. They pass the kit."""

from keyturn.testing.fakes.backend import FakeBackend, FakeTarget, Rules
from keyturn.testing.fakes.clock import FakeClock, InlineExecutor
from keyturn.testing.fakes.faults import Fault, Faults
from keyturn.testing.fakes.issuer import FakeAuthority, FakeIssuer
from keyturn.testing.fakes.notifier import FakeNotifier, Message
from keyturn.testing.fakes.places import KvPlace, LabelledPlace, Place
from keyturn.testing.fakes.usage import FakeUsageSource
from keyturn.testing.fakes.verifier import FakeVerifier, Row

__all__ = [
    "FakeAuthority",
    "FakeBackend",
    "FakeClock",
    "FakeIssuer",
    "FakeNotifier",
    "FakeTarget",
    "FakeUsageSource",
    "FakeVerifier",
    "Fault",
    "Faults",
    "InlineExecutor",
    "KvPlace",
    "LabelledPlace",
    "Message",
    "Place",
    "Row",
    "Rules",
]
