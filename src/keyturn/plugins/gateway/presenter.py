"""Presents keys to one verifier as a client would: on a new connection, and on one held open since before."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.probe_mark import PROBE_HEADER

_LONGEST_BODY = 1 << 20
"""An answer is read to its end only so that its connection can be held; the status alone tells."""
_REFUSALS = frozenset({401, 403})
# What comes from behind the check of the key. Other answers (400, 429, 5xx) may come from before it and prove nothing.
_ANSWERS = frozenset({*range(200, 400), 404, 405})


class Answer(StrEnum):
    """How one presentation went."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NONE = "none"
    """Nothing that tells: no connection, a timeout, an answer that may come from before the key was looked at."""
    GONE = "gone"
    """The verifier had closed the held connection before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back to one presentation."""

    answer: Answer
    cut: str = ""
    """Why it was not read to its end, so that its connection cannot be held: "is longer than 1 MiB"; empty if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how to present."""

    address: str
    path: str
    header: str
    timeout: float


class Presenter:
    """Presents to one verifier, and holds one kept-alive connection to it from one presentation to the next."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._held: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def present(self, value: SecretValue, mark: Callable[[], str | None]) -> tuple[Answer, Answer]:
        """The answers on a new connection and on the held one; `mark` makes the header of one presentation.

        A held connection that the verifier has closed is gone, as it would be for a client: the new one is held instead.
        """
        with self._lock:
            fresh = self._connect()
            on_new = self._ask(fresh, value, mark()).answer
            if self._held is not None:
                on_held = self._ask(self._held, value, mark()).answer
                if on_held is not Answer.GONE:
                    fresh.close()
                    self._hold(self._held)
                    return on_new, on_held
                self._held.close()
            self._hold(fresh)
            return (Answer.NONE if on_new is Answer.GONE else on_new), Answer.GONE

    def present_new(self, value: SecretValue, mark: str | None = None) -> Answer:
        """The answer on a new connection, which is closed after."""
        return self.hear(value, mark).answer

    def hear(self, value: SecretValue, mark: str | None = None) -> Heard:
        """What comes back on a new connection, which is closed after."""
        connection = self._connect()
        try:
            return self._ask(connection, value, mark)
        finally:
            connection.close()

    def close(self) -> None:
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None

    def _hold(self, connection: http.client.HTTPConnection) -> None:
        """Unless it was closed with its answer: asked again, it would be a new one."""
        self._held = connection if connection.sock is not None else None

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._place.address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self._place.timeout)

    def _ask(self, connection: http.client.HTTPConnection, value: SecretValue, mark: str | None) -> Heard:
        held = connection.sock is not None
        if held:
            connection.sock.settimeout(self._place.timeout)
        deadline = time.monotonic() + self._place.timeout
        headers = {self._place.header: value.reveal()}
        if mark is not None:
            headers[PROBE_HEADER] = mark
        try:
            connection.request("GET", self._place.path, headers=headers)
            stream = connection.sock
            response = connection.getresponse()
        except TimeoutError:
            connection.close()
            return Heard(answer=Answer.NONE)
        except (OSError, http.client.HTTPException):
            connection.close()
            return Heard(answer=Answer.GONE if held else Answer.NONE)
        cut = _read(response, stream, deadline)
        if cut:
            response.close()
            connection.close()
        if response.status in _REFUSALS:
            return Heard(answer=Answer.REFUSED, cut=cut)
        return Heard(answer=Answer.ACCEPTED if response.status in _ANSWERS else Answer.NONE, cut=cut)


def _read(response: http.client.HTTPResponse, stream: socket.socket, deadline: float) -> str:
    """Read the answer to its end; why not, if it is not there in time, or too long to be waited for."""
    left = _LONGEST_BODY + 1
    try:
        while left > 0:
            if (remaining := deadline - time.monotonic()) <= 0:
                return "does not end within the timeout"
            stream.settimeout(remaining)
            piece = response.read1(left)
            if not piece:
                response.read()  # nothing is left: this frees the connection
                return ""
            left -= len(piece)
    except TimeoutError:
        return "does not end within the timeout"
    except (OSError, http.client.HTTPException):
        return "breaks off"
    return f"is longer than {_LONGEST_BODY >> 20} MiB"
