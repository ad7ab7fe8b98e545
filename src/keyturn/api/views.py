"""What the API shows of the domain: key ids and times, never values or fingerprints."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from keyturn.api.seen_views import SeenView
from keyturn.domain.model import Hold, Mark, Rotation, Version
from keyturn.domain.reasons import MEANING
from keyturn.domain.verdicts import Verdict
from keyturn.ports.records import HistoryEntry


class VersionView(BaseModel):
    """One generation of a credential."""

    serial: int
    state: str
    key_id: str | None
    compromised_at: datetime | None
    cut_at: datetime | None
    """When a compromised version is disabled at the latest, or was; None when it is not marked in this rotation."""
    reported: str | None
    """Who reported it compromised, and why."""


class HoldView(BaseModel):
    """Why a rotation stands still."""

    reason: str
    detail: str
    since: datetime
    latched: bool


class PauseView(BaseModel):
    """An operator's pause."""

    by: str
    until: datetime
    why: str


class RotationView(BaseModel):
    """One rotation, live or ended."""

    id: str
    revision: int
    phase: str
    live: bool
    entered_at: datetime
    started_at: datetime
    started_by: str
    supersedes: str | None
    """The rotation that it took over from."""
    outgoing: list[int]
    incoming: int
    targets: list[str]
    promoted: dict[str, datetime]
    versions: list[VersionView]
    adopting: str | None
    """The backend's id of the value that becomes the incoming version; None when it is made."""
    forced: dict[int, str]
    """By version: whose word stands in for its silence, and why."""
    waived: dict[int, str]
    """By version: who goes on without its lost value, and why."""
    retreats: int
    cause: str
    hold: HoldView | None
    halted: HoldView | None
    pause: PauseView | None


class VerdictView(BaseModel):
    """What the next tick would rule."""

    ruling: str
    reason: str
    meaning: str
    detail: str
    until: datetime | None
    evidence: dict[str, str | int | float | bool | list[str] | None]


class StatusView(BaseModel):
    """A credential as it stands."""

    name: str
    headline: str
    """What blocks, in words, and the earliest time it can clear."""
    due_at: datetime | None
    versions: list[VersionView]
    rotation: RotationView | None
    verdict: VerdictView | None
    seen: SeenView | None


class SummaryView(BaseModel):
    """One line of the list of credentials."""

    name: str
    current: int | None
    """The version that readers get between rotations; None before the credential was first read."""
    phase: str | None
    """Of the live rotation."""
    standing_still: str | None
    """The reason when it holds or is halted."""
    trouble: str | None
    """Why nothing can be done for it."""
    compromised: list[int]
    """Versions of the live rotation that were reported compromised."""
    due_at: datetime | None


class HistoryView(BaseModel):
    """One line of the trail."""

    at: datetime
    rotation: str
    phase: str
    kind: str
    reason: str
    detail: str
    by: str
    evidence: dict[str, str | int | float | bool | list[str] | None]
    digest: str


class CommandResult(BaseModel):
    """What a command has done, or would do."""

    said: str
    dry_run: bool
    rotation: RotationView | None


class UsageResult(BaseModel):
    """What became of a pushed batch."""

    accepted: int
    duplicate: bool


def version_view(version: Version, mark: Mark | None) -> VersionView:
    return VersionView(
        serial=version.serial,
        state=version.state,
        key_id=version.key_id,
        compromised_at=version.compromised_at,
        cut_at=None if mark is None else mark.cut_at,
        reported=None if mark is None else f"{mark.by}: {mark.why}",
    )


def _hold(hold: Hold | None) -> HoldView | None:
    if hold is None:
        return None
    return HoldView(reason=hold.reason, detail=hold.detail, since=hold.since, latched=hold.latched)


def rotation_view(rotation: Rotation) -> RotationView:
    pause = rotation.pause
    return RotationView(
        id=rotation.id,
        revision=rotation.revision,
        phase=rotation.phase,
        live=rotation.live,
        entered_at=rotation.entered.at,
        started_at=rotation.started_at,
        started_by=rotation.started_by,
        supersedes=rotation.supersedes,
        outgoing=list(rotation.outgoing),
        incoming=rotation.incoming,
        targets=list(rotation.targets),
        promoted={target: stamp.at for target, stamp in rotation.promoted.items()},
        versions=[
            version_view(version, rotation.marks.get(serial)) for serial, version in sorted(rotation.versions.items())
        ],
        adopting=None if rotation.adopting is None else rotation.adopting.id,
        forced={serial: f"{force.by}: {force.why}" for serial, force in rotation.forced.items()},
        waived=dict(rotation.waived),
        retreats=rotation.retreats,
        cause=rotation.cause,
        hold=_hold(rotation.hold),
        halted=_hold(rotation.halted),
        pause=None if pause is None else PauseView(by=pause.by, until=pause.until, why=pause.why),
    )


def verdict_view(verdict: Verdict) -> VerdictView:
    return VerdictView(
        ruling=verdict.ruling,
        reason=verdict.reason,
        meaning=MEANING[verdict.reason],
        detail=verdict.detail,
        until=verdict.until,
        evidence=dict(verdict.evidence),
    )


def summary_view(
    name: str, current: int | None, live: Rotation | None, due_at: datetime | None, trouble: str | None
) -> SummaryView:
    hold = None if live is None else live.halted or live.hold
    return SummaryView(
        name=name,
        current=current,
        phase=None if live is None else live.phase,
        standing_still=None if hold is None else hold.reason,
        trouble=trouble,
        compromised=[] if live is None else sorted(live.marks),
        due_at=due_at,
    )


def history_view(entry: HistoryEntry) -> HistoryView:
    return HistoryView(
        at=entry.at,
        rotation=entry.rotation,
        phase=entry.phase,
        kind=entry.kind,
        reason=entry.reason,
        detail=entry.detail,
        by=entry.by,
        evidence=dict(entry.evidence),
        digest=entry.digest,
    )
