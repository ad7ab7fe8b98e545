"""What no usage source may say: such an answer is dropped whole, and its watermark with it (promise P4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.ports.usage import UsageBatch
from keyturn.runtime.registry import WiredSource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SKEW = timedelta(seconds=60)
"""How far a source's clock may be ahead of ours."""


def nonsense_in(batch: UsageBatch, source: WiredSource, now: datetime) -> str:
    """What is wrong with a batch, in words; empty when it makes sense."""
    for said, moment in (("watermark", batch.watermark), ("complete_from", batch.complete_from)):
        if moment is not None and (trouble := _time(moment, now)):
            return f"answers nonsense: a {said} that {trouble}"
    sound: set[datetime] = set()
    for report in batch.reports:
        # Of many clients the buckets are few.
        if report.start not in sound:
            if trouble := _start(report.start, source, now):
                return f"answers nonsense: a report of {report.client!r} {trouble}"
            sound.add(report.start)
        if report.successes < 0 or report.failures < 0:
            return f"answers nonsense: a report of {report.client!r} with a negative count"
    return ""


def _start(start: datetime, source: WiredSource, now: datetime) -> str:
    if trouble := _time(start, now):
        return f"whose start {trouble}"
    if (start - EPOCH) % source.resolution:
        return f"that starts at {start}, between two buckets of {source.resolution.total_seconds():g} s"
    return ""


def _time(moment: datetime, now: datetime) -> str:
    if moment.tzinfo is None:
        return "has no time zone"
    if moment > now + SKEW:
        return f"lies in the future, {moment:%Y-%m-%d %H:%M:%S}: check its clock"
    return ""
