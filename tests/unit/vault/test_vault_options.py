"""Wrong options are refused with one clear line, without any request, and never shown."""

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault import vault_kv2
from keyturn.ports.plugin import Surroundings
from keyturn.testing.fakes import FakeClock

GOOD: dict[str, object] = {"address": "https://vault.invalid:8200", "auth": {"token": "env:TOKEN"}}
APPROLE = {"role_id": "r", "secret_id": "file:/run/secret-id"}


def never(reference: str) -> SecretValue:
    raise AssertionError(f"{reference} is read at the start")


def make(options: dict[str, object]) -> vault_kv2:
    return vault_kv2("kv", options, Surroundings(clock=FakeClock(), resolve=never))


def test_good_options_do_no_io() -> None:
    """Nothing is read or sent when a backend and a target are made; names show, secrets do not."""
    backend = make({**GOOD, "auth": {"approle": APPROLE}, "timeout": "2s", "namespace": "team", "prefix": "ours"})
    target = backend.target({"path": "app/api key", "field": "api_key"})
    assert "vault.invalid" in repr(backend)
    assert "app/api key" in repr(target)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"auth": {}}, "exactly one"),
        ({"auth": {"token": "env:T", "approle": APPROLE}}, "exactly one"),
        ({"auth": {"token": "hvs.CAESIJRM-the-token-itself"}}, "reference"),
        ({"auth": {"token": "s.token-itself"}}, "reference"),
        ({"auth": {"approle": {"role_id": "r"}}}, "secret_id"),
        ({"address": "vault.invalid:8200"}, "address"),
        ({"address": "https://user:password@vault.invalid"}, "no password"),
        ({"mount": "/secret"}, "mount"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"timeout": 0}, "timeout"),
        ({"tiemout": 3}, "tiemout"),
    ],
)
def test_wrong_option_is_named(wrong: dict[str, object], words: str) -> None:
    """The line names the backend and the option, and shows nothing of what was given."""
    with pytest.raises(ConfigError, match=words) as caught:
        make({**GOOD, **wrong})
    assert str(caught.value).startswith("backends.kv")
    assert "itself" not in str(caught.value).replace("the secret itself", "")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "path"),
        ({"path": "app/"}, "path"),
        ({"path": "app/../keyturn/x"}, "path"),
        ({"path": "keyturn/app"}, "prefix"),
        ({"path": "keyturn"}, "prefix"),
        ({"path": "app", "field": "a/b"}, "field"),
        ({"path": "app", "field": ".."}, "field"),
        ({"path": "app", "version": 3}, "version"),
        ("app", "target"),
    ],
)
def test_wrong_target_is_named(wrong: object, words: str) -> None:
    """Nor does a target's path lead out of its place or into keyturn's own."""
    with pytest.raises(ConfigError, match=words):
        make(GOOD).target(wrong)
