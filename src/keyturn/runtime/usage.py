"""Takes usage reports in: from sources that are polled, and from those that push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from keyturn.domain.effects import Message
from keyturn.domain.errors import Failure, Refused, StaleRevision
from keyturn.domain.model import VersionState
from keyturn.domain.observations import UNMAPPED
from keyturn.ports.clock import Clock
from keyturn.ports.executor import Executor
from keyturn.ports.records import Lease, UsageRow
from keyturn.ports.store import Store
from keyturn.ports.usage import UsageReport, UsageSource
from keyturn.runtime.claims import Claims
from keyturn.runtime.registry import Registry, WiredSource

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Turns reports by key id into rows by credential and version."""

    store: Store
    registry: Registry
    clock: Clock
    executor: Executor
    claims: Claims

    def poll(self) -> None:
        """Ask every polled source what is new, those apart that another replica asks. One that fails moves no watermark
        (promise P4)."""
        sources = {f"source/{name}": (one, one.poll) for name, one in self.registry.sources.items() if one.poll}
        claims = self.claims.take(list(sources))
        self.executor.run([self._poll_one(*sources[name], claim.lease) for name, claim in claims.items()])

    def _poll_one(self, wired: WiredSource, source: UsageSource, claim: Lease) -> Callable[[], None]:
        def poll() -> None:
            state = self.store.sources().get(wired.name)
            try:
                batch = source.poll(state.cursor if state is not None else None, now=self.clock.now())
            except Failure as error:
                log.warning("usage source failed", source=wired.name, error=error.message)
                return
            try:
                self._add(wired, batch.reports, watermark=batch.watermark, cursor=batch.cursor, batch=None, claim=claim)
            except StaleRevision as error:
                # Another replica has asked from the same cursor: added twice, every use would count twice.
                log.warning("usage source asked by another replica", source=wired.name, error=str(error))

        return poll

    def push(
        self, source: str, reports: Sequence[UsageReport], *, watermark: datetime | None, batch: str | None
    ) -> bool:
        """Take a pushed batch; durable when it returns. False: a batch of this id was taken before, nothing changed.

        Raises `Refused`, and takes nothing, when the source is not one that pushes, or when a report speaks for a
        credential that it does not cover.
        """
        wired = self.registry.sources.get(source)
        if wired is None or wired.poll is not None:
            raise Refused(f"{source!r} is no source that pushes; give it `type: push` in the configuration")
        return self._add(wired, reports, watermark=watermark, cursor=None, batch=batch)

    def _add(
        self,
        source: WiredSource,
        reports: Sequence[UsageReport],
        *,
        watermark: datetime | None,
        cursor: str | None,
        batch: str | None,
        claim: Lease | None = None,
    ) -> bool:
        covered = self.registry.covered_by(source.name)
        known = self.store.key_ids(sorted({report.key_id for report in reports if report.key_id is not None}))
        rows = []
        for report in reports:
            credential, serial = known.get(report.key_id or "", (None, 0))
            if credential is None:
                continue
            if credential not in covered:
                if source.poll is None:
                    raise Refused(f"source {source.name!r} may not speak for {credential!r}, which does not name it")
                continue
            rows.append(_row(source, report, credential, serial))
        added = self.store.add_usage(
            source.name,
            rows,
            watermark=watermark,
            cursor=cursor,
            batch=batch,
            received_at=self.clock.now(),
            claim=claim,
        )
        if added:
            self._tripwire(rows)
        return added

    def _tripwire(self, rows: Sequence[UsageRow]) -> None:
        """Any use of a destroyed version raises an alert, once per client and day (promise P11)."""
        for name in {row.credential for row in rows}:
            credential = self.store.credential(name)
            destroyed = {
                serial
                for serial, version in (credential.versions if credential is not None else {}).items()
                if version.state is VersionState.DESTROYED
            }
            alerts = {
                f"tripwire/{name}/v{row.serial}/{row.client}/{row.start:%Y-%m-%d}": row
                for row in rows
                if row.credential == name and row.serial in destroyed
            }
            messages = [
                Message(
                    id=name_of_alert,
                    topic="tripwire",
                    text=f"{name}: {row.client} still presents v{row.serial}, which is destroyed",
                    details=(("client", row.client), ("credential", name), ("version", str(row.serial))),
                )
                for name_of_alert, row in sorted(alerts.items())
            ]
            if messages:
                self.store.enqueue(messages, self.registry.credential(name).notifiers, now=self.clock.now())


def _row(source: WiredSource, report: UsageReport, credential: str, serial: int) -> UsageRow:
    attributable = report.attributable
    return UsageRow(
        credential=credential,
        serial=serial,
        client=report.client or UNMAPPED,
        start=report.start,
        length=source.resolution,
        successes=report.successes,
        failures=report.failures if attributable else 0,
        unauthenticated=0 if attributable else report.failures,
    )
