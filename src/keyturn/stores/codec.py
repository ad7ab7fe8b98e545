"""Domain values as JSON text, and back.

Strict on reading: a document that lacks a key, has one too many, or holds another type than the dataclass says is
refused with the record's name, never half understood. Stable on writing: keys and sets are sorted, so that the same
value is the same text on every machine. Each document carries the number of its kind's schema; whoever changes the form
of a kind raises its number at the end of this file and brings the migration that rewrites what is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from keyturn.domain.effects import Effect, Message
from keyturn.domain.errors import KeyturnError
from keyturn.domain.model import Rotation
from keyturn.domain.verdicts import Evidence
from keyturn.ports.records import HistoryEntry, Outcome

T = TypeVar("T")

MICROSECOND = timedelta(microseconds=1)
SCALARS = frozenset({str, int, float, bool, NoneType, list[str]})


class Mismatch(Exception):
    """A piece of a document is not what its type says; the path grows on the way out."""

    def __init__(self, expected: str, data: object, found: str | None = None) -> None:
        super().__init__(expected)
        self.path: list[str] = []
        self.expected = expected
        self.found = found if found is not None else type(data).__name__

    def within(self, step: object) -> Mismatch:
        self.path.insert(0, str(step))
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'the document'}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How values of one type are written and read. `write` None: JSON takes them as they are."""

    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any]


