"""A credential whose store was restored from a backup, or lost whole: what is there is shown, and taken up when it is
confirmed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from keyturn.api.access import Operator, TheDaemon
from keyturn.api.commands import Command, Text
from keyturn.api.reads import check_name

router = APIRouter(prefix="/v1/credentials/{name}", tags=["commands"])


class Adopt(Command):
    """Look, and confirm what was seen."""

    reason: Text = "asked for"
    confirm: Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")] | None = None
    """The code under which just this was shown; nothing is taken up without it."""


class AdoptResult(BaseModel):
    """What was found, and what has followed from it, or would follow."""

    said: str
    dry_run: bool
    found: list[str]
    code: str


@router.post("/adopt")
def adopt(
    name: str, daemon: TheDaemon, caller: Operator, command: Annotated[Adopt, Body(default_factory=Adopt)]
) -> AdoptResult:
    """Show what has become of a credential that the store does not know, or knows from a backup; with the code of that,
    take it up. Nothing outside is changed by it."""
    check_name(daemon, name)
    looking = command.confirm is None or command.dry_run
    by = caller.named(command.by)
    adoption = daemon.runtime.adopt(name, code=command.confirm, by=by, why=command.reason, dry_run=command.dry_run)
    if looking:
        said = f"{name}: when this is confirmed, {adoption.follows}: `keyturn adopt {name} --confirm {adoption.code}`"
    else:
        said = f"{name}: {adoption.follows}"
        daemon.wake(name)
    return AdoptResult(said=said, dry_run=looking, found=list(adoption.found), code=adoption.code)
