"""The text of a key table: parsed whole or refused by line, and changed one key at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.errors import Absent, Conflict, Invalid
from keyturn.domain.observations import Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.key_format import format_key
from keyturn.plugins.gateway.nginx_table import KeyTable, parse_table

ONE = format_key(env="prod", kid="one1", random="A" * 40)
TWO = format_key(env="prod", kid="two2", random="B" * 40)
BY_HAND = f"""\
# partners, kept by hand
hostnames;
default "";
"legacy \\"quoted\\" key" "legacy1:active"; # until June
~^temp- "temporary";
include more.map;
"{TWO.reveal()}" "two2:disabled";
"""


def table(text: str) -> KeyTable:
    return parse_table(text, where="keys.map")


def test_entries_of_all_hands_are_listed() -> None:
    """Every line with a key id and a state counts, whoever wrote it; other lines count as nothing."""
    assert table(BY_HAND).entries() == {"legacy1": Entry.ACTIVE, "two2": Entry.DISABLED}


def test_what_others_wrote_stays_as_it_is() -> None:
    """Installing and changing one key leaves every other line byte for byte."""
    changed = table(BY_HAND).install("one1", ONE).disable("one1").enable("two2")
    expected = BY_HAND.replace("two2:disabled", "two2:active") + f'"{ONE.reveal()}" "one1:disabled";\n'
    assert changed.text() == expected


def test_a_line_by_hand_keeps_its_comment_through_a_change() -> None:
    """Disabling a key that was entered by hand changes its state and nothing else of the line."""
    changed = table(BY_HAND).disable("legacy1").text()
    assert changed == BY_HAND.replace("legacy1:active", "legacy1:disabled")


@given(
    st.lists(
        st.sampled_from(
            ["", "# c", "volatile;", "default '';", f'"{TWO.reveal()}" "two2:active";', 'x "y:revoked" ;\r']
        )
    )
)
def test_text_survives_reading(lines: list[str]) -> None:
    """A table that nothing was changed in is written as it was read."""
    text = "\n".join(lines)
    assert table(text).text() == text


def test_a_table_without_a_final_newline_stays_whole() -> None:
    """The new line starts on a line of its own."""
    text = '"x" "old:active";'
    assert table(text).install("one1", ONE).text() == f'{text}\n"{ONE.reveal()}" "one1:active";\n'


def test_calls_made_twice_change_nothing_more() -> None:
    """Each change is idempotent, so a rerun sends no reload."""
    installed = table("").install("one1", ONE)
    assert installed.install("one1", ONE) == installed
    disabled = installed.disable("one1")
    assert disabled.disable("one1") == disabled
    assert disabled.install("one1", ONE) == disabled
    revoked = disabled.revoke("one1")
    assert revoked.revoke("one1") == revoked
    assert revoked.disable("one1") == revoked
    assert table("").disable("one1") == table("")


def test_revoked_keys_stay_revoked() -> None:
    """Neither install nor enable brings a revoked key back, whether or not its value was known."""
    for revoked in (table("").revoke("one1"), table("").install("one1", ONE).revoke("one1")):
        with pytest.raises(Conflict):
            revoked.install("one1", ONE)
        with pytest.raises(Conflict):
            revoked.enable("one1")
        assert revoked.entries() == {"one1": Entry.REVOKED}
        assert table(revoked.text()).entries() == {"one1": Entry.REVOKED}


def test_enable_needs_a_line() -> None:
    """Without an entry there is nothing to enable."""
    with pytest.raises(Absent):
        table("").enable("one1")


def test_a_second_value_of_one_id_is_a_conflict() -> None:
    """A key id names one value; another under it, or the same under another id, is refused without showing either."""
    other = format_key(env="prod", kid="one1", random="C" * 40)
    installed = table("").install("one1", ONE)
    with pytest.raises(Conflict) as caught:
        installed.install("one1", other)
    assert other.reveal() not in str(caught.value)
    with pytest.raises(Conflict):
        table(f'"{ONE.reveal().lower()}" "another:active";').install("one1", ONE)


def test_several_lines_of_one_id_change_together() -> None:
    """A disabled key is refused under every value that a hand gave it."""
    twice = table('"a" "x:active";\n"b" "x:active";\n')
    assert twice.disable("x").text() == '"a" "x:disabled";\n"b" "x:disabled";\n'
    assert table('"a" "x:disabled";\n"b" "x:active";\n').entries() == {"x": Entry.ACTIVE}


def test_only_the_very_value_is_listed() -> None:
    """A look-alike of a disabled key is not that key."""
    disabled = table("").install("one1", ONE).disable("one1")
    assert disabled.lists("one1", ONE) is Entry.DISABLED
    assert disabled.lists("one1", SecretValue(ONE.reveal() + "x")) is Entry.ABSENT


@pytest.mark.parametrize(
    "line",
    ['"unfinished', '"a" "b:active"', '"a" "b:active"; "c" "d:active";', "map $x $y {", '"a" "b" "c";', "a{b c;", ";"],
)
def test_a_table_that_makes_no_sense_is_refused_by_line(line: str) -> None:
    """The error names file and line, and shows nothing of what stands there."""
    with pytest.raises(Invalid, match=r"keys\.map:2") as caught:
        table(f"# fine\n{line}\n")
    assert len(line) < 2 or line not in str(caught.value)


def test_no_value_shows_in_a_repr() -> None:
    """A table in a traceback shows ids and states alone."""
    shown = repr(table("").install("one1", ONE))
    assert "one1" in shown
    assert ONE.reveal() not in shown
    assert "A" * 20 not in shown
