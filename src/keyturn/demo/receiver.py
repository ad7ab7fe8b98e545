"""Receives keyturn's notifications and keeps them: `python -m keyturn.demo.receiver PORT SECRET_FILE FILE`."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError

from keyturn.demo.loopback import LOOPBACK

LONGEST = 1 << 20


class Receiver(ThreadingHTTPServer):
    """Writes one line a notification, with whether its signature was right."""

    daemon_threads = True

    def __init__(self, port: int, secret: str, file: Path) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.webhook = Webhook(secret)
        self.file = file


class Handler(BaseHTTPRequestHandler):
    """Takes what is signed, and refuses the rest."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name that http.server calls
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), LONGEST))
        server = self.server
        if not isinstance(server, Receiver):
            raise TypeError("a handler of another server")
        try:
            payload = server.webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            self._answer(401)
            return
        line = {"id": self.headers.get("webhook-id"), "epoch": round(time.time(), 3), "payload": payload}
        with server.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._answer(204)

    def do_GET(self) -> None:  # asked whether it is there
        self._answer(204)

    def log_message(self, format: str, *args: object) -> None:  # its caller's name
        """What counts is in the file."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    with Receiver(int(sys.argv[1]), Path(sys.argv[2]).read_text().strip(), Path(sys.argv[3])) as receiver:
        receiver.serve_forever()
