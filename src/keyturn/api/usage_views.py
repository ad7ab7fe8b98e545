"""What the API shows of a credential's use."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from keyturn.runtime.usage_report import ClientUse, UsageReport


class UsageSourceView(BaseModel):
    """One source, and how well it sees."""

    name: str
    kind: str
    sees_failures: bool
    watermark: datetime | None
    late: int
    blind_since: datetime | None
    trouble: str


class VersionUseView(BaseModel):
    """One client's use of one version."""

    serial: int
    state: str | None
    first_use: datetime
    last_use: datetime
    last_success: datetime | None
    last_refusal: datetime | None
    successes: int
    failures: int
    per_minute: float
    told_by: list[str]
    silent_for_seconds: float | None
    """How long it is known to be silent on this version; None where no rotation waits for it."""


class DismissalView(BaseModel):
    """Who declared a client gone, and why."""

    at: datetime
    by: str
    why: str


class AcknowledgementView(BaseModel):
    """Who says that a client has moved to the new version, and why."""

    serial: int
    at: datetime
    by: str
    why: str


class ClientUseView(BaseModel):
    """One client."""

    client: str
    declared: bool
    required_silence_seconds: float | None
    dismissal: DismissalView | None
    acknowledgement: AcknowledgementView | None
    """Of the version that the newest rotation introduces."""
    versions: list[VersionUseView]


class PooledView(BaseModel):
    """Refused presentations that prove nothing about who sent them."""

    serial: int
    source: str
    count: int
    last: datetime


class CrossoverView(BaseModel):
    """Uses by version, step by step."""

    start: datetime
    step_seconds: float
    uses: dict[int, list[int]]


class UsageView(BaseModel):
    """Who uses which version of a credential."""

    name: str
    window_seconds: float
    stands_out: list[str]
    """What somebody should look at, in words."""
    sources: list[UsageSourceView]
    clients: list[ClientUseView]
    unauthenticated: list[PooledView]
    crossover: CrossoverView


def usage_view(report: UsageReport) -> UsageView:
    return UsageView(
        name=report.credential,
        window_seconds=report.window.total_seconds(),
        stands_out=list(report.stands_out),
        sources=[
            UsageSourceView(
                name=name,
                kind=source.kind,
                sees_failures=source.sees_failures,
                watermark=state.watermark,
                late=state.late,
                blind_since=state.blind_since,
                trouble=state.trouble,
            )
            for name, (source, state) in report.sources.items()
        ],
        clients=[_client(client) for client in report.clients],
        unauthenticated=[
            PooledView(serial=serial, source=source, count=pool.count, last=pool.last)
            for (serial, source), pool in sorted(report.pooled.items())
        ],
        crossover=CrossoverView(
            start=report.crossover.start,
            step_seconds=report.crossover.step.total_seconds(),
            uses={serial: list(counts) for serial, counts in report.crossover.uses.items()},
        ),
    )


def _client(client: ClientUse) -> ClientUseView:
    gone, moved = client.dismissal, client.acknowledgement
    return ClientUseView(
        client=client.client,
        declared=client.declared,
        required_silence_seconds=_seconds(client.required_silence),
        dismissal=None if gone is None else DismissalView(at=gone.at, by=gone.by, why=gone.why),
        acknowledgement=None
        if moved is None
        else AcknowledgementView(serial=moved.serial, at=moved.at, by=moved.by, why=moved.why),
        versions=[
            VersionUseView(
                serial=use.serial,
                state=use.state,
                first_use=use.first_use,
                last_use=use.last_use,
                last_success=use.last_success,
                last_refusal=use.last_refusal,
                successes=use.successes,
                failures=use.failures,
                per_minute=use.per_minute,
                told_by=list(use.told_by),
                silent_for_seconds=_seconds(use.silent_for),
            )
            for use in client.versions
        ],
    )


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()
