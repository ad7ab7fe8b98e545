"""Credentials that appear, or change, while the daemon runs are taken up by the next call, without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.aws.conftest import NewBackend, Wire

from keyturn.domain.errors import Denied, Transient


@pytest.fixture
def shared_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place where credentials can be; it is not there yet."""
    path = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


def write(path: Path, key_id: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = unchecked\n")


def test_credentials_that_come_later_are_found(shared_file: Path, new_backend: NewBackend, secret: str) -> None:
    """A daemon that starts before its credentials are there waits for them."""
    target = new_backend().target({"secret_id": secret})
    with pytest.raises(Transient, match="no AWS credentials"):
        target.view()
    write(shared_file, "AKIAKEYTURNTESTS0001")
    assert target.view().serving is None


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("InvalidClientTokenId", Denied),
        ("UnrecognizedClientException", Denied),
        ("ExpiredToken", Transient),
        ("ExpiredTokenException", Transient),
    ],
)
def test_renewed_keys_are_read(
    shared_file: Path, new_backend: NewBackend, wire: Wire, secret: str, code: str, failure: type[Exception]
) -> None:
    """Keys that AWS does not take any more are read anew from where they come from; those of a good client are kept. A
    session that has only expired asks for nobody: it is renewed, and the same call is made again."""
    write(shared_file, "AKIAKEYTURNTESTS0001")
    target = new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret})
    target.view()
    write(shared_file, "AKIAKEYTURNTESTS0002")
    target.view()
    wire.refuse("DescribeSecret", code)
    with pytest.raises(failure):
        target.view()
    wire.answers.clear()
    target.view()
    assert [key_id[-1] for key_id in wire.key_ids] == ["1", "1", "1", "2"]
