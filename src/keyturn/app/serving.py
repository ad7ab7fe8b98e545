"""Runs the daemon with its HTTP surface until it is told to stop."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn
from uvicorn.importer import import_from_string

from keyturn.app.checkup import Finding, outside
from keyturn.app.daemon import Daemon, open_daemon
from keyturn.app.state import OPERATOR, token_file
from keyturn.config import Config
from keyturn.domain.errors import ConfigError, KeyturnError
from keyturn.logs import place_of

log = structlog.get_logger(__name__)

SURFACE = "keyturn.api:create_api"
"""The HTTP application, named as servers name one: `api` stands above this package and imports it."""
STOPS = (signal.SIGTERM, signal.SIGINT)
GRACE = 3
"""Seconds for requests under way when stopping."""
HTTP_ENDED = "the HTTP server ended"
ASK_AGAIN = 30.0
"""Seconds between two looks at what is still missing."""


def serve(config: Config, *, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. Raises `ConfigError` when it cannot start."""
    # A queue, because its `put` may interrupt its own `get`: signal handlers run in between.
    stop: queue.SimpleQueue[str] = queue.SimpleQueue()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        stop.put(signal.Signals(number).name)

    before = {number: signal.signal(number, on_signal) for number in STOPS}
    try:
        with listen(config) as listener, open_daemon(config) as daemon:
            server = HttpServer(daemon, listener, on_end=lambda: stop.put(HTTP_ENDED))
            server.start()
            daemon.start()
            log.info("serving", url=server.url, credentials=len(config.credentials))
            announce(f"keyturn serves at {server.url}; operator token: {token_file(config.state_dir, OPERATOR)}")
            _tell_systemd()
            ended = threading.Event()
            # A thread of its own, which no stop waits for: what it asks may take long to answer.
            threading.Thread(target=_reporting, args=(daemon, announce, ended), daemon=True).start()
            reason = stop.get()
            log.info("stopping", reason=reason)
            ended.set()
            server.stop()
            if reason == HTTP_ENDED:
                raise KeyturnError("the HTTP server ended by itself: the log says why; start again")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_systemd() -> None:
    """That it serves, where `Type=notify` waits for that: whoever starts it with what it cannot run on is told at once."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # as systemd writes a socket that is in no folder
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.sendto(b"READY=1", address)
    except OSError as error:
        log.warning("systemd cannot be told that it serves", error=error.strerror or str(error))


def listen(config: Config) -> socket.socket:
    """The socket, bound before anything else is begun. Raises `ConfigError` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        place = config.document.problem(("http", "listen"), "")
        raise ConfigError(
            f"{place.file}:{place.line or 1}: http.listen: {config.host}:{config.port}: {error.strerror or error}; "
            "stop what listens there, or choose another address"
        ) from None
    return listener


class HttpServer:
    """The HTTP surface in a thread of its own: signals are the main thread's."""

    def __init__(self, daemon: Daemon, listener: socket.socket, *, on_end: Callable[[], None] | None = None) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        settings = uvicorn.Config(
            import_from_string(SURFACE)(daemon),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACE,
        )
        self._server = uvicorn.Server(settings)
        self._listener = listener
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End requests under way and stop answering."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            if self._on_end is not None:
                self._on_end()


def _reporting(daemon: Daemon, announce: Callable[[str], None], ended: threading.Event) -> None:
    try:
        report_missing(daemon, announce, ended)
    except Exception as error:  # noqa: BLE001 - what it only tells must not end what works
        if not ended.is_set():  # plugins that are being closed may say anything
            log.error("check-up met a defect", **place_of(error))  # noqa: TRY400 - a traceback may show values


def report_missing(daemon: Daemon, announce: Callable[[str], None], ended: threading.Event) -> None:
    """Say in one line what is missing, again when that changes, until nothing is. Ticks go on trying meanwhile."""
    said: list[Finding] = []
    while not ended.is_set():
        missing = outside(daemon.registry)
        if ended.is_set():
            return
        if missing and missing != said:
            line = "; ".join(f"{finding.subject}: {finding.message}" for finding in missing)
            log.warning("missing", findings=[f"{finding.subject}: {finding.message}" for finding in missing])
            announce(f"keyturn misses: {line}; it keeps trying")
        if not missing:
            if said:
                announce("keyturn misses nothing any more")
            return
        said = missing
        ended.wait(ASK_AGAIN)
