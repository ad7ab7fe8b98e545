"""What an operator may ask. Each command says what it will do, names the version it means, and is refused when the world
is another than the caller believes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from keyturn.api.access import Operator, TheDaemon
from keyturn.api.reads import check_name
from keyturn.api.views import CommandResult, rotation_view
from keyturn.app.daemon import Daemon
from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation, VersionState
from keyturn.plugins.options import LastingDuration
from keyturn.ports.records import Credential

router = APIRouter(prefix="/v1/credentials/{name}", tags=["commands"])

Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]
LONGEST_PAUSE = timedelta(days=3650)
"""Beyond it lies the end of the calendar."""


class Command(BaseModel):
    """What every command takes."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """Who asks; on record beside the name of the token."""
    dry_run: bool = False
    """Say what would happen, and change nothing."""


class Rotate(Command):
    """Start a rotation now."""

    reason: Text = "asked for"
    expect_version: int | None = None
    """The version that the caller believes readers get now."""


class RollBack(Command):
    """Give readers the old version again."""

    reason: Text = "asked for"
    expect_version: int | None = None
    """The version that the caller believes comes back."""


class ForceDisable(Command):
    """Put a person's word in the place of silence."""

    version: int
    """The version that is to be disabled."""
    reason: Text
    final: bool = False
    """A refused use does not bring it back."""


class PauseRotation(Command):
    """Stop every transition but rollback and retreat."""

    reason: Text = "asked for"
    lasting: Annotated[LastingDuration, Field(le=LONGEST_PAUSE)] = commands.PAUSE_FOR


@router.post("/rotate")
def rotate(
    name: str, daemon: TheDaemon, caller: Operator, command: Annotated[Rotate, Body(default_factory=Rotate)]
) -> CommandResult:
    """Start a rotation now, whatever the schedule says."""
    check_name(daemon, name)
    credential = daemon.store.credential(name)
    current = _current(credential)
    if command.expect_version is not None and current != command.expect_version:
        now = "nothing that keyturn has read yet" if current is None else f"v{current}"
        raise Refused(f"readers of {name} get {now}, not v{command.expect_version}: look at `keyturn status {name}`")
    live = daemon.store.live_of(name)
    if live is not None:
        raise Refused(
            f"a rotation of {name} is under way already, {live.id} in {live.phase}: let it end, or look at "
            f"`keyturn status {name}`"
        )
    # Someone else may be faster: the store then refuses.
    by = caller.named(command.by)
    rotation = daemon.runtime.start(name, by=by, why=command.reason, dry_run=command.dry_run)
    if command.dry_run:
        return _would_rotate(name, rotation, known=credential is not None)
    daemon.wake(name)
    said = f"{name}: rotation {rotation.id} from v{rotation.outgoing[0]} to v{rotation.incoming} has started"
    return CommandResult(said=said, dry_run=False, rotation=rotation_view(rotation))


def _current(credential: Credential | None) -> int | None:
    if credential is None:
        return None
    found = [version.serial for version in credential.versions.values() if version.state is VersionState.CURRENT]
    return found[0] if len(found) == 1 else None


def _would_rotate(name: str, rotation: Rotation, *, known: bool) -> CommandResult:
    old, new = rotation.outgoing[0], rotation.incoming
    if known:
        said = f"{name}: a rotation from v{old} to v{new} would start"
    else:
        said = f"{name}: what readers get now would be taken into care as v{old}, and a rotation to v{new} would start"
    return CommandResult(said=said, dry_run=True, rotation=None)


@router.post("/rollback")
def roll_back(
    name: str, daemon: TheDaemon, caller: Operator, command: Annotated[RollBack, Body(default_factory=RollBack)]
) -> CommandResult:
    """Give readers the old version again, and take the new one away once its users are back."""
    by = caller.named(command.by)

    def change(rotation: Rotation) -> Rotation:
        if command.expect_version is not None and rotation.outgoing[0] != command.expect_version:
            raise Refused(
                f"a rollback of {name} brings back v{rotation.outgoing[0]}, not v{command.expect_version}: "
                f"look at `keyturn status {name}`"
            )
        return commands.roll_back(rotation, by=by, why=command.reason)

    rotation = apply(daemon, name, change, by=by, what=f"rollback: {command.reason}", dry_run=command.dry_run)
    said = (
        f"{name}: v{rotation.outgoing[0]} {becomes(command)} what readers get again; "
        f"v{rotation.incoming} stays accepted until its users are back"
    )
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/force")
def force(name: str, daemon: TheDaemon, caller: Operator, command: ForceDisable) -> CommandResult:
    """Disable a named version although silence is not known."""
    by = caller.named(command.by)

    def change(rotation: Rotation) -> Rotation:
        return commands.force(rotation, serial=command.version, by=by, why=command.reason, final=command.final)

    what = f"force v{command.version}{' for good' if command.final else ''}: {command.reason}"
    rotation = apply(daemon, name, change, by=by, what=what, dry_run=command.dry_run)
    after = "no refused use brings it back" if command.final else "a refused use brings it back"
    said = f"{name}: v{command.version} {becomes(command)} disabled on the word of {by}; {after}"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/pause")
def pause(
    name: str,
    daemon: TheDaemon,
    caller: Operator,
    command: Annotated[PauseRotation, Body(default_factory=PauseRotation)],
) -> CommandResult:
    """Stop the rotation where it is; rollback and retreat still work."""
    by, now = caller.named(command.by), daemon.clock.now()

    def change(rotation: Rotation) -> Rotation:
        return commands.pause(rotation, by=by, why=command.reason, now=now, lasting=command.lasting)

    rotation = apply(daemon, name, change, by=by, what=f"pause: {command.reason}", dry_run=command.dry_run)
    until = f"{now + command.lasting:%Y-%m-%d %H:%M:%S} UTC"
    said = f"{name}: {becomes(command)} paused in {rotation.phase} until {until}; from then on it pages"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


@router.post("/resume")
def resume(
    name: str, daemon: TheDaemon, caller: Operator, command: Annotated[Command, Body(default_factory=Command)]
) -> CommandResult:
    """End a pause, a latched hold or a halt."""
    by = caller.named(command.by)
    rotation = apply(daemon, name, commands.resume, by=by, what="resume", dry_run=command.dry_run)
    said = f"{name}: {'would go on' if command.dry_run else 'goes on'} in {rotation.phase}"
    return CommandResult(said=said, dry_run=command.dry_run, rotation=rotation_view(rotation))


def becomes(command: Command) -> str:
    """What the command does to its subject, or would do."""
    return "would be" if command.dry_run else "is to be"


def apply(
    daemon: Daemon, name: str, change: Callable[[Rotation], Rotation], *, by: str, what: str, dry_run: bool
) -> Rotation:
    """The live rotation after a command, which the clock acts on at once; on a dry run as it would be. Raises `Refused`."""
    check_name(daemon, name)
    rotation = daemon.runtime.command(name, change, by=by, what=what, dry_run=dry_run)
    if not dry_run:
        daemon.wake(name)
    return rotation
