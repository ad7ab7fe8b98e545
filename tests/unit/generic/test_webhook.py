"""The notifier `webhook`, against a real HTTP server that verifies each signature with the specification's library."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from keyturn.app.clock import SystemClock
from keyturn.config import resolver
from keyturn.domain.errors import ConfigError, Denied, Invalid, Throttled
from keyturn.plugins.generic import webhook
from keyturn.plugins.generic.webhook import WebhookNotifier
from keyturn.ports.plugin import Surroundings
from keyturn.testing.notifier import NotifierConformance, NotifierHarness, Received, Reply

STATUS = {
    Reply.ACCEPT: 204,
    Reply.THROTTLE: 429,
    Reply.FAIL: 500,
    Reply.DENY: 401,
    Reply.REJECT: 422,
}
TIMEOUT = 1.0


class Receiver(ThreadingHTTPServer):
    """Keeps what it accepts, once its signature is verified."""

    daemon_threads = True

    def __init__(self, secret: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.port = self.socket.getsockname()[1]
        self.secret = secret
        self.accepted: list[Received] = []
        self.bodies: list[dict[str, object]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.answering = threading.Event()
        self.answering.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that has given up is no error here."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.answering.wait(5)
        status = self.server.status
        try:
            message = Webhook(self.server.secret).verify(body, dict(self.headers))
        except WebhookVerificationError:
            status = 401
        if status < 300:
            self.server.accepted.append(Received(message_id=self.headers["webhook-id"], payload=message["data"]))
            self.server.bodies.append(message)
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(24)).decode()


class WebhookHarness(NotifierHarness):
    def __init__(self, folder: Path) -> None:
        self.secret = new_secret()
        self.file = folder / "webhook-secret"
        self.file.touch(mode=0o600)
        self.file.write_text(self.secret + "\n")
        self.receiver = Receiver(self.secret)
        self.url = self.receiver.url
        self.accepted = self.receiver.accepted
        self.made: list[WebhookNotifier] = []
        self._serve()

    def notifier(self) -> WebhookNotifier:
        options = {"url": self.url, "secret": f"file:{self.file}", "timeout": f"{TIMEOUT}s"}
        surroundings = Surroundings(clock=SystemClock(), resolve=resolver(self.file.parent))
        self.made.append(webhook("ops", options, surroundings))
        return self.made[-1]

    def received(self) -> Sequence[Received]:
        return self.accepted

    def reply(self, reply: Reply) -> None:
        if reply is Reply.VANISH:
            for notifier in self.made:
                notifier.close()
            self.receiver.shutdown()
            self.receiver.server_close()
            return
        if reply is Reply.HANG:
            self.receiver.answering.clear()
            return
        self.receiver.answering.set()
        if self.receiver.socket.fileno() == -1:
            self._come_back()
        self.receiver.status = STATUS[reply]

    def _come_back(self) -> None:
        self.receiver = came_back = Receiver(self.receiver.secret, self.receiver.port)
        came_back.accepted = self.accepted
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self.receiver.serve_forever, args=(0.02,), daemon=True).start()

    def secret_values(self) -> Sequence[str]:
        return [self.secret, self.secret.removeprefix("whsec_")]

    def close(self) -> None:
        for notifier in self.made:
            notifier.close()
        self.receiver.answering.set()
        if self.receiver.socket.fileno() != -1:
            self.receiver.shutdown()
            self.receiver.server_close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WebhookHarness]:
    harness = WebhookHarness(tmp_path)
    yield harness
    harness.close()


class TestWebhook(NotifierConformance):
    @pytest.fixture
    def harness(self, harness: WebhookHarness) -> NotifierHarness:
        return harness


def deliver(harness: WebhookHarness, message_id: str = "m1") -> None:
    harness.notifier().deliver(message_id, datetime(2030, 1, 1, tzinfo=UTC), {"topic": "rotation.held", "text": "x"})


def test_body_has_the_specification_s_form(harness: WebhookHarness) -> None:
    """Type, timestamp of the event, and data, whatever the time of the attempt."""
    deliver(harness)
    assert harness.receiver.bodies == [
        {
            "type": "rotation.held",
            "timestamp": "2030-01-01T00:00:00+00:00",
            "data": {"topic": "rotation.held", "text": "x"},
        }
    ]


def test_other_secret_is_denied(harness: WebhookHarness) -> None:
    """A receiver that knows another secret refuses, and the error says where to look."""
    harness.file.write_text(new_secret())
    with pytest.raises(Denied, match="does it know the secret behind file:"):
        deliver(harness)


def test_secret_is_read_at_each_delivery(harness: WebhookHarness) -> None:
    """The secret can be rotated without a restart."""
    notifier = harness.notifier()
    secret = new_secret()
    harness.file.write_text(secret)
    harness.receiver.secret = secret
    notifier.deliver("m1", datetime.now(UTC), {"topic": "t"})
    assert len(harness.received()) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7", timedelta(seconds=7)),
        ("999999", timedelta(days=1)),
        ("soon", None),
        ("7" * 5000, None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", timedelta(0)),
    ],
)
def test_retry_after_is_heard(harness: WebhookHarness, given: str, expected: timedelta | None) -> None:
    """A receiver's own word on when to come back, in seconds or as a date, within reason."""
    harness.receiver.status = 429
    harness.receiver.headers = {"Retry-After": given}
    with pytest.raises(Throttled) as caught:
        deliver(harness)
    assert caught.value.retry_after == expected


def test_redirect_is_not_followed(harness: WebhookHarness) -> None:
    """A message goes where the configuration says, or nowhere."""
    harness.receiver.status = 307
    harness.receiver.headers = {"Location": harness.url}
    with pytest.raises(Invalid, match="redirects"):
        deliver(harness)


def test_any_message_id_fits_a_header(harness: WebhookHarness) -> None:
    """An id that holds a client's name, whatever that is, arrives as one line of ASCII."""
    deliver(harness, "tripwire/v1/Jörg\r\nX-Evil: 1")
    assert [message.message_id for message in harness.received()] == ["tripwire/v1/J%C3%B6rg%0D%0AX-Evil:%201"]


@pytest.mark.parametrize(
    ("content", "mend"),
    [("whsec_", "holds no webhook secret"), ("whsec_!", "holds no webhook secret"), ("", "is empty")],
)
def test_unusable_secret_is_named(harness: WebhookHarness, content: str, mend: str) -> None:
    """What stands behind the reference is no webhook secret: the reference is named, its content is not."""
    harness.file.write_text(content)
    with pytest.raises(Denied, match=mend):
        deliver(harness)


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"url": "ftp://x", "secret": "env:A"}, "notifiers.ops.url: .*https://host/path"),
        ({"url": "http://u:p@x", "secret": "env:A"}, "leave user and password out"),
        ({"url": "http://x", "secret": "whsec_abc"}, "notifiers.ops.secret"),
        ({"url": "http://x", "secret": "env:A", "retries": 3}, "notifiers.ops.retries"),
        ({"url": "http://x", "secret": "env:A", "timeout": 0}, "notifiers.ops.timeout"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, object], mend: str) -> None:
    """Each wrong option stops the start, by its key, and a secret in the wrong place is not repeated."""
    with pytest.raises(ConfigError, match=mend) as caught:
        webhook("ops", options, Surroundings(clock=SystemClock(), resolve=resolver(tmp_path)))
    assert "whsec_abc" not in str(caught.value)
    assert "u:p@" not in json.dumps(str(caught.value))
