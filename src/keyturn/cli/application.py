"""The commands and what they take."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer carries click inside, and shows no public name for it

from keyturn.cli.commands import COMMANDS
from keyturn.cli.connection import config_path
from keyturn.cli.failures import REFUSED, USAGE, CommandFailed
from keyturn.cli.output import show_line
from keyturn.cli.parameters import AsJson, Config, DryRun, Name, TokenFile, Url, daemon_at
from keyturn.domain.errors import ConfigError, KeyturnError

DEMO = "keyturn.demo.main"
SIMULATION = "keyturn.testing.simulation.main"
"""Imported by name at run time: the product depends neither on its demo nor on its simulator."""

application = typer.Typer(
    name="keyturn",
    help="Rotates credentials with nobody noticing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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

    with daemon_at(config, url, token_file) as daemon:
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

    with daemon_at(config, url, token_file) as daemon:
        show_history(daemon, name, limit=limit, as_json=as_json)


@application.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file that the backup becomes.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Copy the fingerprint key too, into a file of its own.")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Copy the store into a file, while the daemon runs or not."""
    from keyturn.cli import backups

    backups.backup(_needed(config), file, key=key, as_json=as_json)


@application.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="A copy of the fingerprint key, if that is lost too.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the store aside that is there, and put this in its place.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Make the store from a backup; nothing is done for any credential until it is adopted."""
    from keyturn.cli import backups

    backups.restore(_needed(config), file, key=key, replace=replace, dry_run=dry_run, as_json=as_json)


@application.command()
def usage(
    name: Name,
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=60 * 24 * 7, help="How far back counts go.")] = 60,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show who uses which version, how it goes, and how silent the old one is."""
    from keyturn.cli.usage import show_usage

    with daemon_at(config, url, token_file) as daemon:
        show_usage(daemon, name, minutes=minutes, as_json=as_json)


for command in COMMANDS:
    application.command()(command)


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


@application.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def simulate(context: typer.Context) -> None:
    """Hold the product's own code to its promises, under simulated faults."""
    raise typer.Exit(importlib.import_module(SIMULATION).main(list(context.args)))
