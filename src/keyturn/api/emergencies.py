"""A version is reported compromised: readers are led away from it, and it is cut off in its time."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from keyturn.api.access import Operator, TheDaemon
from keyturn.api.commands import Command, Text
from keyturn.api.reads import check_name
from keyturn.api.views import CommandResult, rotation_view
from keyturn.domain.model import Mark
from keyturn.plugins.options import Duration

router = APIRouter(prefix="/v1/credentials/{name}", tags=["commands"])


class ReportCompromised(Command):
    """Say that somebody else has a version."""

    reason: Text
    version: int | None = None
    """The version that is compromised; needed where more than one can be meant."""
    grace: Duration | None = None
    """How long it stays accepted after the last target's promote; the policy's when it is not given."""
    cut_now: bool = False
    """Disable it at once, whoever still uses it."""


@router.post("/emergency")
def report_compromised(name: str, daemon: TheDaemon, caller: Operator, command: ReportCompromised) -> CommandResult:
    """Rotate away from a compromised version: with a rotation that starts now, or with the one under way."""
    check_name(daemon, name)
    live = daemon.store.live_of(name)
    rotation = daemon.runtime.emergency(
        name,
        serial=command.version,
        by=caller.named(command.by),
        why=command.reason,
        grace=command.grace,
        cut_now=command.cut_now,
        dry_run=command.dry_run,
    )
    if not command.dry_run:
        daemon.wake(name)
    before = live.marks if live is not None and live.id == rotation.id else {}
    reported = [command.version] if command.version is not None else sorted(set(rotation.marks) - set(before))
    now = daemon.clock.now()
    marked = "would be marked" if command.dry_run else "is marked"
    parts = [f"v{serial} {marked} compromised, {_cut(rotation.marks[serial], now)}" for serial in reported]
    if live is None:
        parts.append(f"a rotation to v{rotation.incoming} {'would start' if command.dry_run else 'has started'}")
    else:
        parts.append(f"the rotation in {rotation.phase} {'would act' if command.dry_run else 'acts'} on it at once")
    return CommandResult(said=f"{name}: {'; '.join(parts)}", dry_run=command.dry_run, rotation=rotation_view(rotation))


def _cut(mark: Mark, now: datetime) -> str:
    if mark.cut_at <= now:
        return "and disabled at once, whoever still uses it"
    grace = f"{mark.grace.total_seconds():g} s"
    return f"and disabled {grace} after the last promote, at {mark.cut_at:%Y-%m-%d %H:%M:%S} UTC at the latest"
