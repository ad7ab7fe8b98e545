"""`keyturn history`: the trail, as a person would tell it."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

from keyturn.cli.connection import Connection
from keyturn.cli.output import moment, show_json, show_line
from keyturn.domain.reasons import MEANING, Reason

REPORT = re.compile(r"emergency (v\d+): (.*)")
OPENINGS = {
    "started": "began",
    "hold": "stopped and called for someone",
    "halt": "halted and called for someone",
    "deadline": "was over its time",
    "released": "went on: no longer",
    "left_out": "went on without a target",
    "taken_in": "went on with another target",
    "revoke": "revoked a key before it made its own",
}


def show_history(daemon: Connection, name: str, *, limit: int, as_json: bool) -> None:
    """Print the newest lines of a credential's trail, oldest first."""
    entries = daemon.get(f"/v1/credentials/{quote(name, safe='')}/history", limit=limit)
    if as_json:
        show_json(entries)
        return
    if not entries:
        show_line(f"{name}: nothing has happened yet")
        return
    rotation = None
    for entry, following in zip_longest(entries, entries[1:]):
        if entry["rotation"] != rotation:
            rotation = entry["rotation"]
            show_line(f"Rotation {rotation}" if rotation else "Before any rotation", bold=True)
        show_line(f"  {moment(entry['at'])}  {told(entry, following)}")


def told(entry: dict[str, Any], following: dict[str, Any] | None = None) -> str:
    """One line of the trail as a sentence. A rotation that gives way has its successor in the line that follows: both
    are written at once."""
    kind, phase, by, detail = entry["kind"], entry["phase"], entry["by"], entry["detail"]
    if kind == "command":
        return f"in {phase}, {by} {_commanded(detail)}" if entry["rotation"] else f"{by} {_commanded(detail)}"
    if kind == "started" and not REPORT.fullmatch(detail):
        return f"{by} began it: {detail.removesuffix(': ')}" if detail else f"{by} began it"
    if kind == "started":
        return f"{by} {_commanded(detail)}"
    why = _meaning(entry["reason"])
    said = f"{why} ({detail})" if detail else why
    if kind == "transition" and phase == "superseded":
        successor = "another rotation" if following is None else following["rotation"]
        return f"gave way to {successor}: {said}"
    if kind == "transition":
        return f"→ {phase}: {said}"
    return f"in {phase}, {OPENINGS.get(kind, kind)}: {said}"


def _commanded(detail: str) -> str:
    """What somebody asked for, in their own words after the colon."""
    report = REPORT.fullmatch(detail)
    return f"reported {report[1]} compromised: {report[2]}" if report is not None else f"commanded {detail}"


def _meaning(reason: str) -> str:
    """The reason in words; one that this version does not know, as it is."""
    try:
        return MEANING[Reason(reason)].rstrip(".")
    except ValueError:
        return reason
