"""Connections that come from an address of choice: libpq cannot choose its own."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress


class Relay:
    """Passes connections on to a port of this machine, from one loopback address."""

    def __init__(self, port: int, source: str) -> None:
        self._target = ("127.0.0.1", port)
        self._source = source
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """No new connections; those that are open go on until one end closes."""
        # A close alone does not wake whoever waits in `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target, source_address=(self._source, 0))
                threading.Thread(target=_pass_on, args=(near, far), daemon=True).start()


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    """Both ways, until either end has nothing more to say: a database session is over then."""
    other = {near: far, far: near}
    with near, far, suppress(OSError):
        while True:
            for one in select.select([near, far], [], [])[0]:
                data = one.recv(65536)
                if not data:
                    return
                other[one].sendall(data)
