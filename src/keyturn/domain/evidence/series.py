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

    Many at once, because numpy's calls cost more than what they count.

    Raises `ValueError`, naming the bucket, when a count is negative.
    """
    size = len(clients)
    tallied = np.zeros((len(arms), 2, 2, size))
    lengths = [len(arm) for _, arm in arms]
    if not any(lengths):
        return tallied
    entries = chain.from_iterable(chain.from_iterable(arm.values()) for _, arm in arms)
    pairs = np.fromiter(entries, np.float64, 2 * sum(lengths)).reshape(-1, 2)
    rows = np.repeat(np.arange(len(arms)), lengths)
    if pairs.min() < 0:
        start = arms[rows[pairs.min(axis=1).argmin()]][0]
        raise ValueError(f"bucket at {start} s: a count is negative")
    names = chain.from_iterable(arm for _, arm in arms)
    places = np.fromiter(map(clients.get, names, repeat(clients.get(OTHERS, 0))), np.intp, len(rows))
    places += rows * size
    # Several clients may share the place of OTHERS, so they are added, not assigned.
    failures = np.bincount(places, weights=pairs[:, 1], minlength=len(arms) * size).reshape(-1, size)
    trials = np.bincount(places, weights=pairs[:, 0], minlength=len(arms) * size).reshape(-1, size) + failures
    tallied[:, 0, RAW], tallied[:, 1, RAW] = trials, failures
    np.minimum(trials, 1.0, out=tallied[:, 0, DEDUPLICATED])
    np.divide(failures, np.maximum(trials, 1.0), out=tallied[:, 1, DEDUPLICATED])
    return tallied


def widened(array: Floats, more: int, axis: int = -1) -> Floats:
    """The array with `more` empty places at the end of an axis."""
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.zeros(shape)], axis=axis)
