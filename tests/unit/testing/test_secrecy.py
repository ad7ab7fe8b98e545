"""The kit finds leaks: what the secrecy clauses rely on."""

import base64
import hashlib
import json
import logging
from urllib.parse import quote

import pytest

from keyturn.domain.errors import Denied
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded

VALUE = 's3cr3t "quoted"/+%'


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        json.dumps({"a": VALUE}),
        f"?q={quote(VALUE, safe='')}",
        base64.b64encode(VALUE.encode()).decode(),
        hashlib.sha1(VALUE.encode()).hexdigest(),  # noqa: S324
        hashlib.sha256(VALUE.encode()).hexdigest(),
    ],
)
def test_value_is_found_in_every_disguise(text: str) -> None:
    """Plain, escaped, encoded or hashed: a leak is found, and its report does not show it."""
    (line, *_) = find_leaks([VALUE], ["harmless", f"before {text} after"])
    assert VALUE not in line
    assert find_leaks([VALUE], ["harmless"]) == []


def test_logs_are_recorded_with_their_arguments_and_tracebacks() -> None:
    """Records at DEBUG of quiet libraries too, and levels are as before afterwards."""
    library = logging.getLogger("urllib3")
    level = library.level
    library.setLevel(logging.ERROR)
    with logs_recorded() as logs:
        library.debug("body %s", VALUE)
        try:
            int(VALUE)
        except ValueError:
            logging.getLogger("anything").exception("failed")
    assert len(find_leaks([VALUE], logs)) >= 2
    assert library.level == logging.ERROR
    library.setLevel(level)


def test_causes_of_an_error_count() -> None:
    """A failure that is harmless itself leaks through a cause that is printed with it, and not through one that is
    suppressed."""

    def leaking() -> None:
        try:
            int(VALUE)
        except ValueError as error:
            raise Denied("no") from error

    def discreet() -> None:
        try:
            int(VALUE)
        except ValueError:
            raise Denied("no") from None

    assert find_leaks([VALUE], attempt(leaking))
    assert not find_leaks([VALUE], attempt(discreet))
