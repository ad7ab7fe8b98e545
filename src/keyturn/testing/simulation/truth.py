"""What is true at verifiers, past every line that a call could get lost on."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from keyturn.domain.observations import Acceptance, Entry
from keyturn.testing.fakes import FakeVerifier
from keyturn.testing.fakes.clock import START

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key

ALIVE = (Entry.ACTIVE, Entry.DISABLED)


def settled(node: FakeVerifier, key: Key) -> Acceptance:
    """How a verifier treats a key, on new and held connections alike; `UNSETTLED` while they differ."""
    return node.probe(key.id, key.value)


def accepts(node: FakeVerifier, key: Key) -> bool:
    """Whether everybody who presents the key gets in, however old their connection is."""
    return settled(node, key) is Acceptance.ACCEPTED


def ever_accepts(node: FakeVerifier, key: Key) -> bool:
    """Whether anybody who presents the key may get in."""
    return settled(node, key) in (Acceptance.ACCEPTED, Acceptance.UNSETTLED)


def seconds_of(moment: datetime) -> float:
    """A moment of the wall's clock in seconds of the run."""
    return (moment - START).total_seconds()
