"""What the gateways really list and really accept: the demo's own look, which keyturn has no part in."""

import contextlib
import http.client
import re
import time
from collections.abc import Sequence

from keyturn.demo.gateway import KEY_HEADER, GatewayNode, TableKey
from keyturn.demo.nginx_config import HEALTH
from keyturn.demo.traffic import REFUSALS

LINE = re.compile(r'\s*"(?P<value>[^"]+)"\s+"(?P<kid>[A-Za-z0-9]+):(?P<state>active|disabled|revoked)";')
OPEN_EVERY = 1.0
HOLD = 6
TIMEOUT = 5.0


def table_of(node: GatewayNode) -> tuple[TableKey, ...]:
    """A node's key table, as it stands in its file."""
    found = (LINE.match(line) for line in node.key_table.read_text().splitlines())
    return tuple(
        TableKey(value=match["value"], kid=match["kid"], state=match["state"])  # type: ignore[arg-type]
        for match in found
        if match is not None
    )


class Authority:
    """The nodes, every key that was ever seen in their tables, and connections held open to them."""

    def __init__(self, nodes: Sequence[GatewayNode]) -> None:
        self.nodes = tuple(nodes)
        self._values: dict[str, str] = {}
        self._held: list[tuple[GatewayNode, http.client.HTTPConnection]] = []
        self._opened = 0.0

    def look(self) -> None:
        """Remember the keys in the tables, and hold a fresh connection to each node once in a while."""
        for node in self.nodes:
            self._values |= {key.kid: key.value for key in table_of(node)}
        if time.monotonic() - self._opened >= OPEN_EVERY:
            self._opened = time.monotonic()
            for node in self.nodes:
                self._hold(node)

    def close(self) -> None:
        for _, connection in self._held:
            connection.close()
        self._held.clear()

    @property
    def kids(self) -> frozenset[str]:
        """Every key id that was ever in a table."""
        return frozenset(self._values)

    def alive(self, kid: str) -> list[str]:
        """Where a key is not refused, one line a node: on a new connection, or on one held open since before."""
        value = self._values.get(kid)
        if value is None:
            return [f"key {kid} was never seen in a key table"]
        lines = []
        for node in self.nodes:
            status = node.present(value)
            if status not in REFUSALS:
                lines.append(f"{node.name} answers {status} to key {kid} on a new connection")
        held = [(node.name, _present(connection, value)) for node, connection in self._held]
        answered = {(name, status) for name, status in held if status is not None and status not in REFUSALS}
        lines += [
            f"{name} answers {status} to key {kid} on a connection held open since before"
            for name, status in sorted(answered)
        ]
        return lines

    def orphans(self, *, current: str) -> list[str]:
        """Keys in a table that are neither the current one nor revoked."""
        return [
            f"{node.name}: key {key.kid} is {key.state}"
            for node in self.nodes
            for key in table_of(node)
            if key.kid != current and key.state != "revoked"
        ]

    def state(self, node: GatewayNode, kid: str) -> str:
        """What a node's table says of a key."""
        return next((key.state for key in table_of(node) if key.kid == kid), "absent")

    def _hold(self, node: GatewayNode) -> None:
        connection = http.client.HTTPConnection(node.host, node.port, timeout=TIMEOUT)
        # nginx keeps a connection that has had a request; this path needs no key and is not logged.
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", HEALTH)
            connection.getresponse().read()
            self._held.append((node, connection))
        mine = [one for one in self._held if one[0] is node]
        for oldest in mine[:-HOLD]:
            oldest[1].close()
            self._held.remove(oldest)


def _present(connection: http.client.HTTPConnection, value: str) -> int | None:
    """The status on a connection that is open; None when the node has closed it meanwhile, as for any client."""
    if connection.sock is None:
        return None
    # No new connection behind our back: what is asked is this one.
    connection.auto_open = 0
    try:
        connection.request("GET", "/", headers={KEY_HEADER: value})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    return answer.status
