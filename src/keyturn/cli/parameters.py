"""What several commands take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli.connection import Connection, Where, connect

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


@contextmanager
def daemon_at(config: Path | None, url: str | None, token_file: Path | None) -> Iterator[Connection]:
    """The daemon that the command line names; the connection is given back at the end."""
    connection = connect(Where(config=config, url=url, token_file=token_file))
    try:
        yield connection
    finally:
        connection.close()
