"""A call ends by its deadline, whatever the steps of a request, and sends nothing after it (promise P7)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest

from keyturn.domain.errors import Transient
from keyturn.plugins.options import read_options
from keyturn.plugins.vault.connection import Connection, Deadline
from keyturn.plugins.vault.options import VaultOptions

TIMEOUT = 1.5
LATE = 3.5
"""A call that is over by then ended by its deadline, on however slow a machine: what does not, here takes 4 s or more."""
BEGINNING = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def connection_to(host: str, port: int) -> Connection:
    options = {"address": f"http://{host}:{port}", "auth": {"token": "env:T"}}
    return Connection(read_options(VaultOptions, options, where="backends.kv"))


def seconds_until_given_up(connection: Connection) -> float:
    began = time.monotonic()
    with pytest.raises(Transient):
        connection.send("delete", "secret/x", token=None, deadline=Deadline(timedelta(seconds=TIMEOUT)))
    connection.close()
    return time.monotonic() - began


@pytest.mark.parametrize("beginning", [BEGINNING + b"\r\n", BEGINNING + b"X-Slow: "], ids=["body", "headers"])
def test_answer_that_drips_is_given_up_in_time(listener: socket.socket, beginning: bytes) -> None:
    """Each byte of an answer comes in time, and the whole does not."""
    given_up = Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(beginning)
            for _ in range(20):
                if given_up.wait(TIMEOUT / 5):
                    return
                connection.sendall(b" ")

    thread = Thread(target=drip)
    thread.start()
    took = seconds_until_given_up(connection_to("127.0.0.1", listener.getsockname()[1]))
    given_up.set()
    thread.join()
    assert took < LATE


def test_addresses_of_a_name_share_the_time(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's addresses the first do not answer: together they have the time of one call, and the last gets its
    request in time."""
    with ExitStack() as held:
        deaf = full(held)
        known(monkeypatch, [deaf, deaf, deaf, listener.getsockname()])
        took = seconds_until_given_up(connection_to("vault.invalid", 8200))
        connection, _ = listener.accept()
        assert held.enter_context(connection).recv(65536).startswith(b"DELETE")
    assert took < LATE


def test_nothing_is_sent_when_connecting_took_all_the_time(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that took longer to resolve than the call may last: whoever made the call may hold its lease no longer."""
    known(monkeypatch, [listener.getsockname()], after=TIMEOUT)
    seconds_until_given_up(connection_to("vault.invalid", 8200))
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(65536) == b""


def full(held: ExitStack) -> Any:
    """The address of a server that takes no more connections: who asks hears nothing."""
    server = held.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    for _ in range(4):
        waiting = held.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(server.getsockname())
    return server.getsockname()


def known(monkeypatch: pytest.MonkeyPatch, addresses: list[Any], *, after: float = 0.0) -> None:
    """Have the resolver know a name by these addresses, and take its time to say so."""

    def resolve(*_: object, **__: object) -> list[Any]:
        Event().wait(after)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
