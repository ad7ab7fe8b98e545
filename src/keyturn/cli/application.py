"""The commands and what they take."""

from __future__ import annotations

import getpass
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from typer._click.exceptions import ClickException  # typer carries click inside, and shows no public name for it

from keyturn.cli.connection import Connection, Where, config_path, connect
from keyturn.cli.failures import REFUSED, USAGE, CommandFailed
from keyturn.cli.output import show_json, show_line
from keyturn.domain.errors import ConfigError, KeyturnError

DEMO = "keyturn.demo.main"
"""Imported by name at run time: the product does not depend on its demo."""

application = typer.Typer(
    name="keyturn",
    help="Rotates credentials with nobody noticing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The credential.")]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration file. [env: KEYTURN_CONFIG]", metavar="FILE")
]
Url = Annotated[str | None, typer.Option("--url", help="Where the daemon answers. [env: KEYTURN_URL]")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="The operator's token. [env: KEYTURN_TOKEN_FILE]", metavar="FILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
Expected = Annotated[
    int | None,
    typer.Option("--expect-version", metavar="N", help="Refuse unless this is the version that it concerns."),
]
ReasonText = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes on record.")]


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Whatever goes wrong is one clear line."""
    try:
        code = application(arguments, prog_name="keyturn", standalone_mode=False)
    except ClickException as error:
        return _fail(f"{error.format_message().rstrip('.')}. See `keyturn --help`.", USAGE)
    except CommandFailed as failure:
        return _fail(str(failure), failure.code)
    except ConfigError as error:
        return _fail(str(error), USAGE)
    except KeyturnError as error:
        return _fail(str(error), REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        typer.secho(f"keyturn: {line}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    return code


@contextmanager
def _daemon(config: Path | None, url: str | None, token_file: Path | None) -> Iterator[Connection]:
    connection = connect(Where(config=config, url=url, token_file=token_file))
    try:
        yield connection
    finally:
        connection.close()


def _needed(config: Path | None) -> Path:
    path = config_path(config)
    if path is None:
        raise CommandFailed("which configuration? give --config FILE, or set KEYTURN_CONFIG", USAGE)
    return path


@application.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if show_version:
        show_line(f"keyturn {installed_version('keyturn')}")
        raise typer.Exit


@application.command()
def serve(config: Config = None) -> None:
    """Run the daemon, until SIGTERM or SIGINT."""
    from keyturn import app, logs
    from keyturn.config import load_config

    loaded = load_config(_needed(config))
    logs.configure()

    def announce(line: str) -> None:
        show_line(line)
        sys.stdout.flush()

    app.serve(loaded, announce=announce)


@application.command()
def check(
    config: Config = None,
    as_json: AsJson = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the configuration's JSON Schema.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing outside: the configuration alone.")] = False,
) -> None:
    """Find what can be found without rotating."""
    from keyturn.cli import check as checking

    if schema:
        checking.show_schema()
    else:
        checking.check(_needed(config), as_json=as_json, offline=offline)


@application.command()
def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The credential; all without one.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds.")] = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Say what blocks and when it can clear, then show what that rests on."""
    from keyturn.cli.status import show_status

    with _daemon(config, url, token_file) as daemon:
        show_status(daemon, name, as_json=as_json, watch=watch)


@application.command()
def history(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many lines.")] = 1000,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Tell what has happened to a credential."""
    from keyturn.cli.history import show_history

    with _daemon(config, url, token_file) as daemon:
        show_history(daemon, name, limit=limit, as_json=as_json)


@application.command()
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
    with _daemon(config, url, token_file) as daemon:
        _command(daemon, name, "rotate", body, as_json=as_json)


@application.command()
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
    with _daemon(config, url, token_file) as daemon:
        _command(daemon, name, "rollback", body, as_json=as_json)


@application.command()
def force(
    name: Name,
    version: Annotated[int, typer.Option("--version", metavar="N", help="The version to disable.")],
    reason: ReasonText,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Disable a named version although silence is not known."""
    body = {"reason": reason, "version": version, "dry_run": dry_run}
    with _daemon(config, url, token_file) as daemon:
        _command(daemon, name, "force", body, as_json=as_json)


@application.command()
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
    with _daemon(config, url, token_file) as daemon:
        _command(daemon, name, "pause", body, as_json=as_json)


@application.command()
def resume(
    name: Name,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """End a pause, a latched hold or a halt."""
    with _daemon(config, url, token_file) as daemon:
        _command(daemon, name, "resume", {"dry_run": dry_run}, as_json=as_json)


def _command(daemon: Connection, name: str, what: str, body: dict[str, Any], *, as_json: bool) -> None:
    result = daemon.post(f"/v1/credentials/{quote(name, safe='')}/{what}", {"by": _whoami(), **body})
    if as_json:
        show_json(result)
    else:
        show_line(result["said"])


def _whoami() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"


@application.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def demo(context: typer.Context) -> None:
    """Watch real credentials rotate on real parts under live traffic."""
    try:
        entry = importlib.import_module(DEMO)
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"the demo needs {error.name}, which is not installed: pip install 'keyturn[demo]'", USAGE
        ) from None
    raise typer.Exit(entry.main(list(context.args)))
