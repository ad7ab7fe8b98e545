"""AWS over HTTP for the tests of the AWS backend: moto's server, and a wire in front of it that is as strict as AWS."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import requests

from keyturn.demo.moto import MotoServer
from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.aws import aws_secrets_manager
from keyturn.plugins.aws.backend import SecretsManager
from keyturn.ports.plugin import Surroundings

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

READS = frozenset({"DescribeSecret", "GetSecretValue", "ListSecretVersionIds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP response of the service."""

    status: int = 200
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def _refusal(code: str) -> Answer:
    return Answer(status=400, body={"__type": code, "Message": code})


class Wire:
    """An HTTP server in front of moto that enforces what AWS enforces and moto does not, and that can lose responses.

    `answers` gives the answer to an operation instead of forwarding it; `lose` says of the number of a request whether
    its response is lost: the request is carried out, and the connection closed.
    """

    def __init__(self, upstream: str, server: ThreadingHTTPServer) -> None:
        self.endpoint_url = f"http://127.0.0.1:{server.server_address[1]}"
        self.operations: list[str] = []
        self.key_ids: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.lose: Callable[[int], bool] = lambda _: False
        self.delay = 0.0
        self._upstream = upstream
        self._session = requests.Session()
        self._session.trust_env = False
        self._lock = threading.Lock()

    def close(self) -> None:
        self._session.close()

    def answer(self, operation: str, body: Mapping[str, Any]) -> None:
        """Answer an operation with this from now on."""
        self.answers[operation] = Answer(body=body)

    def refuse(self, operation: str, code: str, *, status: int = 400, **headers: str) -> None:
        """Answer an operation (`*`: each one; a version's id: each that reads it) with an error from now on, as the service
        words it."""
        message = "quoted request: not for keyturn's errors"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[operation] = Answer(status=status, body={"__type": code, "Message": message}, headers=headers)

    def handle(self, operation: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer | None:
        """The answer to one request; None when it is lost on its way back."""
        threading.Event().wait(self.delay)
        with self._lock:  # one after another, as label moves are on AWS; moto's threads can meet in the middle of one
            self.operations.append(operation)
            self.key_ids.append(headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0])
            number = len(self.operations)
            version = body.get("VersionId", "")
            answer = self.answers.get(version) or self.answers.get(operation) or self.answers.get("*")
            answer = answer or self._forbidden(operation, body, headers)
            answer = answer or self._forward(operation, body, headers)
            return None if self.lose(number) else answer

    def _forward(self, operation: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        sent = {name: value for name, value in headers.items() if name.lower() in {"content-type", "authorization"}}
        sent["X-Amz-Target"] = f"secretsmanager.{operation}"
        response = self._session.post(self._upstream, data=json.dumps(body), headers=sent, timeout=30)
        answered = response.json()
        if operation == "DescribeSecret" and "VersionIdsToStages" in answered:
            stages = answered["VersionIdsToStages"]
            answered["VersionIdsToStages"] = {version: labels for version, labels in stages.items() if labels}
        return Answer(status=response.status_code, body=answered)

    def _forbidden(self, operation: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer | None:
        if operation not in {"PutSecretValue", "UpdateSecretVersionStage"}:
            return None
        secret = {"SecretId": body["SecretId"]}
        stages = self._forward("DescribeSecret", secret, headers).body.get("VersionIdsToStages", {})
        holders = {label: version for version, labels in stages.items() for label in labels}
        if operation == "PutSecretValue":
            labels = body.get("VersionStages", [])
            if "AWSPENDING" in labels:
                return _refusal("TestFailureAwsPendingTaken")
            if len({*holders, *labels}) > 20:
                return _refusal("LimitExceededException")
            named = {**secret, "VersionId": body["ClientRequestToken"]}
            written = self._forward("GetSecretValue", named, headers)
            if written.status != 200:
                return None
            same = all(written.body.get(kind) == body.get(kind) for kind in ("SecretString", "SecretBinary"))
            return Answer(body=written.body) if same else _refusal("ResourceExistsException")
        label, to, away_from = (body.get(name) for name in ("VersionStage", "MoveToVersionId", "RemoveFromVersionId"))
        holder = holders.get(str(label))
        allowed = holder == away_from if away_from else holder in {None, to}
        if not allowed or (label == "AWSCURRENT" and not to):
            return _refusal("InvalidParameterException")
        return None


@contextmanager
def wire_before(upstream: str) -> Iterator[Wire]:
    """A wire in front of `upstream`, gone at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or each answer waits for an acknowledgement

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            answer = made.handle(operation, body, dict(self.headers.items()))
            if answer is None:
                self.close_connection = True
                return
            payload = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/x-amz-json-1.1", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a kept-alive connection has no end of its own
    made = Wire(upstream, server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        made.close()


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials for boto3's own chain, and nothing of whoever runs the tests."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAKEYTURNTESTS0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unchecked")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire(moto_server: MotoServer) -> Iterator[Wire]:
    """A wire of the test's own."""
    with wire_before(moto_server.endpoint_url) as made:
        yield made


class NewBackend(Protocol):
    """Makes backends, each as after a restart."""

    def __call__(self, **options: object) -> SecretsManager: ...


class SystemClock:
    """The process's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def _no_reference(reference: str) -> SecretValue:
    raise ConfigError(f"the AWS backend has no use for {reference}")


def backend_at(moto_server: MotoServer, **options: object) -> SecretsManager:
    """A backend made by the plugin's factory; on moto, unless `endpoint_url` says otherwise."""
    given = {"region": moto_server.region, "endpoint_url": moto_server.endpoint_url, "timeout": 20, **options}
    return aws_secrets_manager("aws", given, Surroundings(clock=SystemClock(), resolve=_no_reference))


@pytest.fixture
def new_backend(moto_server: MotoServer) -> Iterator[NewBackend]:
    """Makes backends, and closes them."""
    with ExitStack() as backends:
        yield lambda **options: backends.enter_context(closing(backend_at(moto_server, **options)))


@pytest.fixture(scope="session")
def vendor(moto_server: MotoServer) -> SecretsManagerClient:
    """The back door: the vendor's client, straight to moto."""
    return moto_server.secretsmanager()


@pytest.fixture
def secret(vendor: SecretsManagerClient) -> str:
    """The name of a new secret that has no version yet."""
    name = f"keyturn/test-{secrets.token_hex(8)}"
    vendor.create_secret(Name=name)
    return name
