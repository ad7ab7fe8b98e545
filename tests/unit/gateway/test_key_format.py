"""The form of keyturn's API keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.errors import Invalid
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.key_format import checksum, format_key, mint_key, parse_kid

FORM = re.compile(r"kt_[a-z0-9]+_[A-Za-z0-9]+_[A-Za-z0-9]{32,}_[A-Za-z0-9]+")


def test_minted_keys_have_the_public_form() -> None:
    """A minted key has the five parts, in the environment asked for, and shows its own id."""
    key = mint_key("prod")
    text = key.reveal()
    assert FORM.fullmatch(text)
    assert text.startswith(f"kt_prod_{parse_kid(key)}_")


def test_ids_differ_without_regard_to_case() -> None:
    """nginx ignores case when it looks up a key, so no two ids differ by case alone."""
    ids = {parse_kid(mint_key("prod")) for _ in range(100)}
    assert len({kid.lower() for kid in ids}) == 100
    assert all(kid == kid.lower() for kid in ids)


def test_checksum_is_the_documented_one() -> None:
    """CRC32 in base62 with leading zeros, so that scanners outside can compute it too."""
    assert checksum("") == "000000"
    assert checksum("123456789") == "3jZRME"  # 0xCBF43926, the check value of CRC32


@given(place=st.integers(min_value=0), letter=st.sampled_from("aZ09"))
def test_any_single_typo_is_caught(place: int, letter: str) -> None:
    """One wrong letter anywhere makes the value no key, and the error does not show it."""
    text = format_key(env="prod", kid="abc123", random="R" * 40).reveal()
    place %= len(text)
    typo = text[:place] + letter + text[place + 1 :]
    if typo == text:
        return
    with pytest.raises(Invalid) as caught:
        parse_kid(SecretValue(typo))
    assert "R" * 32 not in str(caught.value)


@pytest.mark.parametrize(
    "parts",
    [
        {"env": "Prod", "kid": "a", "random": "R" * 40},
        {"env": "prod", "kid": "a_b", "random": "R" * 40},
        {"env": "prod", "kid": "a", "random": "R" * 31},
        {"env": "prod", "kid": "a", "random": "R" * 300},
        {"env": "prod", "kid": 'a"', "random": "R" * 40},
        {"env": "", "kid": "a", "random": "R" * 40},
    ],
)
def test_parts_that_a_key_cannot_have_are_refused(parts: dict[str, str]) -> None:
    """Nothing but letters and digits gets into a key, and so nothing else into a table."""
    with pytest.raises(Invalid):
        format_key(**parts)
