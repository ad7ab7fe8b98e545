"""Domain values survive as text, and nothing is read that was not written."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyturn.domain.effects import Effect, Message
from keyturn.domain.errors import KeyturnError
from keyturn.domain.model import Rotation
from keyturn.ports.records import HistoryEntry, Outcome
from keyturn.stores.codec import EFFECT, EVIDENCE, MESSAGE, OUTCOME, ROTATION, Codec
from keyturn.stores.memory import MemoryStore
from keyturn.testing.store_rotations import everything
from keyturn.testing.store_samples import begun

LENGTHS = st.timedeltas()
MOMENTS = st.datetimes(timezones=st.just(UTC))
KNOWN: dict[Any, st.SearchStrategy[Any]] = {
    timedelta: LENGTHS,
    datetime: MOMENTS,
    float: st.floats(allow_nan=False),
    str: st.text(max_size=8),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in KNOWN:
        return KNOWN[hint]
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return st.builds(hint, **{one.name: values(hints[one.name]) for one in fields(hint)})
    if origin in (Union, UnionType):
        return st.one_of(*(st.none() if one is NoneType else values(one) for one in arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*(values(one) for one in arguments))
    if origin in (tuple, list, frozenset):
        return st.lists(values(arguments[0]), max_size=3).map(origin)
    if origin is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    return st.from_type(hint)


def full_rotation() -> Rotation:
    """A rotation with something in every field."""
    return everything(begun(MemoryStore()))


def survives(codec: Codec[Any], value: Any) -> None:
    text = codec.write(value)
    found = codec.read(text, "it")
    assert found == value
    assert codec.write(found) == text
    assert text.isascii()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(values(Rotation))
def test_rotations_survive(rotation: Rotation) -> None:
    """Any rotation comes back equal from its text, and gives the same text again."""
    survives(ROTATION, rotation)


@pytest.mark.parametrize(
    ("codec", "hint"),
    [
        (EFFECT, Effect),
        (OUTCOME, Outcome),
        (MESSAGE, Message),
        (EVIDENCE, get_type_hints(HistoryEntry)["evidence"]),
    ],
    ids=["effect", "outcome", "message", "evidence"],
)
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_other_documents_survive(codec: Codec[Any], hint: Any, data: st.DataObject) -> None:
    """Any effect, outcome, message and evidence comes back equal from its text."""
    survives(codec, data.draw(values(hint)))


def test_evidence_keeps_its_types() -> None:
    """A truth stays a truth, a whole number whole, and what is no number on paper comes back as it was."""
    evidence = {"yes": True, "one": 1, "part": 1.0, "huge": float("-inf"), "none": None, "nan": float("nan")}
    found = EVIDENCE.read(EVIDENCE.write(evidence), "evidence")
    assert {name: (type(value), str(value)) for name, value in found.items()} == {
        name: (type(value), str(value)) for name, value in evidence.items()
    }


def test_text_is_the_same_on_every_machine() -> None:
    """The text does not depend on the order in which sets and mappings were built, nor on the hash seed."""
    script = (
        "from tests.unit.stores.test_codec import full_rotation\n"
        "from keyturn.stores.codec import ROTATION\n"
        "print(ROTATION.write(full_rotation()))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert texts == {ROTATION.write(full_rotation())}
    rotation = full_rotation()
    turned = replace(rotation, versions=dict(reversed(list(rotation.versions.items()))))
    assert ROTATION.write(turned) == ROTATION.write(rotation)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, by the keys that lead there."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], change: Any) -> str:
    """The document's text with one place changed."""
    document = {"": copy.deepcopy(document)}
    holder = document
    for key in ("", *path)[:-1]:
        holder = holder[key]
    change(holder, ("", *path)[-1])
    return json.dumps(document[""])


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


DOCUMENT = json.loads(ROTATION.write(full_rotation()))
MAPPINGS = {
    *("versions", "first_entered", "promoted", "disabled_at", "deadlines"),
    *("marks", "forced", "waived", "reasserted"),
}
"""Whose keys are data, and may be there or not."""
PLACES = [place for place in places(DOCUMENT) if "evidence" not in place]
"""But for evidence, whose keys and values may be several things."""


