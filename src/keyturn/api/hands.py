"""What another's hand has done to a credential, and what an operator says to it; and a rotation that is given up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from keyturn.api.access import Operator, TheDaemon
from keyturn.api.commands import Command, Text, apply
from keyturn.api.reads import check_name
from keyturn.api.views import CommandResult, rotation_view
from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation

router = APIRouter(prefix="/v1/credentials/{name}", tags=["commands"])


class AcceptFound(Command):
    """Take what another's hand left at a target."""

    target: Text
    found: Text
    """The backend's id of it, as the status shows it."""
    reason: Text


class AcceptLost(Command):
    """Go on without a value that nobody has any more."""

    version: int
    """The version whose value is lost."""
    reason: Text


class Reassert(Command):
    """Overwrite what another's hand left at a target."""

    target: Text
    found: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """The backend's id of what readers get now; empty where they get nothing."""
    reason: Text


class Abandon(Command):
    """Give a rotation up."""

    reason: Text
    expect_version: int | None = None
    """The version that the caller believes this rotation brings."""


@router.post("/accept")
def accept(name: str, daemon: TheDaemon, caller: Operator, command: AcceptFound) -> CommandResult:
    """Adopt the value that readers of a target get from another's hand; in an emergency, let a named obstacle pass."""
    check_name(daemon, name)
    by, seen = caller.named(command.by), daemon.runtime.look(name)

    def change(rotation: Rotation) -> Rotation:
        return commands.accept(rotation, seen, target=command.target, found=command.found, by=by, why=command.reason)

    what = f"accept {command.found} at {command.target}: {command.reason}"
    rotation = apply(daemon, name, change, by=by, what=what, dry_run=command.dry_run)
    will = "would" if command.dry_run else "will"
    if command.found in rotation.passed:
        said = f"{name}: the emergency {will} pass {command.found} at {command.target}"
    else:
        said = (
            f"{name}: this rotation {will} give way to one that adopts {command.found} at {command.target} as the next "
            "version, once every verifier accepts it"
        )
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/accept-lost")
def accept_lost(name: str, daemon: TheDaemon, caller: Operator, command: AcceptLost) -> CommandResult:
    """Go on although a version's value is lost: without a way back to it, or without having tried that it is dead."""
    check_name(daemon, name)
    by, seen = caller.named(command.by), daemon.runtime.look(name)

    def change(rotation: Rotation) -> Rotation:
        return commands.accept_lost(rotation, seen, serial=command.version, by=by, why=command.reason)

    what = f"accept the loss of v{command.version}: {command.reason}"
    rotation = apply(daemon, name, change, by=by, what=what, dry_run=command.dry_run)
    goes = "would go on" if command.dry_run else "goes on"
    said = f"{name}: {goes} in {rotation.phase} without the value of v{command.version}, on the word of {by}"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/reassert")
def reassert(name: str, daemon: TheDaemon, caller: Operator, command: Reassert) -> CommandResult:
    """Give readers of a target what the rotation calls for, over what another's hand left there."""
    check_name(daemon, name)
    by, seen = caller.named(command.by), daemon.runtime.look(name)

    def change(rotation: Rotation) -> Rotation:
        return commands.reassert(rotation, seen, target=command.target, found=command.found, by=by, why=command.reason)

    found = command.found or "nothing"
    what = f"reassert {command.target} over {found}: {command.reason}"
    rotation = apply(daemon, name, change, by=by, what=what, dry_run=command.dry_run)
    will = "would" if command.dry_run else "will"
    said = f"{name}: readers of {command.target} {will} get what {rotation.phase} calls for, in place of {found}"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/abandon")
def abandon(name: str, daemon: TheDaemon, caller: Operator, command: Abandon) -> CommandResult:
    """Give up a rotation that is halted, or that destroys or rolls back in vain: another takes over."""
    by = caller.named(command.by)

    def change(rotation: Rotation) -> Rotation:
        if command.expect_version not in (None, rotation.incoming):
            raise Refused(
                f"the rotation of {name} that would be given up brings v{rotation.incoming}, not "
                f"v{command.expect_version}: look at `keyturn status {name}`"
            )
        return commands.abandon(rotation, by=by, why=command.reason)

    rotation = apply(daemon, name, change, by=by, what=f"abandon: {command.reason}", dry_run=command.dry_run)
    will = "would" if command.dry_run else "will"
    said = f"{name}: {rotation.id} {will} give way to a rotation that takes over every version that is not dead yet"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))
