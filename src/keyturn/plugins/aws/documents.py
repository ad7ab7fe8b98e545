"""A credential in a SecretString: the whole of it, or one field of a JSON document."""

from __future__ import annotations

import json
from typing import Any

from keyturn.domain.errors import Absent, Invalid
from keyturn.domain.secret_value import SecretValue

MAX_BYTES = 65_536
"""The vendor's limit for one SecretString."""

_WHITESPACE = " \t\r\n"


def credential_in(document: SecretValue, field: str | None, *, place: str) -> SecretValue:
    """The credential that a document holds. Raises `Absent` when the field is missing or empty and `Invalid` when the
    document is no JSON object or the field no string."""
    if field is None:
        return document
    fields = _parsed(document, place=place)
    if field not in fields:
        raise Absent(f"{place}: the document has no field {field!r}; add it, or correct `field`")
    value = fields[field]
    if not isinstance(value, str):
        raise Invalid(f"{place}: the field {field!r} is not a string; keyturn rotates strings only")
    if not value:
        raise Absent(f"{place}: the field {field!r} is empty")
    return SecretValue(value)


def document_with(credential: SecretValue, field: str | None, *, base: SecretValue | None, place: str) -> SecretValue:
    """The document that gives readers `credential`; with a field, everything else in `base` is left as it is, byte for
    byte: a parsed and rewritten document could change numbers, escapes and layout that another reader relies on."""
    if field is None:
        document = credential
    elif base is None:
        document = SecretValue(json.dumps({field: credential.reveal()}))
    else:
        _parsed(base, place=place)
        document = SecretValue(_spliced(base.reveal(), field, json.dumps(credential.reveal())))
    if len(document.reveal().encode()) > MAX_BYTES:
        raise Invalid(f"{place}: the document would exceed the {MAX_BYTES} bytes that AWS Secrets Manager takes")
    return document


def has_fields(document: SecretValue) -> bool:
    """Whether a document is a JSON object."""
    return _fields(document) is not None


def _parsed(document: SecretValue, *, place: str) -> dict[str, Any]:
    # Raised here and not where it is parsed: the parser's error holds the document.
    if (fields := _fields(document)) is None:
        raise Invalid(f"{place}: the value is not a JSON object; correct it, or leave `field` out")
    return fields


def _fields(document: SecretValue) -> dict[str, Any] | None:
    try:
        fields = json.loads(document.reveal())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _spliced(text: str, field: str, encoded: str) -> str:
    """`text`, known to be a JSON object, with one top-level field set."""
    decoder = json.JSONDecoder()
    span: tuple[int, int] | None = None
    last = text.index("{") + 1
    position = _past_whitespace(text, last)
    empty = text[position] == "}"
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        start = _past_whitespace(text, _past_whitespace(text, position) + 1)
        _, last = decoder.raw_decode(text, start)
        if key == field:
            span = (start, last)  # of repeated fields, parsers give the last
        position = _past_whitespace(text, last)
        if text[position] == ",":
            position = _past_whitespace(text, position + 1)
    if span is not None:
        return text[: span[0]] + encoded + text[span[1] :]
    return f"{text[:last]}{'' if empty else ', '}{json.dumps(field)}: {encoded}{text[last:]}"


def _past_whitespace(text: str, position: int) -> int:
    while text[position] in _WHITESPACE:
        position += 1
    return position
