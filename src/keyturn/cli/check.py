"""`keyturn check`: what can be found without rotating."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import typer

from keyturn.app.checkup import Finding, inside, outside
from keyturn.app.clock import ThreadExecutor
from keyturn.app.wiring import close, wire
from keyturn.cli.connection import Where, connect
from keyturn.cli.failures import REFUSED, CommandFailed
from keyturn.cli.output import show_json, show_line, show_table
from keyturn.config import json_schema, load_config


def show_schema() -> None:
    """The configuration's JSON Schema."""
    show_json(json_schema())


def check(path: Path, *, as_json: bool, offline: bool) -> None:
    """Read the configuration, ask everything that it names (unless `offline`), print what is found. Exits with 1 when a
    rotation could not work; raises `ConfigError` when the configuration itself is wrong."""
    config = load_config(path)
    registry = wire(config)
    executor = ThreadExecutor()
    try:
        findings = inside(config, registry)
        if not offline:
            findings += [*outside(registry, executor), *_history(path)]
    finally:
        executor.close()
        close(registry)
    serious = [finding for finding in findings if finding.serious]
    if as_json:
        show_json(
            {
                "ok": not serious,
                "findings": [
                    {
                        "severity": "problem" if finding.serious else "warning",
                        "subject": finding.subject,
                        "message": finding.message,
                    }
                    for finding in findings
                ],
            }
        )
    else:
        parts = len(registry.backends) + len(registry.authorities) + len(registry.sources)
        asked = "nothing outside asked" if offline else f"{_counted(parts, 'part')} asked"
        fine = "the configuration holds together" if offline else "a rotation can work"
        verdict = _counted(len(serious), "problem") if serious else fine
        show_line(f"{path}: sound; {_counted(len(registry.credentials), 'credential')}, {asked}: {verdict}")
        rows = [("problem" if finding.serious else "warning", finding.subject, finding.message) for finding in findings]
        show_table("Found", ["severity", "about", "what, and the mend"], rows)
    if serious:
        raise typer.Exit(REFUSED)


def _history(path: Path) -> list[Finding]:
    """What the daemon's history tells, where one runs: it alone may open its store."""
    try:
        with closing(connect(Where(config=path, url=None, token_file=None))) as daemon:
            found = daemon.get("/v1/findings")
    except CommandFailed:
        return []
    return [Finding(subject=one["subject"], message=one["message"], serious=False) for one in found]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
