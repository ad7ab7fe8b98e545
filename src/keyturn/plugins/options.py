"""Reads a plugin's options with pydantic and says what is wrong in one line."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from keyturn.domain.errors import ConfigError


class Options(BaseModel):
    """Options of a plugin: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
