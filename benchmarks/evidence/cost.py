"""What a bucket costs the detector, beside plain counting of the same bucket in the same run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import numpy as np

from keyturn.domain.evidence import Bucket, FailureDetector

BARS = {50: 300.0, 1000: 1500.0}
"""Clients → the most microseconds a bucket may take."""
_BUCKETS = 300


def costs() -> list[tuple[str, str, str, str, str]]:
    """Clients, kind of bucket, the detector's microseconds, plain counting's, and the ratio."""
    lines = []
    for clients, bar in BARS.items():
        for kind, failures in (("without a failure", 0), ("with failures", 1), ("in an outage", 150)):
            ours, plain = _measure(clients, failures)
            # A finding has its price, and is there in an outage alone.
            said = f"{ours:,.0f}" if failures > 1 else f"{ours:,.0f} (bar {bar:,.0f})"
            lines.append((f"{clients:,}", kind, said, f"{plain:,.0f}", f"{ours / plain:.1f}"))
    return lines


def _measure(clients: int, failures: int) -> tuple[float, float]:
    """The 5th percentiles over buckets, turn by turn: a busy machine only ever adds. Half of the clients have moved."""
    watching = FailureDetector.from_baseline([], planned_overlap=timedelta(days=1))
    names = [f"client-{number}" for number in range(clients)]
    half = clients // 2
    # With one failure of 300 there is always something to weigh, and never a finding.
    new = dict.fromkeys(names[:half], (299, failures))
    old = dict.fromkeys(names[half:], (299, failures))
    totals: Counter[str] = Counter()
    failed: Counter[str] = Counter()

    def count() -> None:
        for arm in (old, new):
            for name, (good, bad) in arm.items():
                totals[name] += good + bad
                failed[name] += bad

    ours, plain = [], []
    for number in range(_BUCKETS):
        bucket = Bucket(number * 10.0, 10.0, old, new)
        ours.append(_microseconds(lambda bucket=bucket: watching.update(bucket)))  # type: ignore[misc]
        plain.append(_microseconds(count))
    return float(np.percentile(ours, 5)), float(np.percentile(plain, 5))


def _microseconds(work: Callable[[], object]) -> float:
    """Of the processor: what others take of a shared machine is not the detector's cost."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6
