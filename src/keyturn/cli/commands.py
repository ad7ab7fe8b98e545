"""What an operator may ask of the daemon."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from keyturn.cli.connection import Connection
from keyturn.cli.failures import CommandFailed
from keyturn.cli.output import show_json, show_line
from keyturn.cli.parameters import AsJson, Config, DryRun, Expected, Name, ReasonText, TokenFile, Url, daemon_at


def rotate(
    name: Name,
    reason: ReasonText = "asked for",
    expect_version: Expected = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Start a rotation now."""
    body = {"reason": reason, "expect_version": expect_version, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "rotate", body, as_json=as_json)


def rollback(
    name: Name,
    reason: ReasonText = "asked for",
    expect_version: Expected = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Give readers the old version again."""
    body = {"reason": reason, "expect_version": expect_version, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "rollback", body, as_json=as_json)


def force(
    name: Name,
    version: Annotated[int, typer.Option("--version", metavar="N", help="The version to disable.")],
    reason: ReasonText,
    final: Annotated[bool, typer.Option("--final", help="No refused use brings it back.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Disable a named version although silence is not known."""
    body = {"reason": reason, "version": version, "final": final, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "force", body, as_json=as_json)


def pause(
    name: Name,
    reason: ReasonText = "asked for",
    lasting: Annotated[str, typer.Option("--for", metavar="LENGTH", help="How long, as 30m or 24h.")] = "24h",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Stop a rotation where it is; rollback still works."""
    body = {"reason": reason, "lasting": lasting, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "pause", body, as_json=as_json)


def resume(
    name: Name,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """End a pause, a latched hold or a halt."""
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "resume", {"dry_run": dry_run}, as_json=as_json)


def emergency(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The credentials, as many as have leaked.")],
    reason: ReasonText,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="The version that is compromised; needed if several can be meant."),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="LENGTH", help="How long it stays accepted after the last promote, as 5m."),
    ] = None,
    cut_now: Annotated[bool, typer.Option("--cut-now", help="Disable it at once, whoever still uses it.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Report a version compromised, and rotate away from it."""
    if version is not None and len(names) > 1:
        raise typer.BadParameter("a version is one credential's: give --version with one NAME")
    body = {"reason": reason, "version": version, "grace": grace, "cut_now": cut_now, "dry_run": dry_run}
    done, refused = [], []
    with daemon_at(config, url, token_file) as daemon:
        for name in names:
            # One that is refused must not keep the others waiting.
            try:
                done.append(_ask(daemon, name, "emergency", body))
            except CommandFailed as failure:
                refused.append(failure)
                continue
            if not as_json:
                show_line(done[-1]["said"])
    if as_json:
        show_json(done)
    if refused:
        raise CommandFailed("\n".join(map(str, refused)), max(failure.code for failure in refused))


def accept(
    name: Name,
    reason: ReasonText,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="The target.")] = None,
    found: Annotated[
        str | None, typer.Option("--found", metavar="ID", help="The id of what is there, as the status names it.")
    ] = None,
    lost: Annotated[
        int | None, typer.Option("--lost", metavar="N", help="The version whose value is lost, instead.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Adopt what another's hand put at a target, or go on without a value that is lost."""
    body: dict[str, Any] = {"reason": reason, "dry_run": dry_run}
    if lost is not None and target is None and found is None:
        what, body = "accept-lost", {**body, "version": lost}
    elif lost is None and target is not None and found is not None:
        what, body = "accept", {**body, "target": target, "found": found}
    else:
        raise typer.BadParameter("give --target with --found, or --lost alone")
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, what, body, as_json=as_json)


def reassert(
    name: Name,
    target: Annotated[str, typer.Option("--target", metavar="T", help="The target.")],
    found: Annotated[
        str, typer.Option("--found", metavar="ID", help="The id of what is there now; '' where there is nothing.")
    ],
    reason: ReasonText,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Overwrite what another's hand put at a target."""
    body = {"target": target, "found": found, "reason": reason, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "reassert", body, as_json=as_json)


def abandon(
    name: Name,
    reason: ReasonText,
    expect_version: Expected = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Give up a rotation that cannot end; another takes over."""
    with daemon_at(config, url, token_file) as daemon:
        body = {"reason": reason, "expect_version": expect_version, "dry_run": dry_run}
        _command(daemon, name, "abandon", body, as_json=as_json)


def adopt(
    name: Name,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="CODE", help="Adopt what was shown under this code; nothing without it."),
    ] = None,
    reason: ReasonText = "asked for",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show what has become of a credential whose store was restored or lost, and take it up."""
    body = {"reason": reason, "confirm": confirm, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        result = _ask(daemon, name, "adopt", body)
    if as_json:
        show_json(result)
        return
    for line in result["found"]:
        show_line(f"  {line}")
    show_line(result["said"])


def dismiss(
    name: Name,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="The client, as `keyturn usage` names it.")],
    reason: ReasonText,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Declare a client gone, so that no rotation waits for it."""
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "dismiss", {"client": client, "reason": reason, "dry_run": dry_run}, as_json=as_json)


def ack(
    name: Name,
    reason: ReasonText,
    client: Annotated[
        str | None,
        typer.Argument(metavar="CLIENT", help="The client, as `keyturn usage` names it; without one: all are known."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="Refuse unless this is the version that clients are to move to."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Say for its owner that a client has moved to the new version, or that every client is known."""
    body = {"client": client, "version": version, "reason": reason, "dry_run": dry_run}
    with daemon_at(config, url, token_file) as daemon:
        _command(daemon, name, "acknowledgements", body, as_json=as_json)


COMMANDS: tuple[Callable[..., None], ...] = (
    rotate,
    emergency,
    rollback,
    force,
    pause,
    resume,
    accept,
    reassert,
    abandon,
    ack,
    dismiss,
    adopt,
)
"""In the order of the help."""


def _command(daemon: Connection, name: str, what: str, body: dict[str, Any], *, as_json: bool) -> None:
    result = _ask(daemon, name, what, body)
    if as_json:
        show_json(result)
    else:
        show_line(result["said"])


def _ask(daemon: Connection, name: str, what: str, body: dict[str, Any]) -> Any:
    return daemon.post(f"/v1/credentials/{quote(name, safe='')}/{what}", {"by": _whoami(), **body})


def _whoami() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"
