"""Logs: JSON, one line an event, and nothing secret in it, whoever logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from keyturn import logs
from keyturn.domain.secret_value import SecretValue

KEY = "kt_prod_abc123_" + "R" * 40 + "_0Az9x1"
SECRETS = [
    KEY,
    "ktok_" + "a" * 43,
    "hvs." + "A" * 24,
    "s." + "B" * 24,
    "whsec_c2VjcmV0IHZhbHVl",
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged, with everything as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_event_is_one_json_line(stream: io.StringIO) -> None:
    """Time, level, logger and what was given, readable by machines."""
    structlog.get_logger("keyturn.test").info("effect done", serial=7, targets=["a", "b"])
    (line,) = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "effect done",
        "serial": 7,
        "targets": ["a", "b"],
        "level": "info",
        "logger": "keyturn.test",
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_dropped(stream: io.StringIO, secret: str) -> None:
    """In the event, its keys and its values, however deep; by us and by others."""
    log = structlog.get_logger("keyturn.test")
    log.info(f"got {secret}!", plain=secret, nested={"a": [f"x={secret}&y"]}, object=ValueError(secret))
    log.info("key", **{secret: 1})
    logging.getLogger("other").warning("got %s", secret, extra={"more": secret})
    assert secret not in stream.getvalue()
    assert len(lines(stream)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "authorization: bearer hunter2hunter2",
        "X-Vault-Token: hunter2hunter2",
        "postgresql://keyturn:hunter2hunter2@db/keyturn",
    ],
)
def test_what_stands_where_secrets_stand_is_dropped(stream: io.StringIO, text: str) -> None:
    """Headers and URLs are known by what is before the secret."""
    structlog.get_logger("keyturn.test").info("sent", header=text)
    assert "hunter2" not in stream.getvalue()
    assert logs.PLACEHOLDER in stream.getvalue()


def test_secret_value_shows_as_a_placeholder(stream: io.StringIO) -> None:
    """By mistake, and only as that."""
    structlog.get_logger("keyturn.test").info("made", value=SecretValue("hunter2"), all=[SecretValue("hunter2")])
    assert "hunter2" not in stream.getvalue()


def test_exception_shows_type_and_place_alone(stream: io.StringIO) -> None:
    """Its words and its frames may hold values; also when a library logs it."""
    try:
        dict[str, str]()["hunter2"]
    except KeyError:
        structlog.get_logger("keyturn.test").exception("broke")
        logging.getLogger("uvicorn.error").exception("broke")
    for line in lines(stream):
        assert line["error_type"] == "builtins.KeyError"
        assert "test_logs.py" in line["raised_at"]
    assert len(lines(stream)) == 2
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "botocore.endpoint", "hvac.adapters", "uvicorn.error"])
def test_others_never_log_at_debug(stream: io.StringIO, name: str) -> None:
    """Even when someone turns their level down: bodies stand there."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.debug("body: hunter2")
    logger.warning("slow")
    logger.setLevel(before)
    assert [line["event"] for line in lines(stream)] == ["slow"]


def test_warnings_are_logged(stream: io.StringIO) -> None:
    """Python's own warnings take the same way."""
    logging.getLogger("py.warnings").warning("careful")
    assert [line["event"] for line in lines(stream)] == ["careful"]
