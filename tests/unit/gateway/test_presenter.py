"""What the presenter makes of answers that a node behind nginx never gives, at a server of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.presenter import Answer, Heard, Place, Presenter

KEY = SecretValue("kt_a_key")
TIMEOUT = 0.5
PAGES = {"/page": 20_000, "/long": 1 << 20}


class Server(ThreadingHTTPServer):
    """Answers a page, or what has no end: a stream of six seconds or four megabytes, half a piece. Counts connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.stopped = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        if self.path in PAGES:
            self.send_response(200)
            self.send_header("Content-Length", str(PAGES[self.path]))
            self.end_headers()
            self.wfile.write(b"x" * PAGES[self.path])
            return
        if self.path == "/broken":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ff\r\n:")
            self.close_connection = True
            return
        self.send_response(401 if self.path == "/refusing" else 200)
        self.end_headers()
        piece, pause = (b":" * (1 << 16), 0.0) if self.path == "/flood" else (b":", 0.1)
        for _ in range(64):
            self.wfile.write(piece)
            if self.server.stopped.wait(pause):
                break
        self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the presenter has heard enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.stopped.set()
        made.shutdown()
        thread.join()


def presenter(server: Server, path: str) -> Presenter:
    address = f"http://127.0.0.1:{server.server_port}"
    return Presenter(Place(address=address, path=path, header="X-Api-Key", timeout=TIMEOUT))


@pytest.mark.parametrize(
    ("path", "answer"), [("/drip", Answer.ACCEPTED), ("/refusing", Answer.REFUSED), ("/flood", Answer.ACCEPTED)]
)
def test_answer_without_end_is_not_waited_for(server: Server, path: str, answer: Answer) -> None:
    """The status tells; what streams after it takes no longer than the timeout, and its connection is not held."""
    presenting, began = presenter(server, path), time.monotonic()
    assert presenting.present(KEY, lambda: None) == (answer, Answer.GONE)
    assert presenting.present(KEY, lambda: None) == (answer, Answer.GONE)
    assert time.monotonic() - began < 4 * TIMEOUT
    assert server.connections == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/page", ""),
        ("/long", ""),
        ("/drip", "does not end within the timeout"),
        ("/flood", "is longer than 1 MiB"),
        ("/broken", "breaks off"),
    ],
)
def test_it_is_told_why_a_connection_cannot_be_held(server: Server, path: str, why: str) -> None:
    """The key is accepted either way; an answer that was not read to its end says what it was that kept it from that."""
    assert presenter(server, path).hear(KEY) == Heard(answer=Answer.ACCEPTED, cut=why)


@pytest.mark.parametrize("path", PAGES)
def test_connection_is_held_from_one_answer_to_the_next(server: Server, path: str) -> None:
    """A page is read to its end, up to a length of 1 MiB, and asked for on the held connection again."""
    presenting = presenter(server, path)
    assert presenting.present(KEY, lambda: None) == (Answer.ACCEPTED, Answer.GONE)
    for _ in range(2):
        assert presenting.present(KEY, lambda: None) == (Answer.ACCEPTED, Answer.ACCEPTED)
    assert server.connections == 3
    presenting.close()
