"""Somebody else who has the key: `python -m keyturn.demo.attacker`. Presents it to every node without end, on new
connections and on some that were opened a while before."""

import argparse
import collections
import contextlib
import http.client
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from keyturn.demo.client_keys import kid_of
from keyturn.demo.gateway import KEY_HEADER
from keyturn.demo.nginx_config import HEALTH

EVERY = 0.2
HELD_FOR = 0.8
"""Seconds that a connection is open and idle before the key is presented on it: less than the gateways keep such a one,
so that it meets whoever served it before a reload."""
TIMEOUT = 5.0


class Node:
    """One node under attack."""

    def __init__(self, name: str, host: str, port: int, *, source: str) -> None:
        self.name = name
        self._endpoint = (host, port)
        self._source = source
        self._held: collections.deque[tuple[float, http.client.HTTPConnection]] = collections.deque()

    def present(self, key: str) -> Iterator[dict[str, object]]:
        """Present the key once on a new connection, and on each held one whose time has come."""
        connection = self._connection()
        yield self._sent(connection, key, held=False)
        connection.close()
        while self._held and time.monotonic() - self._held[0][0] >= HELD_FOR:
            _, connection = self._held.popleft()
            # What is asked is this connection, and no new one behind our back.
            connection.auto_open = 0
            line = self._sent(connection, key, held=True)
            connection.close()
            if "error" not in line:
                # Else the node had closed it, as it may: nothing was presented.
                yield line
        self._hold()

    def _hold(self) -> None:
        connection = self._connection()
        # nginx keeps a connection that has had a request; this path needs no key and is not logged.
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", HEALTH)
            connection.getresponse().read()
            self._held.append((time.monotonic(), connection))

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._endpoint, timeout=TIMEOUT, source_address=(self._source, 0))

    def _sent(self, connection: http.client.HTTPConnection, key: str, *, held: bool) -> dict[str, object]:
        now, begun = datetime.now(UTC), time.monotonic()
        line: dict[str, object] = {
            "time": now.isoformat(timespec="milliseconds"),
            "epoch": round(now.timestamp(), 3),
            "node": self.name,
            "kid": kid_of(key),
            "held": held,
        }
        try:
            connection.request("GET", "/", headers={KEY_HEADER: key})
            answer = connection.getresponse()
            answer.read()
            line["status"] = answer.status
        except (OSError, http.client.HTTPException) as error:
            line["error"] = type(error).__name__
        line["latency"] = round(time.monotonic() - begun, 4)
        return line


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m keyturn.demo.attacker", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", required=True, help="loopback address to come from")
    parser.add_argument("--node", required=True, action="append", help="NAME=HOST:PORT; repeat")
    parser.add_argument("--record", type=Path, required=True, help="file for one line a request")
    parser.add_argument("--key-file", type=Path, required=True, help="file with the stolen key")
    options = parser.parse_args()
    stop = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    key = options.key_file.read_text().strip()
    nodes = []
    for one in options.node:
        name, _, address = one.partition("=")
        host, _, port = address.rpartition(":")
        nodes.append(Node(name, host, int(port), source=options.address))
    with options.record.open("a") as record:
        while not stop.wait(EVERY):
            for node in nodes:
                for line in node.present(key):
                    record.write(json.dumps({"client": options.name, **line}) + "\n")
            record.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
