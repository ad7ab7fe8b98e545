"""Reads one line of a gateway's JSON access log as a presentation of a key, by DESIGN's rule of whose word counts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.domain.observations import UNMAPPED
from keyturn.plugins.gateway.log_options import AccessLogOptions
from keyturn.plugins.logs import Networks

_KID = re.compile(r"[A-Za-z0-9]{1,64}")
_ENTRY = re.compile(r"(?P<kid>[A-Za-z0-9]{1,64}):(?P<state>[a-z]+)")
_REFUSALS = frozenset({401, 403})
_LONGEST_NAME = 200
_LATEST = 253402300799999
"""The last millisecond that a date can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """One request in which a key was presented, or should have been."""

    key_id: str | None
    client: str
    success: bool
    matched: bool
    identified: bool
    probe: str
    """The mark's header as it came, ours or forged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that makes sense; `presentation` is None when it tells of no key."""

    at: int
    """Milliseconds since the epoch."""
    presentation: Presentation | None


class LineReader:
    """Reads lines by the options' fields."""

    def __init__(self, options: AccessLogOptions) -> None:
        self._fields = options.fields
        self._pattern = None if options.key_pattern is None else re.compile(options.key_pattern)
        self._client_field = options.client
        self._networks = Networks(options.clients)

    def read(self, line: bytes) -> LogLine | None:
        """The line's meaning; None when it has none."""
        try:
            # A client may send any byte: what is no UTF-8 must not make its line unreadable and so its use unseen.
            fields = json.loads(line.decode("utf-8", "replace"))
            at = _milliseconds(_field(fields, self._fields.time))
            status = int(_field(fields, self._fields.status))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return LogLine(at=at, presentation=self._presentation(fields, status)) if 0 <= at <= _LATEST else None

    def _presentation(self, fields: Mapping[str, object], status: int) -> Presentation | None:
        entry = _text(fields, self._fields.matched)
        parsed = _ENTRY.fullmatch(entry)
        # The verifier's own word goes before what a pattern found in the presented value.
        key_id = parsed["kid"] if parsed is not None else self._shown(fields)
        refused = status in _REFUSALS
        if self._fields.matched is not None:
            # Whatever the status came from (a client that hung up, an error), a value without an active entry is refused.
            refused = refused or (parsed["state"] != "active" if parsed is not None else not entry and bool(key_id))
        if key_id is None and not entry and not refused:
            return None
        client, identified = self._client(fields, matched=bool(entry))
        return Presentation(
            key_id=key_id,
            client=client,
            success=not refused,
            matched=bool(entry),
            identified=identified,
            probe=_text(fields, self._fields.probe),
        )

    def _shown(self, fields: Mapping[str, object]) -> str | None:
        shown = _text(fields, self._fields.key_id)
        if self._pattern is not None:
            found = self._pattern.search(shown)
            shown = "" if found is None else found["kid"] or ""
        return shown if _KID.fullmatch(shown) else None

    def _client(self, fields: Mapping[str, object], *, matched: bool) -> tuple[str, bool]:
        named = _printable(_text(fields, self._client_field.field)) if self._client_field is not None else ""
        if named and self._client_field is not None and self._client_field.identified:
            return named, True
        mapped = self._networks.name(_text(fields, self._fields.address))
        if mapped is not None:
            return mapped, True
        # A name that anyone may claim is worth something only from one who holds a key.
        return (named, False) if named and matched else (UNMAPPED, False)


def _printable(name: str) -> str:
    """A name from a header as a store and a terminal can take it."""
    return "".join(letter if letter.isprintable() else "�" for letter in name[:_LONGEST_NAME])


def _text(fields: Mapping[str, object], name: str | None) -> str:
    try:
        found = None if name is None else _field(fields, name)
    except (KeyError, TypeError):
        return ""
    if isinstance(found, list) and found:  # every header is a list to Caddy
        found = found[0]
    # "-" is what nginx and Envoy log for a header that is not there, outside JSON escaping.
    return found if isinstance(found, str) and found != "-" else ""


def _field(fields: Mapping[str, object], name: str) -> Any:
    """A field by its name; a dotted name leads into objects, unless a field is called just so."""
    if name in fields:
        return fields[name]
    found: Any = fields
    for part in name.split("."):
        found = found[part]
    return found


def _milliseconds(given: object) -> int:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return round(given * 1000)
    if not isinstance(given, str):
        raise TypeError("a time is a number or a text")
    try:
        return round(float(given) * 1000)
    except ValueError:
        pass
    at = datetime.fromisoformat(given)
    if at.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return round(at.timestamp() * 1000)
