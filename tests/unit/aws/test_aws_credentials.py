"""What botocore asks by itself, for credentials, is bounded as our own requests are (promise P7)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.app.clock import SystemClock
from keyturn.domain.errors import Transient
from keyturn.plugins.aws import aws_secrets_manager
from keyturn.ports.plugin import Surroundings

PATIENCE = 20.0
"""Seconds for which the silent server waits: botocore's own timeouts are longer, ours are not."""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


def test_a_token_service_that_does_not_answer_is_given_up_in_time(
    silent: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod's web identity is exchanged at STS inside the first request: it has no longer than that request."""
    token = tmp_path / "token"
    token.write_text("a token of a pod")
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/keyturn")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
    backend = aws_secrets_manager(
        "aws", {"region": "eu-central-1", "endpoint_url": address, "timeout": 1}, surroundings()
    )
    failures: list[Exception] = []

    def look() -> None:
        try:
            backend.target({"secret_id": "app"}).view()
        except Transient as error:
            failures.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    connection, _ = silent.accept()
    with connection:
        connection.settimeout(PATIENCE)
        asked = b""
        while chunk := connection.recv(65536):
            asked += chunk
    looking.join(PATIENCE)
    assert b"AssumeRoleWithWebIdentity" in asked
    assert len(failures) == 1
    backend.close()


def surroundings() -> Surroundings:
    def resolve(reference: str) -> object:
        raise AssertionError(f"nothing is to be resolved, but {reference}")

    return Surroundings(clock=SystemClock(), resolve=resolve)  # type: ignore[arg-type]
