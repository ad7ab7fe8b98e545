"""A usage source in memory, whose watermark lags and whose reports come late as told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from keyturn.domain.observations import SourceKind
from keyturn.ports.clock import Clock
from keyturn.ports.usage import UsageBatch, UsageReport
from keyturn.testing.fakes.faults import Faults

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVERYWHERE = ""
"""In the place of a verifier: all of them."""


class Presentation(NamedTuple):
    """Somebody presented a key; `known_at` is when the source learns of it."""

    key_id: str | None
    client: str
    at: datetime
    known_at: datetime
    success: bool
    matched: bool
    identified: bool
    verifier: str


class FakeUsageSource:
    """Tells what `present` was told, `lag` later.

    Everything known lies in one list; a cursor is a position in it. `stop()` freezes the watermark, as a source does
    that has gone blind, be it to one verifier, and `resume()` ends that, `lose()` without what happened meanwhile;
    `delay(…)` lets what is presented from now on be known that much later.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        kind: SourceKind = SourceKind.AUTHENTICATION,
        sees_failures: bool = True,
        resolution: timedelta = timedelta(seconds=1),
        lag: timedelta = timedelta(0),
    ) -> None:
        self.kind = kind
        self.sees_failures = sees_failures
        self.resolution = resolution
        self.lag = lag
        self.clock = clock
        self.faults = Faults()
        self.problems: list[str] = []
        """What `check` says."""
        self._delay = timedelta(0)
        self._stopped_at: dict[str, datetime] = {}
        """By verifier, or for all of them: since when nothing is heard from there."""
        self._watermark: datetime | None = None
        self._losing: datetime | None = None
        """From when on all is told again, while something from before that may still come."""
        self._lost: list[tuple[int, datetime]] = []
        """The same of what is lost for good, with how much was known by then: cursors up to there do not know of it."""
        self._on_the_way: list[Presentation] = []
        self._known: list[Presentation] = []

    def present(
        self,
        key_id: str | None,
        client: str,
        *,
        success: bool = True,
        matched: bool | None = None,
        identified: bool = True,
        at: datetime | None = None,
        verifier: str = EVERYWHERE,
    ) -> datetime:
        """Someone presents a key, now or at another time; returns when."""
        now = self.clock.now()
        at = at or now
        self._on_the_way.append(
            Presentation(
                key_id=key_id,
                client=client,
                at=at,
                known_at=now + self.lag + self._delay,
                success=success,
                matched=success if matched is None else matched,
                identified=identified,
                verifier=verifier,
            )
        )
        return at

    def delay(self, delay: timedelta) -> None:
        """What is presented from now on is known that much later, though the watermark goes on: late reports."""
        self._delay = delay

    def stop(self, verifier: str = EVERYWHERE) -> None:
        """Go blind to one verifier, or to all: nothing new is known from there, and the watermark stays where it is."""
        self._stopped_at.setdefault(verifier, self.clock.now())

    def resume(self, verifier: str = EVERYWHERE) -> None:
        """See again, also what happened meanwhile."""
        self._stopped_at.pop(verifier, None)

    def lose(self, verifier: str = EVERYWHERE) -> tuple[datetime, datetime] | None:
        """See again, and never what happened meanwhile: from when to when that was, if anything can be missing. Polls say
        so with `complete_from`."""
        stopped = self._stopped_at.pop(verifier, None)
        if stopped is None:
            return None
        lost = stopped - self.lag, self.clock.now() - self.lag
        self._on_the_way = [
            one
            for one in self._on_the_way
            if verifier not in (one.verifier, EVERYWHERE) or not lost[0] < one.at <= lost[1]
        ]
        self._losing = lost[1]
        return lost

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        return self.faults.run("poll", lambda: self._poll(int(cursor or 0), now))

    def check(self) -> Sequence[str]:
        return tuple(self.problems)

    def close(self) -> None:
        """Nothing is held."""

    def _poll(self, position: int, now: datetime) -> UsageBatch:
        if self._on_the_way:
            known = [one for one in self._on_the_way if one.known_at <= self._heard_until(one.verifier, now)]
            self._on_the_way = [one for one in self._on_the_way if one.known_at > self._heard_until(one.verifier, now)]
            self._known += known
        complete = min([now, *self._stopped_at.values()]) - self.lag
        if self._losing is None or self._losing <= complete:
            self._watermark = max(self._watermark or complete, complete)
            if self._losing is not None:
                self._lost.append((len(self._known), self._losing))
                self._losing = None
        return UsageBatch(
            reports=self._bucketed(self._known[position:]),
            watermark=self._watermark,
            cursor=str(len(self._known)),
            complete_from=max((until for known, until in self._lost if known >= position), default=None),
        )

    def _heard_until(self, verifier: str, now: datetime) -> datetime:
        stopped = [self._stopped_at[name] for name in (verifier, EVERYWHERE) if name in self._stopped_at]
        return min([now, *stopped])

    def _bucketed(self, presented: list[Presentation]) -> list[UsageReport]:
        counts: dict[tuple[str | None, str, datetime, bool, bool], list[int]] = {}
        for one in presented:
            told = counts.setdefault(
                (one.key_id, one.client, self._bucket(one.at), one.matched, one.identified), [0, 0]
            )
            told[one.success] += 1
        return [
            UsageReport(
                key_id=key_id,
                client=client,
                start=start,
                successes=successes,
                failures=failures,
                matched=matched,
                identified=identified,
            )
            for (key_id, client, start, matched, identified), (failures, successes) in counts.items()
        ]

    def _bucket(self, at: datetime) -> datetime:
        return at - (at - EPOCH) % self.resolution
