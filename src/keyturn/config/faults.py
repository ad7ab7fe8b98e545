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


WANTED = {
    "bool_type": "true or false",
    "datetime_from_date_parsing": "a date and time, as 2026-01-31T09:00:00Z",
    "datetime_parsing": "a date and time, as 2026-01-31T09:00:00Z",
    "datetime_type": "a date and time, as 2026-01-31T09:00:00Z",
    "dict_type": "a mapping",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
}
"""What pydantic's types are called here."""

MESSAGES = {
    "enum": "should be {expected}",
    "greater_than_equal": "should be at least {ge}",
    "literal_error": "should be {expected}",
    "string_too_short": "should not be empty",
    "string_too_long": "should have at most {max_length} characters",
    "too_short": "should have at least {min_length} entry",
}
"""What pydantic's other findings are called here."""


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
    if kind in WANTED:
        # The kind alone: what was given may be a secret in the wrong place.
        return document.problem(path, f"should be {WANTED[kind]}, not {_kind(item['input'])}")
    message = (
        MESSAGES[kind].format(**item.get("ctx", {})) if kind in MESSAGES else item["msg"].removeprefix("Value error, ")
    )
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
