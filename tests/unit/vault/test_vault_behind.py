"""A look at Vault may be behind what readers get, where a standby answers it."""

from __future__ import annotations

import pytest
from tests.unit.vault.scripted import scripted


@pytest.mark.parametrize(
    ("found", "destroyed"),
    [
        ((200, {"data": {"data": {"value": "old"}, "metadata": {"version": 3}}}), [1, 2]),
        ((200, {"data": {"data": {"another": "of theirs"}, "metadata": {"version": 3}}}), [1, 2]),
        ((404, {"data": {"data": None, "metadata": {"version": 3}}}), [1, 2, 3]),
    ],
)
def test_only_what_is_surely_past_is_destroyed(found: tuple[int, object], destroyed: list[int]) -> None:
    """What readers get now may be the version looked at, or any after it: neither is destroyed, nor a document of others;
    a version that is deleted already is."""
    with scripted() as vault:
        vault.answers["GET", "secret/data/app/key"] = found
        vault.otherwise = (204, "")
        vault.backend().target({"path": "app/key"}).remove("gone", served=["1", "2", "3", "4"])
    bodies = [body for method, path, body in vault.asked if (method, path) == ("POST", "secret/destroy/app/key")]
    assert bodies == [{"versions": destroyed}]
