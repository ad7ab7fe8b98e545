"""Whether a trouble that old and new version share is still going on.

Page's CUSUM of both versions' failures together, against each of the alternative rates, and how far
it has fallen from its peak. The fall of the alternative that explained the trouble best is the
log-likelihood ratio of "it ended at the peak" to "it goes on at its rate" (Page, Continuous
inspection schemes, Biometrika 41, 1954; for the estimated change point: Basseville and Nikiforov,
Detection of Abrupt Changes, 1993, ch. 2). So a total outage is known to be over after a handful of
good requests, a light one after as many as it takes to miss its failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keyturn.domain.evidence.series import Floats, packed, unpacked


class Trouble:
    """Log-likelihood ratios, one an alternative: `level` now, `peak` since the trouble began."""

    __slots__ = ("level", "peak")

    def __init__(self, level: Floats, peak: Floats) -> None:
        self.level = level
        self.peak = peak

    @classmethod
    def none(cls, alternatives: int) -> Trouble:
        """No trouble so far."""
        return cls(np.zeros(alternatives), np.zeros(alternatives))

    def state(self) -> dict[str, Any]:
        """Plain, JSON-serialisable data from which `from_state` makes an equal value."""
        return {"level": packed(self.level), "peak": packed(self.peak)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Trouble:
        """The trouble that `state` was taken from."""
        return cls(unpacked(state["level"]), unpacked(state["peak"]))

    def add(self, log_ratios: Floats, limit: float) -> bool:
        """Take in one bucket's log-likelihood ratios; say whether the trouble passed with it.

        It has passed when its end is as likely as `limit`, a log-likelihood ratio too, asks for.
        What never rose to `limit` was no trouble, and does not pass.
        """
        self.level = np.maximum(self.level + log_ratios, 0.0)
        best = int(self.peak.argmax())
        fall = float(self.peak[best] - self.level[best])
        passed = bool(self.peak[best] >= limit) and fall >= limit
        # Back at zero an alternative's trouble is over, and a later one begins afresh.
        self.peak = np.where(self.level > 0.0, np.maximum(self.peak, self.level), 0.0)
        return passed
