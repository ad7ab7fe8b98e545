"""A credential goes into a document and comes out, and nothing else in the document changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.errors import Absent, Failure, Invalid
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.aws.documents import MAX_BYTES, credential_in, document_with

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    fields=st.dictionaries(texts, values, max_size=5),
    field=texts.filter(bool),
    value=texts.filter(bool),
    indent=st.sampled_from([None, 0, 2]),
    separators=st.sampled_from([None, (",", ":"), (" ,\t", " :\n")]),
)
def test_one_field_is_set_and_all_others_are_left(
    fields: dict[str, Any], field: str, value: str, indent: int | None, separators: tuple[str, str] | None
) -> None:
    """However the document is laid out, the field comes back as set and everything else is equal."""
    base = SecretValue(json.dumps(fields, indent=indent, separators=separators))
    document = document_with(SecretValue(value), field, base=base, place="x")
    assert credential_in(document, field, place="x").reveal() == value
    assert json.loads(document.reveal()) == {**fields, field: value}


def test_other_bytes_stay_as_they_are() -> None:
    """Numbers, escapes, order and blanks that a parser would rewrite are kept; of repeated fields the last is set."""
    base = SecretValue('\n{"n": 1.10, "k":"old", "u":"\\u00fc" ,\t"k" : "older", "e": 1E400}\n')
    document = document_with(SecretValue("new"), "k", base=base, place="x")
    assert document.reveal() == '\n{"n": 1.10, "k":"old", "u":"\\u00fc" ,\t"k" : "new", "e": 1E400}\n'
    for text, expected in (("{}", '{"k": "v"}'), ("{ }", '{"k": "v" }'), ('{"a": 1 }', '{"a": 1, "k": "v" }')):
        assert document_with(SecretValue("v"), "k", base=SecretValue(text), place="x").reveal() == expected


def test_whole_document_is_the_credential_without_a_field() -> None:
    """Without a field nothing is parsed or changed."""
    value = SecretValue('{"json": 1}')
    assert document_with(value, None, base=None, place="x") is value
    assert credential_in(value, None, place="x") is value


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ("hunter2-is-no-json", Invalid),
        ('["hunter2"]', Invalid),
        ("[" * 60_000, Invalid),
        ('{"k": 1}', Invalid),
        ('{"k": ""}', Absent),
        ('{"other": "hunter2"}', Absent),
    ],
)
def test_unusable_documents_are_refused_without_showing_them(document: str, kind: type[Failure]) -> None:
    """A document that does not hold the credential fails in the right way; the error shows none of it."""
    with pytest.raises(kind) as caught:
        credential_in(SecretValue(document), "k", place="x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_oversized_document_is_refused_before_it_is_sent() -> None:
    """What exceeds the service's limit in bytes is invalid here already."""
    with pytest.raises(Invalid, match="65536"):
        document_with(SecretValue("ü" * (MAX_BYTES // 2 + 1)), None, base=None, place="x")
    with pytest.raises(Invalid, match="not a JSON object"):
        document_with(SecretValue("v"), "k", base=SecretValue("plain"), place="x")
