"""`keyturn check`: what can be found without rotating."""

from __future__ import annotations

from pathlib import Path

import typer

from keyturn.app.checkup import inside, outside
from keyturn.app.clock import ThreadExecutor
from keyturn.app.wiring import close, wire
from keyturn.cli.failures import REFUSED
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
        findings = [*inside(config, registry), *([] if offline else outside(registry, executor))]
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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
