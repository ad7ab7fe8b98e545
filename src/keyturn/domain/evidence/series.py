"""How counts are laid out: streams, series and clients.

Everything is learnt and watched twice, on two *streams*: raw counts, and deduplicated ones, in
which a trial is a bucket with traffic and its value the failed fraction, so that a retry storm
inside a bucket counts once. Arrays have a row a stream, `RAW` and `DEDUPLICATED`, and a column a
*series*: the pooled one, the one for clients that the baseline does not know, then one a client.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, TypeAlias

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
    trials, failures = tallied[:, 0], tallied[:, 1]
    lengths = [len(arm) for _, arm in arms]
    entries = sum(lengths)
    if not entries:
        return tallied
    counts = chain.from_iterable(chain.from_iterable(arm.values() for _, arm in arms))
    pairs = np.fromiter(counts, np.float64, 2 * entries).reshape(-1, 2)
    if pairs.min() < 0:
        start = next(start for start, arm in arms if any(min(pair) < 0 for pair in arm.values()))
        raise ValueError(f"bucket at {start} s: a count is negative")
    numbers = chain.from_iterable(map(clients.get, arm, repeat(others)) for _, arm in arms)
    columns = np.fromiter(numbers, np.intp, entries)
    columns += np.repeat(np.arange(len(arms)) * size, lengths)
    # Several clients may share the column of OTHERS, so they are added, not assigned.
    failed, passed = (np.bincount(columns, pairs[:, which], len(arms) * size).reshape(-1, size) for which in (1, 0))
    failures[:, RAW], trials[:, RAW] = failed, passed + failed
    np.minimum(trials[:, RAW], 1.0, out=trials[:, DEDUPLICATED])
    np.divide(failures[:, RAW], np.maximum(trials[:, RAW], 1.0), out=failures[:, DEDUPLICATED])
    return tallied


def packed(array: npt.NDArray[Any]) -> list[Any]:
    """An array as JSON takes it, exactly: its shape, and its numbers in base64, since spelling each of them out takes longer
    than a detector's look at a bucket."""
    return [list(array.shape), base64.b64encode(array.astype("<f8").tobytes()).decode()]


def unpacked(state: Sequence[Any]) -> Floats:
    """The array that was packed."""
    shape, numbers = state
    return np.frombuffer(base64.b64decode(numbers), "<f8").reshape(shape).astype(np.float64)


def widened(array: Floats, more: int, axis: int = -1) -> Floats:
    """The array with `more` empty places at the end of an axis."""
    shape = list(array.shape)
    shape[axis] = more
    return np.concatenate([array, np.zeros(shape)], axis=axis)
