"""The conformance suite of `keyturn.ports.store.Store`.

class TestMyStore(StoreConformance):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Iterator[Store]:
        store = MyStore(now=clock.now)
        yield store
        store.close()

A store that several processes can share also overrides `other`: the same store, as another process has it.
"""

import sys

import pytest

# Before the clauses are imported, so that a failed one shows what it compared; not those that a test imported itself.
CLAUSES = (
    "samples",
    "credentials",
    "rotations",
    "succession",
    "journal",
    "leases",
    "usage",
    "sources",
    "outbox",
    "access",
)
MODULES = [f"keyturn.testing.store_{clauses}" for clauses in CLAUSES]
pytest.register_assert_rewrite(*(module for module in MODULES if module not in sys.modules))

from keyturn.testing.store_access import AccessClauses  # noqa: E402
from keyturn.testing.store_credentials import CredentialClauses  # noqa: E402
from keyturn.testing.store_journal import JournalClauses  # noqa: E402
from keyturn.testing.store_leases import LeaseClauses  # noqa: E402
from keyturn.testing.store_outbox import OutboxClauses  # noqa: E402
from keyturn.testing.store_rotations import RotationClauses  # noqa: E402
from keyturn.testing.store_sources import SourceClauses  # noqa: E402
from keyturn.testing.store_succession import SuccessionClauses  # noqa: E402
from keyturn.testing.store_usage import UsageClauses  # noqa: E402

__all__ = ["StoreConformance"]


class StoreConformance(
    CredentialClauses,
    RotationClauses,
    SuccessionClauses,
    JournalClauses,
    LeaseClauses,
    UsageClauses,
    SourceClauses,
    OutboxClauses,
    AccessClauses,
):
    """What every store promises. Override the fixture `store`: an empty one for each test, by the clock of `clock`."""
