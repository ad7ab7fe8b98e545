"""The old version's traffic as the control: how a block's failures are split between the new version and the old."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence import eprocess
from keyturn.domain.evidence.series import FIRST_CLIENT, POOLED, Floats, widened

#: If less than this share of a block's failures would be the old version's, were it as bad as the
#: new one, its traffic is no control.
_LEAST = 0.05


class Control:
    """`split` holds the log likelihood ratios of each stream, series and factor by which the new version may be worse;
    `exposed`, by stream, how many failures would be the old version's, were it as bad as the new one, and how many there
    were."""

    __slots__ = ("exposed", "split")

    def __init__(self, split: Floats, exposed: Floats) -> None:
        self.split = split
        self.exposed = exposed

    @classmethod
    def none(cls, series: int) -> Control:
        """A block in which nothing has happened yet."""
        return cls(np.zeros((2, series, len(eprocess.WORSE))), np.zeros((2, 2)))

    def admit(self, more: int) -> None:
        """Make room for `more` series."""
        self.split = widened(self.split, more, 1)

    def add(self, expected: Floats, failed: Floats, pooled: Floats, old: Floats, old_failed: Floats) -> None:
        """Add one bucket: each client's expected failures on the new version and those there were, all clients' together,
        and each stream's on the old version.

        Bucket by bucket, since traffic moves from old to new within a block, and a trouble after
        that is no fault of the new version because there was more traffic on the old one before.
        """
        shape = (2, self.split.shape[1])
        all_expected, all_failed = np.zeros(shape), np.zeros(shape)
        all_expected[:, FIRST_CLIENT:], all_failed[:, FIRST_CLIENT:] = expected, failed
        all_expected[:, POOLED], all_failed[:, POOLED] = all_expected.sum(axis=1), pooled
        self.split += eprocess.split_ratios(all_expected, all_failed, old, old_failed)
        both, seen = old + all_expected[:, POOLED], pooled + old_failed
        self.exposed[0] += seen * (old / np.maximum(both, 1e-300))
        self.exposed[1] += seen

    def informative(self) -> npt.NDArray[np.bool_]:
        """By stream, whether there was enough on the old version to say anything."""
        enough: npt.NDArray[np.bool_] = self.exposed[0] >= _LEAST * self.exposed[1]
        enough &= self.exposed[0] > 0
        return enough

    def ratios(self) -> Floats:
        """The likelihood ratios of the block so far."""
        return eprocess.bounded_exp(self.split.copy())

    def clear(self) -> None:
        """Begin a block."""
        self.split[:] = self.exposed[:] = 0.0
