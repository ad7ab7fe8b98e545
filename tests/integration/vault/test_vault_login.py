"""Tokens are renewed, found dead and replaced; a denied permission is none of that."""

import time
from collections.abc import Iterator

import pytest
from tests.integration.vault.mount import Mount

from keyturn.domain.errors import Denied, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault import vault_kv2
from keyturn.testing.secrecy import find_leaks, logs_recorded, texts_of_error

TTL = 600


@pytest.fixture
def path(mount: Mount) -> str:
    path = mount.new_path()
    mount.bao.write_secret(mount.name, path, {"value": "first"})
    return path


@pytest.fixture
def by_approle(mount: Mount) -> Iterator[vault_kv2]:
    backend = mount.backend(mount.approle)
    yield backend
    backend.close()


def accessors(mount: Mount) -> set[str]:
    """Every token that the server knows."""
    return set(mount.send("LIST", "auth/token/accessors")[1]["data"]["keys"])


def expire_time(mount: Mount, accessor: str) -> str:
    return str(mount.send("POST", "auth/token/lookup-accessor", {"accessor": accessor})[1]["data"]["expire_time"])


def test_one_login_serves_many_calls(mount: Mount, by_approle: vault_kv2, path: str) -> None:
    """One token is made for all calls of all targets, and given back at the end."""
    before = accessors(mount)
    for _ in range(3):
        by_approle.target({"path": path}).view()
    (ours,) = accessors(mount) - before
    by_approle.close()
    assert ours not in accessors(mount)


def test_token_is_renewed_before_it_ends(mount: Mount, by_approle: vault_kv2, path: str) -> None:
    """After two thirds of its life the token gets a new one, and no other token is made."""
    target = by_approle.target({"path": path})
    before = accessors(mount)
    target.view()
    (ours,) = accessors(mount) - before
    ends = expire_time(mount, ours)
    mount.clock.advance(TTL / 2)
    target.view()
    assert expire_time(mount, ours) == ends
    mount.clock.advance(TTL / 4)
    target.view()
    assert expire_time(mount, ours) > ends
    assert accessors(mount) - before == {ours}


def test_dead_token_is_replaced_by_a_login(mount: Mount, by_approle: vault_kv2, path: str) -> None:
    """A token that was revoked behind our back costs the caller nothing, not even for a write."""
    target = by_approle.target({"path": path})
    before = accessors(mount)
    target.view()
    (ours,) = accessors(mount) - before
    mount.send("POST", "auth/token/revoke-accessor", {"accessor": ours})
    target.stage("copy", SecretValue("second"))
    assert target.view().copies == {"copy"}
    assert len(accessors(mount) - before) == 1


def test_expired_token_is_replaced_by_a_login(mount: Mount, path: str) -> None:
    """So does one that has run out because nobody called for longer than it lives."""
    role = mount.bao.create_approle(f"{mount.name}-short", policies=(mount.name,), token_ttl="1s")
    mount.references["env:SHORT"] = role.secret_id
    backend = mount.backend({"approle": {"role_id": role.role_id, "secret_id": "env:SHORT"}})
    before = accessors(mount)
    target = backend.target({"path": path})
    target.view()
    (ours,) = accessors(mount) - before
    deadline = time.monotonic() + 10
    # Our own clock stands still, so that no renewal comes first.
    while ours in accessors(mount):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert target.view().serving == "1"
    backend.close()


def test_denied_permission_is_not_mistaken_for_a_dead_token(mount: Mount, by_approle: vault_kv2) -> None:
    """What the policy forbids is `Denied`, named by its path, without another login."""
    before = accessors(mount)
    forbidden = by_approle.target({"path": "elsewhere/secret"})
    with pytest.raises(Denied, match=f"{mount.name}/data/elsewhere/secret"):
        forbidden.view()
    assert len(accessors(mount) - before) == 1


def test_login_that_fails_names_the_mend(mount: Mount, path: str) -> None:
    """A wrong secret id and a missing auth method are each `Denied`; a reference to nothing, which may hold something in a
    moment, is `Transient`. Each names the mend, and the secret id shows nowhere."""
    mount.references["env:WRONG"] = "6b1f0a1c-wrong-secret-id"
    role_id = mount.role.role_id
    for approle, kind, words in (
        ({"role_id": role_id, "secret_id": "env:WRONG"}, Denied, "secret id refused"),
        ({"role_id": role_id, "secret_id": "env:MISSING"}, Transient, "env:MISSING"),
        ({"role_id": role_id, "secret_id": "env:SECRET_ID", "mount": "nowhere"}, Denied, "no such auth method"),
    ):
        with logs_recorded() as logs:
            backend = mount.backend({"approle": approle})
            with pytest.raises(kind, match=words) as caught:
                backend.target({"path": path}).view()
            texts = [*texts_of_error(caught.value), repr(backend)]
            backend.close()
        assert find_leaks([mount.references["env:WRONG"], mount.role.secret_id], texts + logs) == []


def test_new_token_behind_the_reference_is_taken_up(mount: Mount, path: str) -> None:
    """When a given token dies, its reference is read anew; while it still holds the dead one, calls are `Denied`."""
    first = mount.bao.create_token(f"{mount.name}-first", policies=(mount.name,))
    mount.references["env:CHANGING"] = first
    backend = mount.backend({"token": "env:CHANGING"})
    target = backend.target({"path": path})
    target.view()
    mount.send("POST", "auth/token/revoke", {"token": first})
    with pytest.raises(Denied):
        target.view()
    mount.references["env:CHANGING"] = mount.bao.create_token(f"{mount.name}-second", policies=(mount.name,))
    assert target.view().serving == "1"
    backend.close()
    assert target.view().serving == "1"


def test_given_token_is_renewed_too(mount: Mount, path: str) -> None:
    """A token that somebody else made lives on as long as it can, under the same name."""
    body = {"policies": [mount.name], "ttl": f"{TTL}s", "renewable": True}
    made = mount.send("POST", "auth/token/create-orphan", body)[1]["auth"]
    mount.references["env:RENEWED"] = made["client_token"]
    target = mount.backend({"token": "env:RENEWED"}).target({"path": path})
    target.view()
    ends = expire_time(mount, made["accessor"])
    mount.clock.advance(TTL * 0.7)
    target.view()
    assert expire_time(mount, made["accessor"]) > ends


def test_token_close_to_its_maximal_life_gives_way_to_a_login(mount: Mount, path: str) -> None:
    """Where renewals get shorter and shorter, AppRole logs in anew instead."""
    name = f"{mount.name}-bounded"
    role = mount.bao.create_approle(name, policies=(mount.name,), token_ttl="10s")
    mount.send("POST", f"auth/approle/role/{name}", {"token_ttl": "10s", "token_max_ttl": "10s"})
    mount.references["env:BOUNDED"] = role.secret_id
    backend = mount.backend({"approle": {"role_id": role.role_id, "secret_id": "env:BOUNDED"}})
    target = backend.target({"path": path})
    target.view()
    before = accessors(mount)
    (ours,) = (key for key in before if role_of(mount, key) == name)
    deadline = time.monotonic() + 15
    while len([key for key in accessors(mount) if role_of(mount, key) == name]) < 2:
        assert time.monotonic() < deadline
        assert ours in accessors(mount), "the token ended before it was replaced"
        mount.clock.advance(7)
        target.view()
        time.sleep(0.05)
    backend.close()


def role_of(mount: Mount, accessor: str) -> str | None:
    """The role that made a token."""
    status, body = mount.send("POST", "auth/token/lookup-accessor", {"accessor": accessor})
    return (body["data"]["meta"] or {}).get("role_name") if status == 200 else None
