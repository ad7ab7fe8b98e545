"""How counts are laid out: streams, series and clients.

Everything is learnt and watched twice, on two *streams*: raw counts, and deduplicated ones, in
which a trial is a bucket with traffic and its value the failed fraction, so that a retry storm
inside a bucket counts once. Arrays have a row a stream, `RAW` and `DEDUPLICATED`, and a column a
*series*: the pooled one, the one for clients that the baseline does not know, then one a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence.buckets import Arm

Floats: TypeAlias = npt.NDArray[np.float64]

RAW, DEDUPLICATED = 0, 1
POOLED, NEWCOMER = 0, 1
FIRST_CLIENT = 2

#: Whoever can make up client names must not make the state grow without end: clients beyond this
#: number are watched as one, under the name `OTHERS`.
MOST_CLIENTS = 5000
OTHERS = "(others)"


def enrol(clients: dict[str, int], arm: Arm) -> dict[str, int]:
    """`clients` with the new ones of an arm numbered, whatever order the mapping had them in."""
    if arm.keys() <= clients.keys():
        return clients
    known = dict(clients)
    for name in sorted(arm.keys() - clients.keys()):
        if len(known) >= MOST_CLIENTS:
            known.setdefault(OTHERS, len(known))
            break
        known[name] = len(known)
    return known


def tally(arms: Sequence[tuple[float, Arm]], clients: dict[str, int]) -> Floats:
    """Counts of arms, each with its bucket's start: [arm, trials or failures, stream, client].

    Raises `ValueError`, naming the bucket, when a count is negative.
    """
    size, others = len(clients), clients.get(OTHERS, 0)
    tallied = np.zeros((len(arms), 2, 2, size))
    for (start, arm), (trials, failures) in zip(arms, tallied, strict=True):
        if not arm:
            continue
        pairs = np.fromiter(chain.from_iterable(arm.values()), np.float64, 2 * len(arm)).reshape(-1, 2)
        if pairs.min() < 0:
            raise ValueError(f"bucket at {start} s: a count is negative")
        columns = np.fromiter(map(clients.get, arm, repeat(others)), np.intp, len(arm))
        # Several clients may share the column of OTHERS, so they are added, not assigned.
        failures[RAW] = np.bincount(columns, weights=pairs[:, 1], minlength=size)
        trials[RAW] = np.bincount(columns, weights=pairs[:, 0], minlength=size) + failures[RAW]
    trials, failures = tallied[:, 0], tallied[:, 1]
    np.minimum(trials[:, RAW], 1.0, out=trials[:, DEDUPLICATED])
    np.divide(failures[:, RAW], np.maximum(trials[:, RAW], 1.0), out=failures[:, DEDUPLICATED])
    return tallied


def widened(array: Floats, more: int, axis: int = -1) -> Floats:
    """The array with `more` empty places at the end of an axis."""
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.zeros(shape)], axis=axis)
