"""The mathematics of one look at the streams: likelihood ratios, the control's, start weights.

Sources: Shin, Ramdas and Rinaldo, E-detectors (the Shiryaev-Roberts sum of e-processes started at
every block, here with start weights that sum to at most 1, so that Ville's inequality bounds the
chance of *ever* a false alarm); Vovk and Wang, arXiv 1912.06116 (e-values may be averaged); Lindon
and Malek, arXiv 2011.03567 (the conditional test of two Poisson counts).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence.series import DEDUPLICATED, RAW, Floats

#: Alternatives a stream's evidence is averaged over, and the factors by which the new version may
#: be worse than the old one beside it. The mildest alternatives weigh most: there every part of
#: the evidence costs hundreds of requests, while a client that fails fully makes up for it at once.
ALTERNATIVES = 8
_WEIGHTS = 0.7 ** np.arange(ALTERNATIVES)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
WORSE = np.array([3.0, 10.0, 30.0, 100.0])
_LOG_WORSE = np.log(WORSE)
_STREAMS = np.array([RAW, DEDUPLICATED])

#: Evidence beyond this is not carried from block to block: it adds nothing to certainty, and what
#: was a passing trouble must fade in good time. It leaves room for e-BH over a large fleet.
MOST_EVIDENCE = 1e9
_MOST_LOG = 600.0


def alternatives(null: Floats) -> Floats:
    """Rate ratios p1/null on a last axis of 8: geometric, from three times the null rate to 1."""
    most = np.log(1.0 / null)
    least = np.minimum(np.log(3.0), most)
    steps = np.linspace(0.0, 1.0, ALTERNATIVES)
    return np.exp(least[..., None] + (most - least)[..., None] * steps)


def log_ratios(
    trials: Floats,
    failures: Floats,
    null: Floats,
    excess: Floats,
    cv2: Floats,
    ratio: Floats,
    log_ratio: Floats,
) -> Floats:
    """log L_j of counts: negative binomial with mean μ₁ against mean μ₀ = trials·null.

    Written with v = φ₁ + cv²μ₀ and r = μ₀/v, in which (r+μ₀)/(r+μ₁) = (1+v)/(1+v·ratio) stays
    finite as the trials go to 0 and the likelihood ratio to 1. (log is several times as fast as
    log1p, and exact enough: v is no smaller than cv² times the mean of one trial.)
    """
    expected = trials * null
    v = np.maximum(excess + cv2 * expected, 1e-9)
    shape = failures + expected / v
    log: Floats = v[..., None] * ratio
    log += 1.0
    np.log(log, out=log)
    np.subtract(np.log(v + 1.0)[..., None], log, out=log)
    log *= shape[..., None]
    log += failures[..., None] * log_ratio
    return log


def bounded_exp(log: Floats) -> Floats:
    """exp in place, kept finite."""
    np.minimum(log, _MOST_LOG, out=log)
    result: Floats = np.exp(log, out=log)
    return result


def storming(failures: Floats) -> npt.NDArray[np.bool_]:
    """Each stream's one client with more than half of the old arm's failures, of at least 6, if there is one.

    It is left out: its own trouble, a storm on the old key, is not the authority's.
    """
    total = failures.sum(axis=1)
    worst = (_STREAMS, failures.argmax(axis=1))
    out = np.zeros(failures.shape, dtype=np.bool_)
    out[worst] = (total >= 6) & (failures[worst] > total / 2)
    return out


def split_ratios(new: Floats, new_failures: Floats, old: Floats, old_failures: Floats) -> Floats:
    """log L_θ: given all failures of a bucket, how much likelier their split is if new is θ times worse.

    `new` is each series' expected failures on the new version, `old` each stream's on the old one.
    """
    share = new / np.maximum(new + old[:, None], 1e-300)
    log = share[..., None] * (WORSE - 1.0)
    log += 1.0
    np.log(log, out=log)
    factor: Floats = new_failures[..., None] * (_LOG_WORSE - log)
    log *= old_failures[:, None, None]
    factor -= log
    return factor


def mixture(processes: Floats) -> Floats:
    """The evidence of processes against each alternative (last axis) together."""
    result: Floats = processes @ WEIGHTS
    return result


def mean(processes: Floats) -> Floats:
    """The mean over the last axis, as a product: several times faster than numpy's own."""
    result: Floats = processes @ np.full(processes.shape[-1], 1.0 / processes.shape[-1])
    return result


def start_weight(block: int, planned_blocks: int) -> float:
    """The weight of an e-process that starts after block `block` (from 0).

    A quarter is spread evenly over the planned overlap, another over all the time after it; the
    remaining half belongs to the client's first use of the new version. Whenever the blocks end,
    and be it early, the weights sum to at most 1.
    """
    if block < planned_blocks:
        return 0.25 / planned_blocks
    return 0.25 * planned_blocks / ((block + 1.0) * (block + 2.0))
