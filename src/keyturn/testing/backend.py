"""The conformance suite of `keyturn.ports.backend.Target`."""

from keyturn.testing.target_copies import CopyClauses
from keyturn.testing.target_failures import FailureClauses
from keyturn.testing.target_harness import TargetHarness, new_token, new_value
from keyturn.testing.target_marks import MarkClauses
from keyturn.testing.target_promotion import PromotionClauses
from keyturn.testing.trouble import Trouble

__all__ = ["BackendConformance", "TargetHarness", "Trouble", "new_token", "new_value"]


class BackendConformance(CopyClauses, PromotionClauses, MarkClauses, FailureClauses):
    """What every target promises. Override the fixture `harness`, and the flags where the backend cannot do better."""
