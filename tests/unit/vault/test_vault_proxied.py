"""What a proxy between says in Vault's place is never taken for Vault's word."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.unit.vault.scripted import TOKEN, Scripted, scripted

from keyturn.domain.errors import Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target

NOBODY = "default backend - 404"
PORTAL = "<html>Please log in to the network.</html>"
APPROLE: dict[str, object] = {"approle": {"role_id": "ours", "secret_id": "env:SECRET_ID"}}

CALLS: dict[str, Callable[[Target], object]] = {
    "view": lambda target: target.view(),
    "read": lambda target: target.read(),
    "keep": lambda target: target.keep("old", serving="3"),
    "stage": lambda target: target.stage("new", SecretValue("a value")),
    "fetch": lambda target: target.fetch("new"),
    "promote": lambda target: target.promote("new", expected="3", token="t"),
    "remove": lambda target: target.remove("new", served=["3"]),
    "mark": lambda target: target.mark("leaked"),
}


@pytest.fixture
def vault() -> Iterator[Scripted]:
    with scripted() as made:
        yield made


@pytest.mark.parametrize(
    "page",
    [
        (404, NOBODY),
        (404, ""),
        (404, {"message": "no Route matched with those values"}),
        (404, {"errors": [{"code": "NOT_FOUND"}]}),
        (200, PORTAL),
        (200, ""),
        (200, {"status": "ok"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", CALLS)
def test_page_of_a_proxy_is_no_answer(vault: Scripted, page: tuple[int, object], call: str) -> None:
    """Behind a proxy that does not find Vault for a moment, nothing is absent and nothing is done."""
    vault.otherwise = page
    backend = vault.backend()
    with pytest.raises(Transient, match="not Vault's"):
        CALLS[call](backend.target({"path": "app/key"}))
    backend.close()


@pytest.mark.parametrize("page", [(404, NOBODY), (200, PORTAL)])
def test_login_through_a_page_is_tried_again(vault: Scripted, page: tuple[int, object]) -> None:
    """A page in place of a login says nothing of the auth method or the secret id."""
    vault.otherwise = page
    vault.answers.clear()
    for auth in (TOKEN, APPROLE):
        backend = vault.backend(auth)
        with pytest.raises(Transient, match="not Vault's"):
            backend.target({"path": "app/key"}).view()


def test_vaults_own_404_is_told_from_a_page(vault: Scripted) -> None:
    """Vault's own word is believed: nothing is there, or nothing is mounted there."""
    target = vault.backend().target({"path": "app/key"})
    assert target.view().serving is None
    vault.otherwise = (404, {"errors": ["no handler for route"]})
    with pytest.raises(Invalid, match="mounted"):
        target.view()
