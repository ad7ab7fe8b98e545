"""How counts are laid out: streams, series and clients.

Everything is learnt and watched twice, on two *streams*: raw counts, and deduplicated ones, in
which a trial is a bucket with traffic and its value the failed fraction, so that a retry storm
inside a bucket counts once. Arrays have a row a stream, `RAW` and `DEDUPLICATED`, and a column a
*series*: the pooled one, the one for clients that the baseline does not know, then one a client.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import chain, repeat
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence.buckets import Arm, Bucket

Floats: TypeAlias = npt.NDArray[np.float64]

RAW, DEDUPLICATED = 0, 1
POOLED, NEWCOMER = 0, 1
FIRST_CLIENT = 2

#: Whoever can make up client names must not make the state grow without end: clients beyond this
#: number are watched as one, under the name `OTHERS`.
MOST_CLIENTS = 5000
OTHERS = "(others)"


def enrol(clients: dict[str, int], names: Set[str]) -> dict[str, int]:
    """`clients` with the new ones among `names` numbered, whatever order a mapping had them in."""
    unknown = names - clients.keys()
    if not unknown:
        return clients
    known = dict(clients)
    for name in sorted(unknown):
        if len(known) >= MOST_CLIENTS:
            known.setdefault(OTHERS, len(known))
            break
        known[name] = len(known)
    return known


def counts(arm: Arm, clients: dict[str, int], bucket: Bucket) -> tuple[Floats, Floats]:
    """Trials and failures of one arm: a row a stream, a column a client of `clients`.

    Raises `ValueError`, naming the bucket, when a count is negative.
    """
    trials = np.zeros((2, len(clients)))
    failures = np.zeros((2, len(clients)))
    if not arm:
        return trials, failures
    pairs = np.fromiter(chain.from_iterable(arm.values()), np.float64, 2 * len(arm)).reshape(-1, 2)
    if pairs.min() < 0:
        raise ValueError(f"bucket at {bucket.start} s: a count is negative")
    others = clients.get(OTHERS, 0)
    columns = np.fromiter(map(clients.get, arm, repeat(others)), np.intp, len(arm))
    # Several clients may share the column of OTHERS, so they are added, not assigned.
    size = len(clients)
    failures[RAW] = np.bincount(columns, weights=pairs[:, 1], minlength=size)
    trials[RAW] = np.bincount(columns, weights=pairs[:, 0], minlength=size) + failures[RAW]
    np.minimum(trials[RAW], 1.0, out=trials[DEDUPLICATED])
    np.divide(failures[RAW], np.maximum(trials[RAW], 1.0), out=failures[DEDUPLICATED])
    return trials, failures


def widened(array: Floats, more: int, axis: int = -1) -> Floats:
    """The array with `more` empty places at the end of an axis."""
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.zeros(shape)], axis=axis)
