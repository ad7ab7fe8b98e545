"""How much each source that pushes may send: reports a second on average, and so many batches at a time."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from keyturn.api.problems import ApiProblem
from keyturn.config.model import Config, PushConfig

AT_A_TIME = 8
"""Batches of one source that are read and stored at once: each is held in memory whole."""
BURST = 10.0
"""Seconds of its average that a source which was quiet may send at once."""


class Meter:
    """One source's account in reports. A batch is let in while the account is not overdrawn, and charged when its size is
    known: so a single large batch passes, and what follows it waits."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._full = per_second * BURST
        self._left = self._full
        self._at = clock()
        self.under_way = 0

    def wait(self) -> float:
        """Seconds until the next batch is let in; 0 when it is now."""
        now = self._clock()
        self._left = min(self._full, self._left + (now - self._at) * self._per_second)
        self._at = now
        return max(0.0, -self._left / self._per_second)

    def charge(self, reports: int) -> None:
        """A batch holds so many."""
        self._left -= reports


class Meters:
    """The meters of all sources that push. For the event loop's thread alone."""

    def __init__(
        self, config: Config, counts: Counter[tuple[str, str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counts = counts
        self._meters = {
            name: Meter(source.reports_per_second, clock)
            for name, source in config.sources.items()
            if isinstance(source, PushConfig)
        }

    @contextmanager
    def admitted(self, source: str) -> Iterator[Meter]:
        """Let a batch of a source in. Raises 429 when it has sent too much, or too many are under way."""
        meter = self._meters[source]
        wait = meter.wait()
        if wait > 0 or meter.under_way >= AT_A_TIME:
            self._counts[source, "batches over the limit"] += 1
            raise ApiProblem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{source} sends more than its `reports_per_second`, or more than {AT_A_TIME} batches at a time: wait, "
                "and send fewer lines by summing them over a bucket",
                headers={"Retry-After": str(max(1, math.ceil(wait)))},
            )
        meter.under_way += 1
        try:
            yield meter
        finally:
            meter.under_way -= 1
