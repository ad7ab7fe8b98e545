"""Connections on which a request is over when its time is: urllib3 bounds each step of one, and the steps can be many."""

from __future__ import annotations

import socket
import time
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError


class _InTime(HTTPConnection):
    """Shares the time to connect among the addresses of a name, sends nothing after it, and reads no longer than told."""

    def connect(self) -> None:
        whole = self.timeout or 0.0
        end = time.monotonic() + whole
        addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        self.timeout = whole / len(addresses)
        try:
            super().connect()
        finally:
            self.timeout = whole
        if time.monotonic() >= end:
            self.close()
            raise ConnectTimeoutError(self, "connected when the time was over")

    class response_class(HTTPResponse):  # noqa: N801  # as http.client calls it
        """An answer that is whole within the time that urllib3 grants its first byte."""

        def __init__(self, sock: socket.socket, *about: Any, **more: Any) -> None:
            super().__init__(sock, *about, **more)
            self.fp = BufferedReader(_Reader(self.fp.detach(), sock))


class _InTimeByTls(_InTime, HTTPSConnection):
    """The same by TLS."""


IN_TIME = {"http": _InTime, "https": _InTimeByTls}
"""By the scheme of their pool."""


class _Reader(RawIOBase):
    """What comes through a socket within its timeout, all of it together."""

    def __init__(self, raw: RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._time = sock.gettimeout() or 0.0
        self._end = time.monotonic() + self._time

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left to read on")
        self._socket.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._socket.settimeout(self._time)  # the next request's bytes are sent with it

    def close(self) -> None:
        self._raw.close()
        super().close()