class Codec(Generic[T]):
    """Writes and reads one kind of document."""

    def __init__(self, type_: Any, kind: str, *, schema: int) -> None:
        self._kind = kind
        self._schema = schema
        self._form = _form(type_)

    def write(self, value: T) -> str:
        """The value's text. A naive datetime or a type that JSON does not know is a `KeyturnError`."""
        try:
            body = self._form.write(value) if self._form.write is not None else value
            return _dump({"schema": self._schema, self._kind: body})
        except (TypeError, ValueError) as error:
            raise KeyturnError(f"a {self._kind} cannot be written: {error}") from error

    def read(self, text: str, record: str) -> T:
        """The value of a text; `record` names it in the error."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise KeyturnError(f"{record} in the store is not JSON: restore the store from a backup") from error
        if type(document) is not dict or set(document) != {"schema", self._kind}:
            raise KeyturnError(f"{record} in the store is not a {self._kind}: restore the store from a backup")
        if type(document["schema"]) is not int or document["schema"] != self._schema:
            raise KeyturnError(
                f"{record} in the store has schema {document['schema']!r}, and this keyturn reads {self._schema}: "
                "use the keyturn that wrote it"
            )
        try:
            value: T = self._form.read(document[self._kind])
        except Mismatch as mismatch:
            raise KeyturnError(f"{record} in the store cannot be read: {mismatch}") from None
        return value


_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _plain(type_: type) -> Form:
    def read(data: Any) -> Any:
        if type(data) is not type_:
            raise Mismatch(type_.__name__, data)
        return data

    return Form(write=None, read=read)


def _enum(type_: type[StrEnum]) -> Form:
    members = {str(member.value): member for member in type_}

    def read(data: Any) -> Any:
        try:
            return members[data]
        except (KeyError, TypeError):
            raise Mismatch(f"a {type_.__name__}", data) from None

    return Form(write=None, read=read)


def _write_datetime(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a datetime without a time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _read_datetime(data: Any) -> datetime:
    try:
        value = datetime.fromisoformat(data)
    except (TypeError, ValueError):
        raise Mismatch("a datetime", data) from None
    if value.tzinfo is not UTC:
        raise Mismatch("a datetime in UTC", data)
    return value


def _read_timedelta(data: Any) -> timedelta:
    try:
        if type(data) is int:
            return timedelta(microseconds=data)
    except OverflowError:
        pass
    raise Mismatch("a number of microseconds", data)


def _write_scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if isinstance(value, list | tuple):
        if not all(isinstance(item, str) for item in value):
            raise TypeError("a list of something else than strings")
        return list(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a {type(value).__name__}")


def _read_scalar(data: Any) -> Any:
    if type(data) is dict and data.keys() == {"float"} and data["float"] in ("inf", "-inf", "nan"):
        return float(data["float"])
    if data is None or type(data) in (str, int, float, bool):
        return data
    if type(data) is list and all(type(item) is str for item in data):
        return data
    raise Mismatch("a scalar or a list of strings", data)


def _items(write: Callable[[Any], Any] | None, values: Any) -> list[Any]:
    return list(values) if write is None else [write(value) for value in values]


def _sequence(type_: Callable[[Any], Any], item: Form, *, ordered: bool) -> Form:
    def write(value: Any) -> Any:
        written = _items(item.write, value)
        return written if ordered else sorted(written)

    def read(data: Any) -> Any:
        if type(data) is not list:
            raise Mismatch("a list", data)
        found = []
        for number, one in enumerate(data):
            try:
                found.append(item.read(one))
            except Mismatch as mismatch:
                raise mismatch.within(number) from None
        return type_(found)

    return Form(write=write, read=read)


def _fixed(items: tuple[Form, ...]) -> Form:
    def write(value: Any) -> Any:
        return [one if form.write is None else form.write(one) for form, one in zip(items, value, strict=True)]

    def read(data: Any) -> Any:
        if type(data) is not list or len(data) != len(items):
            raise Mismatch(f"a list of {len(items)}", data)
        return tuple(form.read(one) for form, one in zip(items, data, strict=True))

    return Form(write=write, read=read)


def _read_serial(data: str) -> int:
    if not data.lstrip("-").isdecimal() or str(int(data)) != data:
        raise Mismatch("a whole number", data)
    return int(data)


def _mapping(key_type: Any, value: Form) -> Form:
    read_key = _read_serial if key_type is int else _form(key_type).read
    form_write = value.write

    def write(data: Mapping[Any, Any]) -> Any:
        if form_write is None:
            return {str(key): one for key, one in data.items()}
        return {str(key): form_write(one) for key, one in data.items()}

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise Mismatch("an object", data)
        found = {}
        for key, one in data.items():
            try:
                found[read_key(key)] = value.read(one)
            except Mismatch as mismatch:
                raise mismatch.within(key) from None
        return dict(sorted(found.items()))

    return Form(write=write, read=read)


def _optional(inner: Form) -> Form:
    inner_write = inner.write

    def write(value: Any) -> Any:
        return None if value is None or inner_write is None else inner_write(value)

    def read(data: Any) -> Any:
        return None if data is None else inner.read(data)

    return Form(write=None if inner_write is None else write, read=read)


def _record(type_: type) -> Form:
    hints = get_type_hints(type_)
    names = tuple(one.name for one in fields(type_))
    forms = [(name, _form(hints[name])) for name in names]
    writers = [(name, form.write) for name, form in forms if form.write is not None]
    values = attrgetter(*names)
    expected = frozenset(names)

    def write(value: Any) -> Any:
        written = dict(zip(names, values(value), strict=True))
        for name, writer in writers:
            written[name] = writer(written[name])
        return written

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise Mismatch("an object", data)
        if data.keys() != expected:
            raise Mismatch(f"the keys {', '.join(sorted(expected))}", data, ", ".join(sorted(data)))
        found = {}
        for name, form in forms:
            try:
                found[name] = form.read(data[name])
            except Mismatch as mismatch:
                raise mismatch.within(name) from None
        return type_(**found)

    return Form(write=write, read=read)


@cache
def _form(type_: Any) -> Form:
    """The form of a type, worked out once."""
    if type_ is datetime:
        return Form(write=_write_datetime, read=_read_datetime)
    if type_ is timedelta:
        return Form(write=lambda value: value // MICROSECOND, read=_read_timedelta)
    if type_ in (str, int, bool, float):
        return _plain(type_)
    if isinstance(type_, type) and issubclass(type_, StrEnum):
        return _enum(type_)
    if is_dataclass(type_):
        return _record(type_)  # type: ignore[arg-type]
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (Union, UnionType):
        rest = [one for one in arguments if one is not NoneType]
        if len(rest) == 1:
            return _optional(_form(rest[0]))
        if set(arguments) <= SCALARS:
            return Form(write=_write_scalar, read=_read_scalar)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(tuple, _form(arguments[0]), ordered=True)
    if origin is tuple:
        return _fixed(tuple(_form(one) for one in arguments))
    if origin is frozenset:
        return _sequence(frozenset, _form(arguments[0]), ordered=False)
    if origin is Mapping:
        return _mapping(arguments[0], _form(arguments[1]))
    raise TypeError(f"no form for {type_!r}: give it one here")


ROTATION: Codec[Rotation] = Codec(Rotation, "rotation", schema=4)
EFFECT: Codec[Effect] = Codec(Effect, "effect", schema=1)
OUTCOME: Codec[Outcome] = Codec(Outcome, "outcome", schema=1)
MESSAGE: Codec[Message] = Codec(Message, "message", schema=1)
EVIDENCE: Codec[Evidence] = Codec(get_type_hints(HistoryEntry)["evidence"], "evidence", schema=1)
