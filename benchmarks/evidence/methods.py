"""What is compared: keyturn's detector and four rules that others ship, each reading the same stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from benchmarks.evidence.probes import Probes
from benchmarks.evidence.scenarios import CLIENTS, RATE
from benchmarks.evidence.streams import OVERLAP, Floats, Stream, arms
from keyturn.domain.evidence import Bucket, FailureDetector

Alarm = int | None
"""The bucket after which a rotation is rolled back, None if never."""

ALPHA = 0.01


def detector(stream: Stream) -> Alarm:
    """keyturn's own; of a stream with outages and nobody on the old version its probes have the last word."""
    length = float(stream.length)
    watching = FailureDetector(stream.baseline, planned_overlap=OVERLAP, alpha=ALPHA)
    probes = Probes(stream) if stream.outages and not stream.old[0].any() else None
    for number, (old, new) in enumerate(zip(arms(*stream.old), arms(*stream.new), strict=True)):
        bucket = Bucket(number * length, length, old, new)
        finding = watching.update(bucket.without_old() if stream.disabled else bucket)
        if finding is None or finding.verdict != "roll_back":
            continue
        if probes is None or probes.roll_back(finding, number):
            return number
    return None


def _rolling(stream: Stream, seconds: int) -> tuple[Floats, Floats]:
    """Trials and failures on the new version, each client's, within the latest `seconds`."""
    width = max(1, seconds // stream.length)
    sums = [np.vstack([np.zeros((1, CLIENTS)), counts.cumsum(axis=0)]) for counts in stream.new]
    first = np.maximum(np.arange(len(stream.new[0])) + 1 - width, 0)
    return sums[0][1:] - sums[0][first], sums[1][1:] - sums[1][first]


def _first(alarms: npt.NDArray[np.bool_]) -> Alarm:
    rows = alarms.any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def fixed_threshold(stream: Stream) -> Alarm:
    """More than 5 % of a client's requests failed within 5 minutes."""
    trials, failures = _rolling(stream, 300)
    return _first((failures > 0.05 * trials) & (trials > 0))


def bad_intervals(stream: Stream) -> Alarm:
    """As progressive delivery does: five bad minutes (above 1 %) of one client in a row."""
    trials, failures = _rolling(stream, 60)
    bad = (failures > 0.01 * trials) & (trials > 0)
    step = max(1, 60 // stream.length)
    bad = bad[step - 1 :: step]
    if len(bad) < 5:
        return None
    runs = bad[4:].copy()
    for back in range(4):
        runs &= bad[back : len(bad) - 4 + back]
    found = _first(runs)
    return None if found is None else (found + 4) * step + step - 1


def burn_rate(stream: Stream) -> Alarm:
    """SRE workbook, an objective of 99.9 %: 14.4 times in 1 h and 5 min, or 6 times in 6 h and 30 min."""
    alarms = np.zeros(stream.new[0].shape, dtype=np.bool_)
    for factor, long, short in ((14.4, 3600, 300), (6.0, 21600, 1800)):
        both = np.ones_like(alarms)
        for seconds in (long, short):
            trials, failures = _rolling(stream, seconds)
            both &= (trials > 0) & (failures > factor * 0.001 * trials)
        alarms |= both
    return _first(alarms)


def cusum(stream: Stream) -> Alarm:
    """Poisson CUSUM of each client with the true baseline, tuned to ten times of it, at ln(50 · 288 / 0.01)."""
    steps = stream.new[1] * np.log(10.0) - stream.new[0] * RATE * 9.0
    walk = steps.cumsum(axis=0)
    lowest = np.minimum(np.minimum.accumulate(walk, axis=0), 0.0)
    return _first(walk - lowest >= np.log(CLIENTS * 288 / ALPHA))


METHODS: Mapping[str, Callable[[Stream], Alarm]] = MappingProxyType(
    {
        "keyturn": detector,
        "fixed threshold": fixed_threshold,
        "bad intervals": bad_intervals,
        "burn rate": burn_rate,
        "CUSUM": cusum,
    }
)
