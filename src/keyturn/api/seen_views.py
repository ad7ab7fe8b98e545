"""What the API shows of the world as a tick sees it."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from keyturn.domain.observations import Observations, UsageSeen


class TargetView(BaseModel):
    """What readers of a target get: `ours`, `foreign`, `missing` or `unknown`."""

    name: str
    serving: str
    version: int | None
    id: str | None
    """The backend's id of it."""
    copies: list[int] | None


class VerifierView(BaseModel):
    """How a verifier treats each version, by probe and by its own listing."""

    name: str
    acceptance: dict[int, str]
    entries: dict[int, str]


class SourceView(BaseModel):
    """How far a usage source's data is complete."""

    name: str
    kind: str
    sees_failures: bool
    watermark: datetime | None
    blind_since: datetime | None
    """Since when it has stopped, lags or answers nonsense; None while all is well."""
    trouble: str


class ClientView(BaseModel):
    """One known client's use, by version."""

    name: str
    last_use: dict[int, datetime]
    last_success: dict[int, datetime]
    last_refusal: dict[int, datetime]
    required_silence: timedelta
    word: str
    """`moved` or `gone` where an operator says so, and no use proves it wrong; else empty."""


class SeenView(BaseModel):
    """The world as a tick sees it."""

    targets: list[TargetView]
    verifiers: list[VerifierView]
    sources: list[SourceView]
    clients: list[ClientView]
    unauthenticated: int


def seen_view(seen: Observations) -> SeenView:
    targets = [
        TargetView(
            name=name,
            serving=target.serving.kind,
            version=target.serving.serial,
            id=target.serving.id,
            copies=None if target.copies is None else sorted(target.copies),
        )
        for name, target in seen.targets.items()
    ]
    verifiers = [
        VerifierView(name=name, acceptance=dict(verifier.acceptance), entries=dict(verifier.entries))
        for name, verifier in sorted(seen.verifiers.items())
    ]
    return SeenView(
        targets=targets,
        verifiers=verifiers,
        sources=_sources(seen.usage),
        clients=_clients(seen.usage),
        unauthenticated=seen.usage.unauthenticated,
    )


def _sources(usage: UsageSeen) -> list[SourceView]:
    return [
        SourceView(
            name=name,
            kind=source.kind,
            sees_failures=source.sees_failures,
            watermark=source.watermark,
            blind_since=source.blind_since,
            trouble=source.trouble,
        )
        for name, source in sorted(usage.sources.items())
    ]


def _clients(usage: UsageSeen) -> list[ClientView]:
    return [
        ClientView(
            name=name,
            last_use=dict(client.last_use),
            last_success=dict(client.last_success),
            last_refusal=dict(client.last_refusal),
            required_silence=client.required_silence,
            word="gone" if client.dismissed else "moved" if client.acknowledged else "",
        )
        for name, client in sorted(usage.clients.items())
    ]
