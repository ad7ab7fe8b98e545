"""Evidence: when to roll a rotation back, and when its old version is unused."""

from keyturn.domain.evidence.blame import confined
from keyturn.domain.evidence.buckets import Arm, Bucket, Culprit, Finding, Verdict
from keyturn.domain.evidence.detector import FailureDetector
from keyturn.domain.evidence.silence import UNSEEN_LIMIT, required_silence, unseen_share

__all__ = [
    "UNSEEN_LIMIT",
    "Arm",
    "Bucket",
    "Culprit",
    "FailureDetector",
    "Finding",
    "Verdict",
    "confined",
    "required_silence",
    "unseen_share",
]
