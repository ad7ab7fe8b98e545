"""Looks for secret values where they must not be (promise P6)."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from keyturn.domain.errors import Failure

CHATTY = ("boto3", "botocore", "hvac", "requests", "urllib3")
"""Libraries under our plugins that log requests at DEBUG."""


def disguises(value: str) -> dict[str, str]:
    """The value as it may show up in a text, by the name of the disguise."""
    raw = value.encode()
    return {
        "plain": value,
        "JSON": json.dumps(value)[1:-1],
        "repr": repr(value)[1:-1],
        "URL": quote(value, safe=""),
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "SHA-1": hashlib.sha1(raw, usedforsecurity=False).hexdigest(),
        "SHA-256": hashlib.sha256(raw).hexdigest(),
    }


def find_leaks(values: Iterable[str], texts: Iterable[str]) -> list[str]:
    """One line for each value that shows in a text; the line names the disguise and never the value."""
    found = []
    for number, text in enumerate(texts):
        for which, value in enumerate(values):
            found += [
                f"value {which} shows as {name} in text {number}"
                for name, hit in disguises(value).items()
                if hit in text
            ]
    return found


def texts_of_error(error: BaseException) -> list[str]:
    """What an error would show to whoever prints or logs it, its causes included."""
    return [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]


class LogRecorder(logging.Handler):
    """Keeps every record as text, arguments and tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{self.format(record)} {record.args!r}")


@contextmanager
def logs_recorded() -> Iterator[list[str]]:
    """Everything that is logged meanwhile, at DEBUG, also by the libraries under the plugins."""
    recorder = LogRecorder()
    loggers = [logging.getLogger(name) for name in (None, *CHATTY)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(recorder)
    try:
        yield recorder.texts
    finally:
        logging.getLogger().removeHandler(recorder)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def attempt(call: Callable[[], object]) -> list[str]:
    """Make a call that may fail; returns what its result or its failure shows."""
    try:
        result = call()
    except Failure as failure:
        return texts_of_error(failure)
    return [repr(result), str(result)]
