"""Version ids and labels: the same for each rerun, apart for everything else, and inside what AWS takes."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from keyturn.plugins.aws.versions import (
    SecretState,
    copy_id,
    copy_label,
    copy_of,
    promoted_by,
    promotion_id,
    promotion_label,
    vacant_id,
)

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-AbCdEf"
OTHER = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-GhIjKl"
tokens = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=100)


@given(copy=tokens, token=tokens)
def test_ids_and_labels_fit_the_api(copy: str, token: str) -> None:
    """Whatever the token, ids have 32 to 64 characters and labels at most 256, all printable ASCII."""
    ids = [copy_id(ARN, token), promotion_id(ARN, token, None), vacant_id(ARN)]
    assert all(32 <= len(version) <= 64 and version.isalnum() for version in ids)
    labels = [copy_label(token), promotion_label(copy, token)]
    assert all(len(label) <= 256 and label.isascii() and label.isprintable() for label in labels)


@given(one=tokens, other=tokens)
def test_ids_differ_unless_everything_is_the_same(one: str, other: str) -> None:
    """The same inputs give the same id on every run; another secret, kind, token or expectation gives another one."""
    assert copy_id(ARN, one) == copy_id(ARN, one)
    assert (copy_id(ARN, one) == copy_id(ARN, other)) is (one == other)
    assert (promotion_id(ARN, one, "v1") == promotion_id(ARN, other, "v1")) is (one == other)
    distinct = [
        copy_id(ARN, one),
        copy_id(OTHER, one),
        promotion_id(ARN, one, None),
        promotion_id(ARN, one, "v1"),
        promotion_id(ARN, one, "v2"),
        promotion_id(OTHER, one, "v1"),
        vacant_id(ARN),
        vacant_id(OTHER),
    ]
    assert len(set(distinct)) == len(distinct)


def test_ids_do_not_change_between_releases() -> None:
    """A rerun after an upgrade has to find what the release before wrote."""
    assert copy_id(ARN, "t") == "d2bf9894cbdfcaa88ef73b5c903e009f868e9688cad39213eefc87e7dbe1e287"
    assert promotion_id(ARN, "t", "v1") == "7eaed3db70cbf312ac7e029e4c9b0497593d7d4e9a68c11f530b1dee967f68ee"
    assert vacant_id(ARN) == "8dbfe5e0bc9f1c95e8c6bf91bf4b99ff38bee4c8db35bda231bca7d5f04b3efb"


@given(token=tokens, other=tokens, expected=st.none() | tokens)
def test_promoted_version_is_known_by_its_token(token: str, other: str, expected: str | None) -> None:
    """A version tells which promote wrote it, whatever that expected."""
    version = promotion_id(ARN, token, expected)
    assert promoted_by(version, ARN, token)
    assert promoted_by(version, ARN, other) is (token == other)
    assert not promoted_by(version, OTHER, token)
    assert not promoted_by(copy_id(ARN, token), ARN, token)


@given(copy=tokens, token=tokens)
def test_labels_name_their_copy(copy: str, token: str) -> None:
    """Both kinds of label of ours give back the copy's token, also for tokens that look like a prefix."""
    assert copy_of(copy_label(copy)) == copy
    assert copy_of(promotion_label(copy, token)) == copy
    for label in ("AWSCURRENT", "AWSPENDING", "mine", "keyturn-vacant:"):
        assert copy_of(label) is None


def test_state_tells_what_readers_get_and_what_we_keep() -> None:
    """The vacant version serves nothing; a version may hold several copies; an interrupted promote counts as one."""
    stages = {
        vacant_id(ARN): frozenset({"AWSCURRENT"}),
        "v1": frozenset({copy_label("a"), copy_label("b"), "mine"}),
        "v2": frozenset({promotion_label("c", "t")}),
    }
    state = SecretState(arn=ARN, stages=stages)
    assert state.serving is None
    assert state.copies == {"a", "b", "c"}
    assert (state.copy_holder("a"), state.copy_holder("c"), state.copy_holder("t")) == ("v1", "v2", None)
    assert SecretState(arn=OTHER, stages=stages).serving == vacant_id(ARN)
