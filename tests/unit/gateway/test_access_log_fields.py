"""Lines of other gateways than our example: dotted fields, headers that are lists, key ids by pattern, clients by header
or certificate."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.plugins.gateway.log_lines import LineReader
from keyturn.plugins.gateway.log_options import AccessLogOptions
from keyturn.plugins.options import read_options

CADDY = Path(__file__).with_name("caddy_access.log")
"""Written by Caddy 2.11.7: a `map` finds the entry of the whole value and, by a pattern, its key id, `log_append` logs
both, and a `filter` leaves all headers out."""


def reader(**options: object) -> LineReader:
    return LineReader(read_options(AccessLogOptions, {"files": ["access.log"], **options}, where="test"))


def test_caddys_log_is_read() -> None:
    """Every line of the recording: a key that matched, one that only looks like it, one that is disabled, two without."""
    lines = reader(
        fields={"time": "ts", "address": "request.client_ip"},
        clients={"127.0.0.11": "checkout", "127.0.0.12": "batch"},
    )
    read = [lines.read(line) for line in CADDY.read_bytes().splitlines()]
    assert None not in read
    told = [line for line in read if line is not None]
    assert datetime.fromtimestamp(told[0].at / 1000, UTC) == datetime(2026, 11, 25, 15, 0, 27, 969_000, tzinfo=UTC)
    shown = [one.presentation for one in told]
    assert [(one.key_id, one.client, one.success, one.matched, one.identified) for one in shown if one is not None] == [
        ("kid7", "checkout", True, True, True),
        ("kid7", "batch", False, False, True),
        ("kid8", "batch", False, True, True),
        (None, "unmapped", False, False, False),
        (None, "unmapped", False, False, False),
    ]


@pytest.mark.parametrize(
    ("presented", "key_id"),
    [
        ("Bearer kt_live_abc123_xyz", "abc123"),
        (["kt_live_abc123_xyz"], "abc123"),
        ("kt_live__xyz", None),
        ("abc123", None),
        ([], None),
        (None, None),
        (7, None),
    ],
)
def test_key_id_is_found_by_its_pattern(presented: object, key_id: str | None) -> None:
    """Wherever it stands in what was presented; what the pattern does not find is no key id."""
    lines = reader(
        fields={"key_id": "request.headers.X-Api-Key", "matched": None},
        key_pattern=r"kt_[a-z]+_(?P<kid>[A-Za-z0-9]+)_",
    )
    line = {"epoch": 1.5, "status": 401, "request": {"headers": {"X-Api-Key": presented}}}
    read = lines.read(json.dumps(line).encode())
    assert read is not None
    assert read.presentation is not None
    assert read.presentation.key_id == key_id


def test_field_with_a_dot_in_its_name_comes_first() -> None:
    """A flat log whose names have dots is read as it is."""
    lines = reader(fields={"address": "client.ip"}, clients={"10.0.0.1": "flat", "10.0.0.2": "nested"})
    line = {"epoch": 1, "status": 200, "matched": "k:active", "client": {"ip": "10.0.0.2"}}
    counts = Counter[str]()
    for fields in (line, {**line, "client.ip": "10.0.0.1"}):
        read = lines.read(json.dumps(fields).encode())
        assert read is not None
        assert read.presentation is not None
        counts[read.presentation.client] += 1
    assert counts == {"nested": 1, "flat": 1}


def test_client_is_named_by_a_nested_certificate() -> None:
    """A certificate's name identifies whatever the key; a header's name counts for one who holds a key alone."""
    line = {"epoch": 1, "status": 401, "kid": "k", "matched": "", "request": {"tls": {"client_common_name": "pay"}}}
    for identified, expected in ((True, ("pay", True)), (False, ("unmapped", False))):
        lines = reader(client={"field": "request.tls.client_common_name", "identified": identified})
        read = lines.read(json.dumps(line).encode())
        assert read is not None
        assert read.presentation is not None
        assert (read.presentation.client, read.presentation.identified) == expected


@pytest.mark.parametrize(("pattern", "said"), [("(", "no regular expression"), ("kt_([a-z]+)_", r"\(\?P<kid>")])
def test_pattern_that_finds_nothing_is_refused(pattern: str, said: str) -> None:
    """When the configuration is read, with the key that is wrong."""
    with pytest.raises(ConfigError, match=f"key_pattern: .*{said}"):
        reader(key_pattern=pattern)
