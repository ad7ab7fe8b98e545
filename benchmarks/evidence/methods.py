"""What is compared: keyturn's detector and four rules that others ship, each reading the same stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from benchmarks.evidence.streams import CLIENTS, Counts, Stream
from keyturn.domain.evidence import Bucket, FailureDetector
from keyturn.domain.evidence.buckets import Arm

Floats = npt.NDArray[np.float64]

NAMES = [f"client-{number:02}" for number in range(CLIENTS)]


def _arms(trials: Counts, failures: Counts) -> Iterator[Arm]:
    for row, failed in zip((trials - failures).tolist(), failures.tolist(), strict=True):
        pairs = zip(NAMES, zip(row, failed, strict=True), strict=True)
        yield {name: pair for name, pair in pairs if any(pair)}


def detector(stream: Stream) -> int | None:
    """keyturn's: the bucket of its first `roll_back`."""
    length = float(stream.length)
    start = -len(stream.past[0]) * length
    past = (Bucket(start + n * length, length, arm, {}) for n, arm in enumerate(_arms(*stream.past)))
    watching = FailureDetector.from_baseline(past, planned_overlap=timedelta(days=1))
    for number, (old, new) in enumerate(zip(_arms(*stream.old), _arms(*stream.new), strict=True)):
        finding = watching.update(Bucket(number * length, length, old, new))
        if finding is not None and finding.verdict == "roll_back":
            return number
    return None


def _rolling(stream: Stream, seconds: int) -> tuple[Floats, Floats]:
    """Trials and failures on the new version, each client's, within the latest `seconds`."""
    width = max(1, seconds // stream.length)
    sums = [np.vstack([np.zeros((1, CLIENTS)), counts.cumsum(axis=0)]) for counts in stream.new]
    first = np.maximum(np.arange(len(stream.new[0])) + 1 - width, 0)
    return sums[0][1:] - sums[0][first], sums[1][1:] - sums[1][first]


def _first(alarms: npt.NDArray[np.bool_]) -> int | None:
    rows = alarms.any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def fixed_threshold(stream: Stream) -> int | None:
    """More than 5 % of a client's requests failed within 5 minutes."""
    trials, failures = _rolling(stream, 300)
    return _first((failures > 0.05 * trials) & (trials > 0))


def bad_intervals(stream: Stream) -> int | None:
    """As progressive delivery does: five bad intervals of a minute (above 1 %), of all clients together or one."""
    trials, failures = _rolling(stream, 60)
    bad = (failures > 0.01 * trials) & (trials > 0)
    step = max(1, 60 // stream.length)
    bad = bad[step - 1 :: step]
    runs = bad[4:].copy()
    for back in range(4):
        runs &= bad[back : len(bad) - 4 + back]
    found = _first(runs) if len(bad) > 4 else None
    return None if found is None else (found + 4) * step + step - 1


def burn_rate(stream: Stream) -> int | None:
    """SRE workbook, an objective of 99.9 %: 14.4 times in 1 h and 5 min, or 6 times in 6 h and 30 min."""
    alarms = np.zeros(stream.new[0].shape, dtype=np.bool_)
    for factor, long, short in ((14.4, 3600, 300), (6.0, 21600, 1800)):
        both = np.ones_like(alarms)
        for seconds in (long, short):
            trials, failures = _rolling(stream, seconds)
            both &= (trials > 0) & (failures > factor * 0.001 * trials)
        alarms |= both
    return _first(alarms)


def cusum(stream: Stream) -> int | None:
    """Poisson CUSUM of each client with the true baseline, tuned to ten times of it, at ln(50 · 288 / 0.01)."""
    rate = 0.001
    steps = stream.new[1] * np.log(10.0) - stream.new[0] * rate * 9.0
    walk = steps.cumsum(axis=0)
    lowest = np.minimum(np.minimum.accumulate(walk, axis=0), 0.0)
    return _first(walk - lowest >= np.log(50 * 288 / 0.01))


METHODS: dict[str, Callable[[Stream], int | None]] = {
    "keyturn": detector,
    "fixed threshold": fixed_threshold,
    "bad intervals": bad_intervals,
    "burn rate": burn_rate,
    "CUSUM": cusum,
}
