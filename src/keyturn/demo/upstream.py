"""The tiny application behind the gateway: `python -m keyturn.demo.upstream PORT`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keyturn.demo.loopback import LOOPBACK

BODY = b'{"served": true}\n'


class Handler(BaseHTTPRequestHandler):
    """Answers every GET, and keeps its connections open for as long as nginx wants them."""

    protocol_version = "HTTP/1.1"
    # One write an answer: header and body apart would wait for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # its caller's name
        """Log nothing: the gateway's log is the one that counts."""


class Server(ThreadingHTTPServer):
    """Its threads end with the process."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server((LOOPBACK, int(sys.argv[1])), Handler) as server:
        server.serve_forever()
