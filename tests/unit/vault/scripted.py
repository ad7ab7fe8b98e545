"""A server that says what a test scripts, where Vault itself cannot be brought to say it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from keyturn.app.clock import SystemClock
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault import vault_kv2
from keyturn.ports.plugin import Surroundings

TOKEN: dict[str, object] = {"token": "env:TOKEN"}


class Scripted:
    """What is answered, by method and path, and what was asked; a path that is not scripted gets `otherwise`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[tuple[str, str], tuple[int, object]] = {
            ("GET", "auth/token/lookup-self"): (200, {"data": {"ttl": 0}}),
            ("GET", "sys/internal/ui/mounts/secret"): (200, {"data": {"type": "kv", "options": {"version": "2"}}}),
        }
        self.otherwise: tuple[int, object] = (404, {"errors": []})
        self.asked: list[tuple[str, str, Any]] = []

    def backend(self, auth: dict[str, object] | None = None) -> vault_kv2:
        """The plugin at this server."""
        surroundings = Surroundings(clock=SystemClock(), resolve=lambda _: SecretValue("a token"))
        return vault_kv2("kv", {"address": self.address, "auth": auth or TOKEN}, surroundings)


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A server of the test's own, gone at the end. Texts are sent as they are, all else as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = (self.command, self.path.removeprefix("/v1/").partition("?")[0])
            made.asked.append((*asked, json.loads(body) if body else None))
            status, said = made.answers.get(asked, made.otherwise)
            text = said if isinstance(said, str) else json.dumps(said)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = do_LIST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Scripted(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
