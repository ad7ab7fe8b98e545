"""Lengths of time in a plugin's options."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.plugins.options import read_duration


@pytest.mark.parametrize(
    ("given", "length"),
    [
        (0, timedelta(0)),
        (1.5, timedelta(seconds=1.5)),
        ("250ms", timedelta(milliseconds=250)),
        ("1s", timedelta(seconds=1)),
        ("1h30m", timedelta(minutes=90)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_lengths_are_read_as_people_write_them(given: object, length: timedelta) -> None:
    """Numbers are seconds; texts bear their units."""
    assert read_duration(given) == length


@pytest.mark.parametrize(
    "given", ["", "1", "s", "-1s", "1 s", "1y", "1s ", -1, True, None, float("nan"), 1e300, "9" * 30 + "d"]
)
def test_what_is_no_length_is_refused(given: object) -> None:
    """Nothing is guessed: a bare number in quotes, a sign or an unknown unit is an error."""
    with pytest.raises(ValueError, match="length of time"):
        read_duration(given)
