"""What each of Vault's answers asks of the caller."""

from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from keyturn.domain.errors import Conflict, Denied, Failure, Invalid, Throttled, Transient
from keyturn.plugins.options import read_options
from keyturn.plugins.vault.connection import Answer, Connection, Deadline, failure_of
from keyturn.plugins.vault.options import VaultOptions

CAS = "check-and-set parameter did not match the current version"
UPGRADING = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, CAS, Conflict),
        (400, UPGRADING, Transient),
        (400, "cannot write to a path ending in '/'", Invalid),
        (307, "", Transient),
        (401, "", Denied),
        (403, "permission denied", Denied),
        (404, "no handler for route", Invalid),
        (405, "unsupported operation", Invalid),
        (412, "required index state not present", Transient),
        (413, "", Invalid),
        (429, "rate limit quota exceeded", Throttled),
        (472, "", Transient),
        (473, "", Transient),
        (500, "internal error", Transient),
        (502, "", Transient),
        (503, "Vault is sealed", Transient),
        (504, "", Transient),
    ],
)
def test_each_status_has_its_failure(status: int, error: str, kind: type[Failure]) -> None:
    """The kind follows from the status, for 400 from the text too; the message holds the status and no text of theirs."""
    failure = failure_of(Answer(status=status, body={"errors": [error] if error else []}), where="post x")
    assert type(failure) is kind
    assert f"HTTP {status}" in failure.message
    assert not error or error not in failure.message


def test_throttling_says_for_how_long() -> None:
    """Vault's own word on when to come back is passed on."""
    failure = failure_of(Answer(status=429, retry_after=timedelta(seconds=7)), where="get x")
    assert isinstance(failure, Throttled)
    assert failure.retry_after == timedelta(seconds=7)


def test_missing_secret_is_told_from_a_missing_mount() -> None:
    """A 404 with an error text is a wrong path, one without is nothing to read."""
    assert Answer(status=404, body={"errors": []}).absent
    assert Answer(status=404, body={"data": {"metadata": {}}}).absent
    assert not Answer(status=404, body={"errors": ["no handler for route"]}).absent


def test_body_does_not_show() -> None:
    """An answer that is printed by accident shows no body."""
    assert "s3cret" not in repr(Answer(status=200, body={"data": {"data": {"value": "s3cret"}}}))


def test_spent_deadline_sends_nothing() -> None:
    """A call whose time is over makes no further request."""
    with pytest.raises(Transient, match="timeout"):
        Deadline(timedelta(0)).remaining()


def test_unreadable_ca_bundle_is_transient_and_named(tmp_path: Path) -> None:
    """A bundle that is not there stops each request with an error of ours."""
    options = read_options(
        VaultOptions,
        {"address": "https://127.0.0.1:1", "auth": {"token": "env:T"}, "ca_bundle": tmp_path / "missing.pem"},
        where="backends.kv",
    )
    with pytest.raises(Transient, match=r"sys/health"):
        Connection(options).send("get", "sys/health", token=None, deadline=Deadline(timedelta(seconds=5)))


def test_environment_names_the_proxy_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through the proxy that the environment names, and a .netrc adds no password to them."""
    heard = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"initialized": true}')

        def log_message(self, *_: object) -> None: ...

    netrc = tmp_path / "netrc"
    netrc.write_text("machine vault.invalid login ada password s3cret\n")
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "")
        address = "http://vault.invalid:8200"
        options = read_options(VaultOptions, {"address": address, "auth": {"token": "env:T"}}, where="backends.kv")
        connection = Connection(options)
        answer = connection.send("get", "sys/health", token=None, deadline=Deadline(timedelta(seconds=20)))
        connection.close()
        thread.join()
    assert answer.status == 200
    assert heard == [(f"{address}/v1/sys/health", None)]


def test_session_keeps_no_cookie_and_follows_no_redirect() -> None:
    """What a server or a proxy between asks a browser to do is not done: the token goes nowhere else."""
    heard = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.path, self.headers.get("Cookie")))
            self.send_response(307)
            self.send_header("Set-Cookie", "who=keyturn")
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    asked = [("sys/health", None), ("kv/data/a b", {"version": 3})]
    answers = []
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        options = read_options(VaultOptions, {"address": address, "auth": {"token": "env:T"}}, where="backends.kv")
        connection = Connection(options)
        for path, query in asked:
            thread = Thread(target=server.handle_request)
            thread.start()
            deadline = Deadline(timedelta(seconds=20))
            answers.append(connection.send("get", path, query=query, token=None, deadline=deadline).status)
            thread.join()
        connection.close()
    assert answers == [307, 307]
    assert heard == [("/v1/sys/health", None), ("/v1/kv/data/a%20b?version=3", None)]
