"""Logs: one JSON object a line on stderr, from us and from the libraries under us, with nothing secret in it."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from keyturn.domain.secret_value import SecretValue

PLACEHOLDER = "[redacted]"

SECRETS = re.compile(
    r"""
    kt_[a-z0-9]+_[A-Za-z0-9]+_[A-Za-z0-9]{16,}(?:_[0-9A-Za-z]+)?   # an API key of ours
    | ktok_[A-Za-z0-9_-]+                                          # an access token of ours
    | whsec_[A-Za-z0-9+/=_-]+                                      # a webhook secret (Standard Webhooks)
    | \b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}                      # a token of Vault or OpenBao
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                              # user and password in a URL
    | (?i:(?<=bearer\s)|(?<=x-vault-token:\s)|(?<=x-api-key:\s))[^\s"',]+
    """,
    re.VERBOSE,
)

CHATTY = (
    "alembic",
    "apscheduler",
    "asyncio",
    "boto3",
    "botocore",
    "hvac",
    "requests",
    "sqlalchemy",
    "urllib3",
    "uvicorn",
)
"""Libraries that say little of use, and whole requests at DEBUG."""

OWN = "keyturn"


def configure(*, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Route everything that is logged in this process to one handler."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        places_of_errors,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            structlog.processors.JSONRenderer(default=repr, ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_without_bodies)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
        logging.getLogger(name).propagate = True
    # It warns when a tick is skipped because the last one still runs, which is what it was told to do.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _without_bodies(record: logging.LogRecord) -> bool:
    """Others' DEBUG records hold requests and responses: they pass at no level that anyone may set."""
    return record.levelno > logging.DEBUG or record.name.split(".", 1)[0] == OWN


def places_of_errors(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception is logged by its type and place: its message and its frames may hold values."""
    del logger, method
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event.update(place_of(error))
    event.pop("stack_info", None)
    return event


def place_of(error: BaseException) -> dict[str, str]:
    """The type of an exception, where it was raised, and which line of ours led there."""
    frames = traceback.extract_tb(error.__traceback__)
    found = {"error_type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if frames:
        found["raised_at"] = _line(frames[-1])
        ours = [frame for frame in frames if f"/{OWN}/" in frame.filename]
        if ours and ours[-1] is not frames[-1]:
            found["called_at"] = _line(ours[-1])
    return found


def _line(frame: traceback.FrameSummary) -> str:
    parts = Path(frame.filename).parts
    return f"{'/'.join(parts[-3:])}:{frame.lineno} in {frame.name}"


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Takes out what looks like a secret, wherever in the event it stands."""
    del logger, method
    return {SECRETS.sub(PLACEHOLDER, key): _clean(value) for key, value in event.items()}


def _clean(value: object) -> object:
    if isinstance(value, SecretValue):
        return PLACEHOLDER
    if isinstance(value, str):
        return SECRETS.sub(PLACEHOLDER, value)
    if isinstance(value, Mapping):
        return {str(_clean(str(key))): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return SECRETS.sub(PLACEHOLDER, str(value))
