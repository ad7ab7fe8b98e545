"""Who uses which version, and who is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from keyturn.api.access import Operator, TheDaemon, Viewer
from keyturn.api.commands import Command, Text
from keyturn.api.reads import check_name
from keyturn.api.usage_views import UsageView, usage_view
from keyturn.api.views import CommandResult
from keyturn.app.checkup import quiet
from keyturn.runtime.acknowledge import acknowledge
from keyturn.runtime.dismiss import dismiss
from keyturn.runtime.usage_report import usage_report

router = APIRouter(prefix="/v1/credentials/{name}", tags=["clients"])


findings = APIRouter(prefix="/v1/findings", tags=["clients"])


class FindingView(BaseModel):
    """One line of what the history tells."""

    subject: str
    message: str


@findings.get("")
def show_findings(daemon: TheDaemon, caller: Viewer) -> list[FindingView]:
    """What `check` cannot find in the configuration: credentials too quiet to be judged."""
    del caller
    found = quiet(daemon.store, daemon.registry, daemon.clock.now())
    return [FindingView(subject=one.subject, message=one.message) for one in found]


class Dismiss(Command):
    """Declare a client gone."""

    client: Text
    reason: Text


class Acknowledge(Command):
    """Say that a client has moved, or that every client is known."""

    client: Text | None = None
    """Without one: that nobody uses the credential but the clients that were seen."""
    version: int | None = None
    """The version that it has moved to: the one that the rotation introduces, and refused where that is another."""
    reason: Text


@router.get("/usage")
def show_usage(
    name: str, daemon: TheDaemon, caller: Viewer, minutes: Annotated[int, Query(ge=1, le=60 * 24 * 7)] = 60
) -> UsageView:
    """Who uses which version, how it goes, and how long each client is silent on the old one."""
    del caller
    check_name(daemon, name)
    status, window = daemon.runtime.status(name), timedelta(minutes=minutes)
    return usage_view(usage_report(daemon.store, daemon.registry, status, now=daemon.clock.now(), window=window))


@router.post("/dismiss")
def dismiss_client(name: str, daemon: TheDaemon, caller: Operator, command: Dismiss) -> CommandResult:
    """Declare a client gone: no rotation waits for it any more, until it is seen again."""
    check_name(daemon, name)
    dismiss(
        daemon.store,
        daemon.registry,
        name,
        command.client,
        by=caller.named(command.by),
        why=command.reason,
        now=daemon.clock.now(),
        dry_run=command.dry_run,
    )
    return _counts(name, daemon, command, "gone, and no rotation waits for it; a use of it proves otherwise")


@router.post("/acknowledgements")
def acknowledge_client(name: str, daemon: TheDaemon, caller: Operator, command: Acknowledge) -> CommandResult:
    """Say for its owner that all instances of a client have moved to the new version, or that every client is known; the
    old one must be silent all the same."""
    check_name(daemon, name)
    serial = acknowledge(
        daemon.store,
        daemon.registry,
        name,
        command.client,
        serial=command.version,
        by=caller.named(command.by),
        why=command.reason,
        now=daemon.clock.now(),
        dry_run=command.dry_run,
    )
    if command.client is None:
        return _counts(
            name, daemon, command, f"known for the rotation to v{serial}, and none is expected that was not seen"
        )
    return _counts(name, daemon, command, f"moved to v{serial}; what it leaves must be silent all the same")


def _counts(name: str, daemon: TheDaemon, command: Dismiss | Acknowledge, what: str) -> CommandResult:
    """What a client counts as from now on, or would; then the daemon looks at once."""
    if not command.dry_run:
        daemon.wake(name)
    counts = "would count" if command.dry_run else "counts"
    said = f"{name}: {command.client or 'every client'} {counts} as {what}"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=None)
