"""Reads a plugin's options with pydantic and says what is wrong in one line."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from keyturn.domain.errors import ConfigError


class Options(BaseModel):
    """Options of a plugin: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LENGTH = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smhdw]))+")
_LENGTH_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")


def read_duration(given: object) -> timedelta:
    """A length of time as people write it: a number of seconds, "250ms", "1s", "90d", "1h30m"."""
    if isinstance(given, timedelta) and given >= timedelta(0):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < timedelta.max.total_seconds():
        return timedelta(seconds=given)
    if isinstance(given, str) and _LENGTH.fullmatch(given):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _LENGTH_PART.findall(given))
        if seconds < timedelta.max.total_seconds():
            return timedelta(seconds=seconds)
    raise ValueError('write a length of time as a number of seconds or with units, for example "1s", "90d", "1h30m"')


Duration = Annotated[timedelta, BeforeValidator(read_duration)]
"""An option that is a length of time, never negative."""


def _lasting(length: timedelta) -> timedelta:
    if length < timedelta(milliseconds=1):
        raise ValueError("write a length of at least 1ms")
    return length


LastingDuration = Annotated[Duration, AfterValidator(_lasting)]
"""A length of time that is not nothing: the length of a bucket, a timeout."""


M = TypeVar("M", bound=Options)


def read_options(model: type[M], options: object, *, where: str) -> M:
    """`options` as `model`. Raises `ConfigError` with one line per wrong key, each named from `where` on."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        # The input is left out: an option may hold a secret that belongs elsewhere.
        lines = [
            f"{where}.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError("; ".join(lines)) from None
