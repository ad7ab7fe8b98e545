"""What the usage source `access-log` reads from the configuration."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from keyturn.plugins.logs import ByNetwork
from keyturn.plugins.options import Duration, LastingDuration, Options


class LogFields(Options):
    """Which field of a line says what; a dotted name leads into objects. The defaults are those of our example gateway."""

    time: str = "epoch"
    """When the request ended: seconds since the epoch, or ISO 8601 with its offset."""
    key_id: str = "kid"
    """The public id, taken by pattern from what was presented; empty when nothing readable was. A gateway that cannot
    take it out logs the value's beginning here, and `key_pattern` does."""
    matched: str | None = "matched"
    """The table's entry for the whole presented value, `<kid>:<state>` or any word; empty when there is none. None for
    a log that does not tell: then nothing counts as matched."""
    status: str = "status"
    address: str = "remote_addr"
    probe: str | None = "probe"
    """The header `X-Keyturn-Probe`."""


class ClientField(Options):
    """Clients named by a field of the line: a certificate's subject, a header."""

    field: str
    identified: bool = False
    """Whether it proves who the client is: a certificate's subject does, a header that anyone can set does not."""


def _pattern(given: str) -> str:
    try:
        groups = re.compile(given).groupindex
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if "kid" not in groups:
        raise ValueError("name the group that is the public id: (?P<kid>[A-Za-z0-9]+)")
    return given


class AccessLogOptions(Options):
    """Options of the usage source `access-log`."""

    files: tuple[Path, ...] = Field(min_length=1)
    """One log a node, as the node writes it; rotated siblings (`access.log.1`, `access.log-20260101`,
    `access-2026-01-01T00-00-00.000.log`) are found beside it. What stands here too is none, nor what is rotated out of that:
    so name every log of a folder whose name could be a rotated one's (`access.443.log`)."""
    fields: LogFields = LogFields()
    clients: ByNetwork = Field(default_factory=dict)
    """Client names by address or network; the narrowest network decides."""
    client: ClientField | None = None
    key_pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    """A regular expression that finds the public id, as its group `kid`, in the field `key_id`."""
    resolution: LastingDuration = timedelta(seconds=10)
    lag: Duration = timedelta(seconds=1)
    """How late a line may be written after the time that it bears: longer than the log's buffer, where it has one."""
    probe_secret: str | None = None
    accept_gaps_before: AwareDatetime | None = None
    """Lines lost before this time are taken as if they had never been: an operator's word, after a log was rotated away
    or cut before it was read."""
