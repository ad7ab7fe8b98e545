"""One client of the gateway as a process of its own: `python -m keyturn.demo.clients --name …`."""

import argparse
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TextIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError, ProtocolError

from keyturn.demo.client_keys import (
    LOOK_EVERY,
    FileSource,
    KeySource,
    KeyUnreadable,
    VaultSource,
    kid_of,
)

REQUEST_TIMEOUT = 5.0
FIRST_READ_WITHIN = 30.0
SOURCES = ("vault", "file", "aws", "aws-cache")


class FromAddress(HTTPAdapter):
    """Connections from one loopback address, kept alive, and never a request sent twice.

    urllib3 looks whether an idle connection was closed by the server before it uses it again.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **rest: object) -> None:
        super().init_poolmanager(  # type: ignore[no-untyped-call, unused-ignore]
            connections, maxsize, block, source_address=(self._address, 0), **rest
        )


class HeldKey:
    """The key a client presents now, read at boot and, unless told never to, again and again."""

    def __init__(self, source: KeySource, stop: threading.Event) -> None:
        self._source = source
        self._stop = stop
        self.value = ""

    def read_first(self) -> bool:
        deadline = time.monotonic() + FIRST_READ_WITHIN
        while not self.read():
            if time.monotonic() >= deadline or self._stop.wait(LOOK_EVERY):
                return False
        return True

    def refresh(self) -> None:
        while not self._stop.wait(self._source.every):
            self.read()

    def read(self) -> bool:
        """Read it once; tells whether it could be."""
        try:
            fresh = self._source.read()
        except KeyUnreadable as error:
            # An application goes on with the key it has.
            say(f"could not read the key: {error}")
            return False
        if fresh != self.value:
            say(f"presents {kid_of(fresh) or 'a key of unknown form'}")
        self.value = fresh
        return True


class Caller:
    """Sends requests to the nodes in turn and records each one."""

    def __init__(self, *, name: str, address: str, nodes: Sequence[str], record: TextIO) -> None:
        self._name = name
        self._nodes = [node.partition("=")[::2] for node in nodes]
        self._record = record
        self._turn = 0
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", FromAddress(address))

    def request(self, key: str) -> None:
        node, address = self._nodes[self._turn % len(self._nodes)]
        self._turn += 1
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "epoch": round(time.time(), 3),
            "client": self._name,
            "node": node,
            "kid": kid_of(key),
        }
        begun = time.monotonic()
        try:
            answer = self._session.get(
                f"http://{address}/",
                headers={"X-Api-Key": key, "User-Agent": self._name},
                timeout=REQUEST_TIMEOUT,
                allow_redirects=False,
            )
            line["status"] = answer.status_code
        except requests.RequestException as error:
            line["error"] = error_kind(error)
        line["latency"] = round(time.monotonic() - begun, 4)
        self._record.write(json.dumps(line) + "\n")
        self._record.flush()


def error_kind(error: requests.RequestException) -> str:
    """What went wrong, in one word that a report can count."""
    if isinstance(error, requests.ConnectTimeout):
        return "connect_timeout"
    if isinstance(error, requests.Timeout):
        return "read_timeout"
    cause: object = error.args[0] if error.args else None
    if isinstance(cause, ProtocolError):
        return "connection_broken"
    if isinstance(getattr(cause, "reason", cause), NewConnectionError):
        return "connection_refused"
    return type(error).__name__


def say(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")
    sys.stdout.flush()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m keyturn.demo.clients", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", required=True, help="loopback address to come from")
    parser.add_argument("--node", required=True, action="append", help="NAME=HOST:PORT; repeat")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--record", type=Path, required=True, help="file for one line a request")
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--backend", default="", help="address of OpenBao or AWS")
    parser.add_argument("--secret", default="", help="MOUNT/PATH, or the secret's name")
    parser.add_argument("--field", default="", help="field within the secret")
    parser.add_argument("--credentials", type=Path, help="file with the token or the access key")
    parser.add_argument("--key-file", type=Path, help="file that an agent renders")
    parser.add_argument("--refresh", type=float, default=1.0, help="seconds between two reads")
    parser.add_argument("--never-refresh", action="store_true", help="read at boot and on SIGHUP only")
    return parser.parse_args(arguments)


def source_of(options: argparse.Namespace) -> KeySource:
    if options.source == "file":
        return FileSource(path=options.key_file, every=min(options.refresh, LOOK_EVERY))
    if options.source == "vault":
        return VaultSource(
            address=options.backend,
            token_file=options.credentials,
            secret=options.secret,
            field=options.field,
            every=options.refresh,
        )
    # Imported here: the other clients need not wait for it.
    from keyturn.demo.client_aws import AwsSource

    return AwsSource(
        endpoint_url=options.backend,
        credentials_file=options.credentials,
        secret=options.secret,
        field=options.field,
        every=options.refresh,
        cached=options.source == "aws-cache",
    )


def run(options: argparse.Namespace) -> int:
    stop, told = threading.Event(), threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    def read_again(_number: int, _frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGHUP, read_again)
    key = HeldKey(source_of(options), stop)
    if not key.read_first():
        say("no key, no requests")
        return 1
    if not options.never_refresh:
        threading.Thread(target=key.refresh, name="refresh", daemon=True).start()
    with options.record.open("a") as record:
        caller = Caller(name=options.name, address=options.address, nodes=options.node, record=record)
        period = 1 / options.rate
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            if told.is_set():
                told.clear()
                key.read()
            caller.request(key.value)
            # Late requests are left out rather than sent in a burst that no policy was made for.
            elapsed = math.ceil((time.monotonic() - due) / period)
            due += period * max(1, elapsed)
    return 0


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:])))