@pytest.mark.parametrize("path", [p for p in PLACES if isinstance(at(DOCUMENT, p), dict)], ids=str)
def test_keys_are_those_of_the_type(path: tuple[Any, ...]) -> None:
    """At no depth may a key be missing or one too many; the error names the record."""
    with pytest.raises(KeyturnError, match="rotation r1"):
        ROTATION.read(changed(DOCUMENT, path, lambda holder, key: holder[key].update(surprise=1)), "rotation r1")
    if path and path[-1] in MAPPINGS:
        return
    for name in at(DOCUMENT, path):
        text = changed(DOCUMENT, path, lambda holder, key, name=name: holder[key].pop(name))
        with pytest.raises(KeyturnError, match="rotation r1"):
            ROTATION.read(text, "rotation r1")


@pytest.mark.parametrize("path", [p for p in PLACES if p], ids=str)
def test_types_are_those_of_the_type(path: tuple[Any, ...]) -> None:
    """At no place is a value of another type taken, or one that only looks alike."""
    wrongs: list[Any] = [1.5, {"x": 1}, [[]], "\ud800no", True]
    for wrong in wrongs:
        there = at(DOCUMENT, path)
        could_be = isinstance(wrong, str) if there is None else type(wrong) is type(there)
        if could_be and not isinstance(wrong, dict | list):
            continue
        text = changed(DOCUMENT, path, lambda holder, key, wrong=wrong: holder.__setitem__(key, wrong))
        with pytest.raises(KeyturnError, match="rotation r1"):
            ROTATION.read(text, "rotation r1")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("schema",), 3),
        (("schema",), 5),
        (("schema",), None),
        (("rotation", "phase"), "nirvana"),
        (("rotation", "started_at"), "2030-01-01T00:00:00"),
        (("rotation", "started_at"), "2030-01-01T00:00:00+02:00"),
        (("rotation", "started_at"), "yesterday"),
        (("rotation", "stopped_for"), 10**30),
        (("rotation", "revision"), True),
        (("rotation", "promised"), [["north"]]),
        (("rotation", "hold", "evidence"), [["x"]]),
        (("rotation", "hold", "evidence", "clients"), [1]),
        (("rotation", "halted", "evidence", "serial"), {"x": 1}),
    ],
)
def test_values_are_those_of_the_type(path: tuple[Any, ...], wrong: Any) -> None:
    """Another schema, an unknown phase, a moment without or of another zone, a length beyond all bounds: refused."""
    with pytest.raises(KeyturnError, match="rotation r1"):
        ROTATION.read(changed(DOCUMENT, path, lambda holder, key: holder.__setitem__(key, wrong)), "rotation r1")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema":1}', '{"schema":1,"effect":{}}', "\x00"])
def test_other_texts_are_refused(text: str) -> None:
    """What is no document of this kind at all is refused by name."""
    with pytest.raises(KeyturnError, match="rotation r1"):
        ROTATION.read(text, "rotation r1")


def test_error_says_where() -> None:
    """The message leads to the place: the path, what belongs there, and what is there."""
    text = changed(DOCUMENT, ("rotation", "versions", "1", "serial"), lambda holder, key: holder.update({key: "x"}))
    with pytest.raises(KeyturnError, match=r"versions\.1\.serial: expected int, found str"):
        ROTATION.read(text, "rotation r1")


def test_what_json_does_not_know_is_not_written() -> None:
    """A naive datetime or a foreign type in evidence is an error of ours, not a broken record."""
    naive = datetime(2030, 1, 1)  # noqa: DTZ001
    with pytest.raises(KeyturnError, match="rotation"):
        ROTATION.write(replace(full_rotation(), started_at=naive))
    for foreign in (object(), [1], {"a": 1}):
        with pytest.raises(KeyturnError, match="evidence"):
            EVIDENCE.write({"x": foreign})  # type: ignore[dict-item]
