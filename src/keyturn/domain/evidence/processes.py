"""The e-processes of all series at the last block's end: what is carried over, and what is staked anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence import eprocess
from keyturn.domain.evidence.series import Floats, packed, unpacked, widened

#: What a series is given to start with at its first use of the new version.
STAKE = 0.5


class Processes:
    """Rows are streams, columns series.

    `evidence` (against each alternative) and `control` (for each factor by which the new version
    may be worse than the old one) are the e-processes; `cut` is the logarithm of what was cut from
    a series so that it can fade; `started` says which series have had their stake, and `starts` how many
    blocks have given theirs.
    """

    __slots__ = ("control", "cut", "evidence", "started", "starts")

    def __init__(
        self, evidence: Floats, control: Floats, cut: Floats, started: npt.NDArray[np.bool_], starts: int
    ) -> None:
        self.evidence = evidence
        self.control = control
        self.cut = cut
        self.started = started
        self.starts = starts

    @classmethod
    def none(cls, series: int) -> Processes:
        """Nothing staked yet."""
        return cls(
            np.zeros((2, series, eprocess.ALTERNATIVES)),
            np.zeros((2, series, len(eprocess.WORSE))),
            np.zeros((2, series)),
            np.zeros(series, dtype=np.bool_),
            0,
        )

    def state(self) -> dict[str, Any]:
        """Plain, JSON-serialisable data from which `from_state` makes an equal value."""
        return {
            "evidence": packed(self.evidence),
            "control": packed(self.control),
            "cut": packed(self.cut),
            "started": packed(self.started),
            "starts": self.starts,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Processes:
        """The processes that `state` was taken from."""
        return cls(
            unpacked(state["evidence"]),
            unpacked(state["control"]),
            unpacked(state["cut"]),
            unpacked(state["started"]) > 0,
            state["starts"],
        )

    def admit(self, more: int) -> None:
        """Make room for `more` series."""
        self.evidence = widened(self.evidence, more, 1)
        self.control = widened(self.control, more, 1)
        self.cut = widened(self.cut, more)
        self.started = np.concatenate([self.started, np.zeros(more, dtype=np.bool_)])

    def start(self, first: npt.NDArray[np.bool_]) -> None:
        """Give series that are used for the first time their stake."""
        self.evidence[:, first] += STAKE
        self.control[:, first] += STAKE
        self.started |= first

    def stake(self, planned_blocks: int) -> None:
        """Let a new process start in every series, as one does at each block's end."""
        weight = eprocess.start_weight(self.starts, planned_blocks)
        self.evidence += weight
        self.control += weight
        self.starts += 1

    def fold(self, processes: Floats, controls: Floats, evidence: Floats, gated: Floats) -> None:
        """End a block with these values, of which together `evidence` there is to remain `gated`.

        What the control explains away is forgotten: kept, the evidence from an outage would turn
        against the new version as soon as the old one falls silent.
        """
        excess = np.maximum(gated, eprocess.MOST_EVIDENCE) / eprocess.MOST_EVIDENCE
        # What was cut is remembered as long as there is anything to compare it with.
        self.cut = np.where(gated > 1.0, self.cut + np.log(excess), 0.0)
        self.evidence = processes * (gated / np.maximum(evidence, 1e-300) / excess)[..., None]
        self.control = np.minimum(controls, eprocess.MOST_EVIDENCE)
