"""How failures vary without a fault: rates shrunk to the mean, dispersion, correlation in time.

Source of the laws: EVIDENCE.md §2 (learning). The shrinkage is the empirical Bayes of a
gamma-Poisson model, the dispersion a weighted moment fit of Var F = μ + φ₁μ + cv²μ².
"""

from __future__ import annotations

import numpy as np

from keyturn.domain.evidence.buckets import BLOCK_SECONDS
from keyturn.domain.evidence.series import Floats

#: The prior, found by simulation (see `tests/unit/evidence/test_evidence_simulation.py`). Without
#: any baseline its null rates, 1.3 % raw and 0.9 % deduplicated, tolerate true rates up to 0.5 %
#: with their noise, and a client that fails fully is still found within 12 requests. The excess
#: differs by stream: bursts make raw counts jump, and the deduplicated ones do not feel them.
PRIOR_RATE = 0.002
PRIOR_FAILURES = 1.0
PRIOR_EXCESS = (2.0, 0.0)
PRIOR_CV2 = 0.15

#: A true rate up to this many times the learnt one is no reason to roll back.
TOLERATED_DRIFT = 1.5
#: Clients that look alike are still taken to differ by 7 %. Any less would tell nothing more: the
#: tolerated drift is far wider; any more makes every client's null rate as loose as its own few
#: failures, which costs a tenth of the requests until a light fault is found.
_LEAST_BETWEEN = 0.005
_LEAST_RATE, _MOST_RATE = 1e-4, 0.5

#: Seconds: the block lengths that are tried, and how correlated neighbouring blocks may be.
_SCALES = (300, 900, 3600, 14400)
_TOLERATED_CORRELATION = 0.05


class Stream:
    """One stream's counts in blocks of 300 s, rows are clients, and the laws that follow."""

    __slots__ = ("failures", "pooled_rate", "pseudo", "rates", "trials")

    def __init__(self, trials: Floats, failures: Floats) -> None:
        self.trials = trials
        self.failures = failures
        each, failed = trials.sum(axis=1), failures.sum(axis=1)
        prior_trials = PRIOR_FAILURES / PRIOR_RATE
        self.pooled_rate = float((failed.sum() + PRIOR_FAILURES) / (each.sum() + prior_trials))
        expected = each * self.pooled_rate
        # How much clients differ, beyond chance. One unit of prior (clients differ by as much as
        # their mean) stands in until there are enough failures to tell.
        between = ((failed - expected) ** 2 - expected).sum() + 1.0
        variance = min(max(between / ((expected**2).sum() + 1.0), _LEAST_BETWEEN), 100.0)
        self.pseudo = float(1.0 / variance)
        self.rates = (failed + self.pseudo) / (each + self.pseudo / self.pooled_rate)

    def block_length(self) -> int:
        """The smallest block whose count says next to nothing about its neighbour's."""
        for scale in _SCALES[:-1]:
            trials, failures = self._at(scale)
            expected = trials * self.rates[:, None]
            error = failures - expected
            clients = (
                (error[:, :-1] * error[:, 1:]).sum(axis=0),
                (expected[:, :-1] * expected[:, 1:]).sum(axis=0),
            )
            error, expected = error.sum(axis=0), expected.sum(axis=0)
            pooled = error[:-1] * error[1:], expected[:-1] * expected[1:]
            if _independent(*clients) and _independent(*pooled):
                return scale
        return _SCALES[-1]

    def fit(self, longest: int, *, least: tuple[float, float]) -> Floats:
        """Rate, null rate, excess and cv² (rows) of every series: the worst over the scales.

        `longest` is the longest scale to look at, in seconds; `least` is what excess and cv² may
        not fall below.
        """
        each, failed = self.trials.sum(axis=1), self.failures.sum(axis=1)
        pseudo = np.concatenate([[PRIOR_FAILURES, self.pseudo], np.full(len(each), self.pseudo)])
        prior = np.concatenate([[PRIOR_RATE], np.full(1 + len(each), self.pooled_rate)])
        all_failed = np.concatenate([[failed.sum(), 0.0], failed]) + pseudo
        all_trials = np.concatenate([[each.sum(), 0.0], each]) + pseudo / prior
        null = np.zeros_like(pseudo)
        excess = np.full_like(pseudo, least[0])
        cv2 = np.full_like(pseudo, least[1])
        for scale in (scale for scale in _SCALES if scale <= longest):
            trials, failures = self._at(scale)
            expected = trials * self.rates[:, None]
            sums = _law_sums(expected, failures)
            law = _law(sums.sum(axis=1))
            own = np.clip((sums[4] - law[0] * sums[1]) / np.maximum(sums[2], 1e-12), 0.0, None)
            pooled = expected.sum(axis=0)
            pooled_law = _law(_law_sums(pooled[None], failures.sum(axis=0)[None])[:, 0])
            many = np.where(failed > 50, np.maximum(own, law[1]), law[1])
            # Clients' own noise averages out over many, not over the few that move first: to the sum
            # of any of them it is an excess, which the sum of all cannot tell from a cv².
            apart = law[0] + law[1] * float((expected**2).sum()) / max(float(expected.sum()), 1e-300)
            here = np.concatenate([[max(pooled_law[0], apart), law[0]], np.full(len(many), law[0])])
            excess = np.maximum(excess, 1.5 * here)
            here = np.concatenate([[pooled_law[1], law[1]], many])
            cv2 = np.maximum(cv2, 1.5 * here + 0.02)
            squares = np.concatenate([[(pooled**2).sum(), 0.0], (expected**2).sum(axis=1)])
            spread = np.sqrt(all_failed * (1 + excess) + cv2 * squares)
            null = np.maximum(null, TOLERATED_DRIFT * (all_failed + 2 * spread) / all_trials)
        rate = np.concatenate([[self.pooled_rate, self.pooled_rate], self.rates])
        return np.stack([rate, np.clip(null, _LEAST_RATE, _MOST_RATE), excess, cv2])

    def _at(self, scale: int) -> tuple[Floats, Floats]:
        """Trials and failures in blocks of `scale` seconds; an incomplete first one is left out."""
        size = scale // BLOCK_SECONDS
        count = self.trials.shape[1] // size
        shape = (self.trials.shape[0], count, size)
        skip = self.trials.shape[1] - count * size
        return (
            self.trials[:, skip:].reshape(shape).sum(axis=2),
            self.failures[:, skip:].reshape(shape).sum(axis=2),
        )


