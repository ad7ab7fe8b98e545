"""Whose failures the evidence is: a few clients' own, or all clients' alike."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence.series import FIRST_CLIENT, POOLED, RAW, Floats

#: Of the clients that are named, at most this share is named wrongly, on average.
_FALSE_NAMES = 0.05
#: Failures are few clients' own when at most this share of them, and always one, is named.
_FEW = 0.1


def blame(evidence: Floats, cut: Floats) -> dict[int, float]:
    """The clients that fail by their own evidence, by column, each with its share (0 to 1).

    `evidence` is what the series have, `cut` the logarithm of what was cut from it to let it fade.
    Clients are named by e-BH (Wang and Ramdas, False discovery rate control with e-values, arXiv
    2009.02824). Their shares add up to 1 where they explain what was seen better than a trouble of
    all clients alike does, and to the ratio of the two log-likelihoods where they do not.
    """
    own = evidence[:, FIRST_CLIENT:].mean(axis=0)
    order = np.argsort(-own, kind="stable")
    enough = own[order] * np.arange(1, len(own) + 1) >= len(own) / _FALSE_NAMES
    if not enough.any():
        return {}
    named: npt.NDArray[np.intp] = order[: int(enough.nonzero()[0][-1]) + 1]
    logs = np.maximum(np.log(np.maximum(evidence, 1.0)) + cut, 0.0)
    weights = logs[:, FIRST_CLIENT:].max(axis=0)[named]
    whole = max(float(weights.sum()), float(logs[RAW, POOLED]))
    return dict(zip(named.tolist(), (weights / whole).tolist(), strict=True))


def confined(shares: Collection[float], clients: int) -> bool:
    """Whether failures are few clients' own, so that they are the new version's and not the authority's (DESIGN §6).

    `shares` are those of the clients named, out of `clients` in all.
    """
    return sum(shares) > 0.5 and len(shares) <= max(1, int(_FEW * clients))
