"""A look at Vault may be behind what readers get, where a standby answers it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.vault.scripted import Scripted, scripted

from keyturn.domain.errors import Transient

COPY = "secret/metadata/keyturn/app/key/value/copy-gone"


def destroyed(vault: Scripted) -> list[object]:
    """What was asked to be destroyed, and which copy was erased, in order."""
    asked = {("POST", "secret/destroy/app/key"), ("DELETE", COPY)}
    return [body and body["versions"] for method, path, body in vault.asked if (method, path) in asked]


def serving(number: int, **document: str) -> tuple[int, object]:
    """The answer to a read."""
    return 200, {"data": {"data": document, "metadata": {"version": number}}}


@pytest.fixture
def vault() -> Iterator[Scripted]:
    """A secret with versions from before our copy."""
    with scripted() as made:
        made.otherwise = (204, "")
        for path, created in (("secret/metadata/app/key", "2026-01-01"), (COPY, "2026-11-01")):
            made.answers["GET", path] = (200, {"data": {"created_time": f"{created}T00:00:00.123456789Z"}})
        yield made


@pytest.mark.parametrize(
    ("found", "past"),
    [
        (serving(3, value="old"), [1, 2]),
        (serving(3, another="of theirs"), [1, 2]),
        ((404, {"data": {"data": None, "metadata": {"version": 3}}}), [1, 2, 3]),
    ],
)
def test_only_what_is_surely_past_is_destroyed(vault: Scripted, found: tuple[int, object], past: list[int]) -> None:
    """What readers get now may be the version looked at, or any after it: neither is destroyed, nor a document of others;
    a version that is deleted already is. What is left is not called done, and the copy stays for it."""
    vault.answers["GET", "secret/data/app/key"] = found
    with pytest.raises(Transient, match="version 4 is not destroyed"):
        vault.backend().target({"path": "app/key"}).remove("gone", served=["1", "2", "3", "4"])
    assert destroyed(vault) == [past]


@pytest.mark.parametrize("behind", [4, 3])
def test_what_a_look_that_is_behind_left_is_destroyed_by_the_next(vault: Scripted, behind: int) -> None:
    """A standby that still has the old version for what readers get, or one before it, lets nothing be called done; once it
    has caught up the old data goes, and the copy after it."""
    target = vault.backend().target({"path": "app/key"})
    vault.answers["GET", "secret/data/app/key"] = serving(behind, value="old")
    with pytest.raises(Transient, match="standby"):
        target.remove("gone", served=["4"])
    assert destroyed(vault) == []
    vault.answers["GET", "secret/data/app/key"] = serving(5, value="new")
    target.remove("gone", served=["4"])
    assert destroyed(vault) == [[4], None]