def _independent(products: Floats, expected: Floats) -> bool:
    """Whether lag-1 products of errors are small against those of means, or within chance."""
    limit = max(_TOLERATED_CORRELATION * expected.sum(), 2 * float(np.sqrt((products**2).sum())))
    return bool(products.sum() <= limit)


def _law_sums(expected: Floats, failures: Floats) -> Floats:
    """The five sums of the weighted normal equations of (F-μ)²-F on (μ, μ²), one column a row."""
    mean = np.maximum(expected, 1e-300)
    weight = np.where(expected > 0, 1.0 / (mean * (1.0 + mean)), 0.0)
    excess = (failures - expected) ** 2 - failures
    terms = (
        weight * mean**2,
        weight * mean**3,
        weight * mean**4,
        weight * mean * excess,
        weight * mean**2 * excess,
    )
    return np.stack([term.sum(axis=1) for term in terms])


def _law(sums: Floats) -> tuple[float, float]:
    """(φ₁, cv²) from the normal equations, neither below 0: if one would be, the other stands."""
    a11, a12, a22, b1, b2 = (float(value) for value in sums)
    determinant = a11 * a22 - a12 * a12
    if determinant > 1e-9 * a11 * a22:
        excess = (b1 * a22 - b2 * a12) / determinant
        cv2 = (b2 * a11 - b1 * a12) / determinant
        if excess >= 0 and cv2 >= 0:
            return excess, cv2
    if a11 <= 0:
        return 0.0, 0.0
    # The better of the two fits with one term.
    alone = max(b1, 0.0) / a11, max(b2, 0.0) / a22
    if alone[0] * max(b1, 0.0) >= alone[1] * max(b2, 0.0):
        return alone[0], 0.0
    return 0.0, alone[1]
