"""Turns what pydantic finds into problems that a person can mend."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from keyturn.config.document import Document
from keyturn.config.problems import KeyPath, Problem
from keyturn.config.schema import UNION_TAGS, ConfigFile

KEY_MARK = "[key]"
"""What pydantic appends when a mapping's key, not its value, is wrong."""

KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (dict, "a mapping"),
    (list, "a list"),
    (type(None), "nothing"),
)


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """One problem per finding."""
    return [_problem(item, document) for item in error.errors(include_url=False)]


def _problem(item: ErrorDetails, document: Document) -> Problem:
    path = place(item["loc"])
    kind = item["type"]
    if kind == "extra_forbidden":
        return document.problem(path, f"unknown key; {suggest(str(path[-1]), known_keys(item['loc'][:-1]))}")
    if kind == "missing":
        return document.problem(path, "is missing: add it")
    if KEY_MARK in item["loc"]:
        return document.problem(
            path, "names are lower-case letters, digits and dashes, at most 63, and begin with a letter or digit"
        )
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["msg"].startswith("Input should be"):
        message = f"should be {message}"
    if kind.endswith(("_type", "_parsing")):
        # The kind alone: what was given may be a secret in the wrong place.
        message = f"{message}, not {_kind(item['input'])}"
    return document.problem(path, message[0].lower() + message[1:])


def place(loc: Iterable[str | int]) -> KeyPath:
    """The key path behind pydantic's location, which also names members of unions."""
    return tuple(part for part in loc if part not in UNION_TAGS and part != KEY_MARK)


def suggest(given: str, known: Collection[str]) -> str:
    """The mend for a name that means nothing."""
    close = difflib.get_close_matches(given, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(sorted(known)) or 'none'}"


def _kind(given: object) -> str:
    for types, name in KINDS:
        if isinstance(given, types):
            return name
    return f"a {type(given).__name__}"


def known_keys(loc: Iterable[str | int]) -> list[str]:
    """The keys of the schema's model at a location."""
    types: list[Any] = [ConfigFile]
    for part in loc:
        if part in UNION_TAGS:
            continue
        types = [inner for kind in types for inner in _step(kind, part)]
    return [key for kind in types for key in kind.model_fields]


def _step(kind: Any, part: str | int) -> list[Any]:
    """What stands below `part` in a model, mapping or list."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return [] if field is None else _containers(field.annotation)
    return _containers(get_args(kind)[-1])


def _containers(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (dict, list):
        return [annotation]
    return [inner for argument in get_args(annotation) for inner in _containers(argument)]
