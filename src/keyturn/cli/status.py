"""`keyturn status`: first what blocks and when it can clear, then what that rests on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from keyturn.cli.connection import Connection
from keyturn.cli.failures import CommandFailed
from keyturn.cli.output import Row, moment, plain_table, rich_table, show_json, show_line, versions

EVERY = 2.0
"""Seconds between two looks of `--watch`."""

Tables = list[tuple[str, list[str], list[Row]]]


def show_status(daemon: Connection, name: str | None, *, as_json: bool, watch: bool) -> None:
    """Print the status of one credential, or of all; again and again with `watch`."""

    def look() -> Any:
        return daemon.get("/v1/credentials" if name is None else f"/v1/credentials/{quote(name, safe='')}/status")

    if not watch:
        content = look()
        if as_json:
            show_json(content)
        else:
            _print(content)
        return
    _watch(look, as_json=as_json)


def _watch(look: Callable[[], Any], *, as_json: bool) -> None:
    """A living view in a terminal; in a pipe, each change once."""
    content = look()
    if sys.stdout.isatty() and not as_json:
        with Live(_rendered(content), console=Console(), auto_refresh=False, screen=False) as live:
            while True:
                time.sleep(EVERY)
                live.update(_looked(look), refresh=True)
    said = ""
    while True:
        line = json.dumps(content, ensure_ascii=False) if as_json else headline_of(content)
        if line != said:
            show_line(line)
            sys.stdout.flush()
            said = line
        time.sleep(EVERY)
        try:
            content = look()
        except CommandFailed as failure:
            content = {"headline": str(failure)}


def _looked(look: Callable[[], Any]) -> RenderableType:
    """A daemon that restarts is waited for: the view says so meanwhile."""
    try:
        return _rendered(look())
    except CommandFailed as failure:
        return Text(str(failure), style="red")


def _rendered(content: Any) -> RenderableType:
    tables = [rich_table(title, header, rows) for title, header, rows in tables_of(content) if rows]
    return Group(Text(headline_of(content), style="bold"), *tables)


def _print(content: Any) -> None:
    if sys.stdout.isatty():
        Console().print(_rendered(content))
        return
    show_line(headline_of(content))
    for title, header, rows in tables_of(content):
        if rows:
            show_line(plain_table(title, header, rows))


def headline_of(content: Any) -> str:
    """The first line."""
    if isinstance(content, dict):
        return str(content["headline"])
    alarms = []
    compromised = [item for item in content if item["compromised"]]
    if compromised:
        which = ", ".join(f"{item['name']} ({versions(item['compromised'])})" for item in compromised)
        alarms.append(f"EMERGENCY, compromised: {which}")
    troubled = [item["name"] for item in content if item["trouble"] is not None]
    if troubled:
        alarms.append(f"nothing can be done for {', '.join(troubled)}")
    if alarms:
        return f"{'; '.join(alarms)}; see `keyturn status NAME`"
    rotating = [item for item in content if item["phase"] is not None]
    standing = [item for item in rotating if item["standing_still"] is not None]
    if standing:
        which = ", ".join(f"{item['name']} ({item['standing_still']})" for item in standing)
        return f"stands still: {which}; see `keyturn status NAME`"
    if rotating:
        which = ", ".join(f"{item['name']} (in {item['phase']})" for item in rotating)
        return f"rotating: {which}; nothing stands still"
    return f"{len(content)} credential{'' if len(content) == 1 else 's'}, none rotating"


def tables_of(content: Any) -> Tables:
    """What stands below the first line."""
    return _detail(content) if isinstance(content, dict) else _overview(content)


def _overview(content: list[dict[str, Any]]) -> Tables:
    rows: list[Row] = [
        (
            item["name"],
            None if item["current"] is None else f"v{item['current']}",
            item["phase"],
            item["standing_still"] if item["trouble"] is None else "nothing can be done",
            versions(item["compromised"]),
            moment(item["due_at"]),
        )
        for item in content
    ]
    return [("Credentials", ["name", "current", "phase", "stands still", "compromised", "next due"], rows)]


def _detail(status: dict[str, Any]) -> Tables:
    tables: Tables = []
    rotation, seen = status.get("rotation"), status.get("seen")
    if rotation is not None:
        tables.append(("Rotation", ["what", "is"], _rotation(rotation)))
    rows: list[Row] = [
        (
            f"v{version['serial']}",
            version["state"],
            version["key_id"],
            None if version["compromised_at"] is None else "COMPROMISED",
            moment(version["compromised_at"]),
            moment(version["cut_at"]),
        )
        for version in status.get("versions", [])
        if version["state"] != "destroyed" or rotation is not None
    ]
    tables.append(("Versions", ["version", "state", "key id", "mark", "reported", "cut off at"], rows))
    return tables + (_seen(seen) if seen is not None else [])


def _rotation(rotation: dict[str, Any]) -> list[Row]:
    pause = rotation["pause"]
    rows: list[Row] = [
        ("id", rotation["id"]),
        ("from, to", f"{versions(rotation['outgoing'])} → v{rotation['incoming']}"),
        ("phase", rotation["phase"]),
        ("since", f"{moment(rotation['entered_at'])} ({rotation['cause']})"),
        ("started", f"{moment(rotation['started_at'])} by {rotation['started_by']}"),
    ]
    if rotation["supersedes"] is not None:
        rows.append(("takes over from", rotation["supersedes"]))
    if rotation["adopting"] is not None:
        rows.append((f"v{rotation['incoming']} is", f"what was found under the id {rotation['adopting']}"))
    rows += [
        (f"v{version['serial']} compromised", f"reported by {version['reported']}")
        for version in rotation["versions"]
        if version["reported"] is not None
    ]
    rows += [(f"v{serial} forced", f"on the word of {who}") for serial, who in rotation["forced"].items()]
    rows += [(f"v{serial} lost", f"accepted by {who}") for serial, who in rotation["waived"].items()]
    if rotation["retreats"]:
        rows.append(("retreats", rotation["retreats"]))
    if pause is not None:
        rows.append(("paused", f"by {pause['by']} until {moment(pause['until'])}: {pause['why']}"))
    stands = [(kind, rotation[kind]) for kind in ("hold", "halted") if rotation[kind] is not None]
    return rows + [(kind, f"since {moment(hold['since'])}: {hold['detail']}") for kind, hold in stands]


def _seen(seen: dict[str, Any]) -> Tables:
    targets: list[Row] = [
        (
            target["name"],
            target["serving"],
            None if target["version"] is None else f"v{target['version']}",
            target["id"],
            None if target["copies"] is None else versions(target["copies"]),
        )
        for target in seen["targets"]
    ]
    verifiers: list[Row] = [
        (verifier["name"], f"v{serial}", acceptance, verifier["entries"].get(serial))
        for verifier in seen["verifiers"]
        for serial, acceptance in verifier["acceptance"].items()
    ]
    clients = [row for client in seen["clients"] for row in _client(client)]
    sources: list[Row] = [
        (
            source["name"],
            source["kind"],
            source["sees_failures"],
            moment(source["watermark"]),
            source["trouble"] or None,
        )
        for source in seen["sources"]
    ]
    return [
        ("Targets", ["target", "readers get", "version", "id", "our copies"], targets),
        ("Verifiers", ["verifier", "version", "probed", "listed"], verifiers),
        ("Clients", ["client", "version", "last use", "last success", "last refusal", "by word"], clients),
        ("Usage sources", ["source", "kind", "sees failures", "complete up to", "trouble"], sources),
    ]


def _client(client: dict[str, Any]) -> list[Row]:
    """A row for each version that it used; a client that was never seen is waited for too."""
    word = client["word"] or None
    if not client["last_use"]:
        return [(client["name"], None, "never", None, None, word)]
    return [
        (
            client["name"],
            f"v{serial}",
            moment(used),
            moment(client["last_success"].get(serial)),
            moment(client["last_refusal"].get(serial)),
            word,
        )
        for serial, used in client["last_use"].items()
    ]
