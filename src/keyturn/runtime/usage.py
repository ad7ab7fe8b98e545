"""Takes usage reports in: from sources that are polled, and from those that push."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import structlog

from keyturn.domain.errors import Failure, Refused
from keyturn.domain.observations import UNMAPPED
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import Lease, Told, UsageRow
from keyturn.ports.store import Store
from keyturn.ports.usage import StoreRead, UsageBatch, UsageReport, UsageSource
from keyturn.runtime.alerts import Alerts
from keyturn.runtime.blindness import Blindness
from keyturn.runtime.claims import Claims
from keyturn.runtime.contained import Contained
from keyturn.runtime.crowd import Crowd
from keyturn.runtime.flush import Flush
from keyturn.runtime.guarded import brokenness
from keyturn.runtime.nonsense import nonsense_in
from keyturn.runtime.registry import Registry, WiredSource

log = structlog.get_logger(__name__)

OLDEST = timedelta(days=7)
"""A pushed report that is older is refused."""
BATCHES_KEPT = OLDEST + timedelta(days=1)
"""Ids of batches are kept for longer than any of their reports is taken: whatever is sent again is known, or refused."""


About = tuple[UsageReport, Sequence[tuple[str, int]]]
"""A report, and the credentials and serials that it may be about."""


class NotCovered(Refused):
    """A source spoke for a credential that does not name it."""


class Intake:
    """Turns reports by key id into rows by credential and version."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        clock: Clock,
        executor: Executor,
        claims: Claims,
        contained: Contained,
    ) -> None:
        self._contained = contained
        self._store = store
        self._registry = registry
        self._clock = clock
        self._executor = executor
        self._claims = claims
        self._alerts = Alerts(store=store, registry=registry, clock=clock)
        self._blindness = Blindness(store=store, registry=registry, clock=clock)
        self._crowd = Crowd(store, registry.credentials)
        self._flush = Flush(self._write)
        self.counts: Counter[tuple[str, str]] = Counter()
        """What came, by source and what became of it: for people to look at."""

    def poll(self) -> None:
        """Ask every polled source what is new, and look which sources are blind, those apart that are another replica's.
        One that fails or answers nonsense moves no watermark (promise P4)."""
        claims = self._claims.take([f"source/{name}" for name in self._registry.sources])
        ours = [
            (one, claims[f"source/{one.name}"].lease)
            for one in self._registry.sources.values()
            if f"source/{one.name}" in claims
        ]
        self._executor.run([self._poll_one(one, one.poll, claim) for one, claim in ours if one.poll is not None])
        self._blindness.look([one for one, _ in ours])

    def _poll_one(self, wired: WiredSource, source: UsageSource, claim: Lease) -> Callable[[], None]:
        def poll() -> None:
            try:
                state = self._store.sources().get(wired.name)
                batch = source.poll(state.cursor if state is not None else None, now=self._clock.now())
                trouble = nonsense_in(batch, wired, self._clock.now())
            except Failure as error:
                trouble = error.message
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and must not stop the others
                self._contained.met(error, source=wired.name)
                trouble = brokenness(error)
            self._blindness.said[wired.name] = trouble
            if trouble:
                self.counts[wired.name, "failed polls"] += 1
                log.warning("usage source failed", source=wired.name, error=trouble)
                return
            # Where another replica has asked from the same cursor this fails: added twice, every use would count twice.
            self._contained.run(lambda: self._take(wired, batch, claim), source=wired.name)

        return poll

    def arriving(self) -> AbstractContextManager[None]:
        """While a batch is read that will be pushed: those that come together are written together."""
        return self._flush.arriving()

    def push(
        self,
        source: str,
        reports: Sequence[UsageReport],
        *,
        watermark: datetime | None,
        id: str | None,
        digest: str = "",
        complete_from: datetime | None = None,
    ) -> bool:
        """Take a pushed batch; durable when it returns. False: a batch of this id was taken before, nothing changed.

        Raises `Refused`, and takes nothing, when the source is not one that pushes, for what cannot be, when a report
        speaks for a credential that it does not cover (`NotCovered`), or when the id was used before for another content.
        """
        wired = self._registry.sources.get(source)
        if wired is None or wired.poll is not None:
            raise Refused(f"{source!r} is no source that pushes; give it `type: push` in the configuration")
        batch = UsageBatch(reports=reports, watermark=watermark, cursor="", complete_from=complete_from)
        if trouble := nonsense_in(batch, wired, self._clock.now()):
            raise Refused(f"{source} {trouble}")
        covered = self._registry.covered_by(source)
        about = self._about(reports, covered)
        if (strange := self._uncovered(about, covered)) is not None:
            self.counts[source, "refused"] += 1
            self._alerts.overreach(source, strange)
            raise NotCovered(f"source {source!r} may not speak for {strange!r}, which does not name it")
        rows = self._rows(wired, about, covered)
        added = self._flush.add(
            Told(
                source=source,
                rows=rows,
                watermark=self._reached(watermark),
                batch=id,
                digest=digest,
                complete_from=complete_from,
                alerts=self._alerts.of(rows),
            )
        )
        self._after(source, rows, added=added)
        return added

    def _reached(self, watermark: datetime | None) -> datetime | None:
        """Clocks differ a little: what lies ahead of ours is not covered yet."""
        return None if watermark is None else min(watermark, self._clock.now())

    def _take(self, source: WiredSource, batch: UsageBatch, claim: Lease) -> None:
        covered = self._registry.covered_by(source.name)
        rows = self._rows(source, self._about(batch.reports, covered), covered)
        told = Told(
            source=source.name,
            rows=rows,
            watermark=self._reached(batch.watermark),
            cursor=batch.cursor,
            complete_from=batch.complete_from,
            alerts=self._alerts.of(rows),
        )
        self._write([told], claim)
        self._after(source.name, rows, added=True)

    def _write(self, told: Sequence[Told], claim: Lease | None = None) -> Sequence[bool | Refused]:
        return self._store.add_usage(told, received_at=self._clock.now(), claim=claim)

    def _after(self, source: str, rows: Sequence[UsageRow], *, added: bool) -> None:
        if not added:
            self.counts[source, "repeated batches"] += 1
            return
        self.counts[source, "reports"] += len(rows)
        self.counts[source, "unauthenticated"] += sum(row.unauthenticated for row in rows)

    def _about(self, reports: Sequence[UsageReport], covered: frozenset[str]) -> list[About]:
        """Each report with every credential and serial that it may be about."""
        keys = self._store.key_ids(sorted({report.key_id for report in reports if report.key_id is not None}))
        reads = self._reads(covered) if any(report.read is not None for report in reports) else {}
        return [
            (one, keys.get(one.key_id or "", ()) if one.read is None else reads.get(one.read, ())) for one in reports
        ]

    def _uncovered(self, about: Sequence[About], covered: frozenset[str]) -> str | None:
        """A credential that a report speaks for although the source covers none of those that it may be about. What is not
        configured is nobody's: a credential that was renamed is known by its old name alone until it is read again."""
        for _, versions in about:
            names = [name for name, _ in versions if name in self._registry.credentials]
            if names and covered.isdisjoint(names):
                return names[0]
        return None

    def _rows(self, source: WiredSource, about: Sequence[About], covered: frozenset[str]) -> list[UsageRow]:
        """What is kept: of a credential that the source does not cover nothing, a gateway serves others too; and of those
        that share a key all, since a use of it is a use of each (promise P2)."""
        length, rows = source.resolution, []
        for report, versions in about:
            proven = report.attributable
            for credential, serial in versions:
                if credential not in covered:
                    continue
                used = proven or report.successes > 0
                rows.append(
                    UsageRow(
                        credential,
                        serial,
                        self._crowd.name(credential, report.client or UNMAPPED, used=used),
                        report.start,
                        length,
                        report.successes,
                        report.failures if proven else 0,
                        0 if proven else report.failures,
                    )
                )
        return rows

    def _reads(self, covered: frozenset[str]) -> Mapping[StoreRead, list[tuple[str, int]]]:
        """What each version at each place is: one document may hold several credentials."""
        found: dict[StoreRead, list[tuple[str, int]]] = {}
        for name in covered:
            wired = self._registry.credential(name)
            for (target, backend_id), serial in self._store.bindings(name).items():
                if target in wired.targets:
                    read = StoreRead(wired.targets[target].location, backend_id)
                    found.setdefault(read, []).append((name, serial))
        return found
