"""Free ports on loopback, chosen so that parallel runs never take each other's."""

import random
import socket
import threading

from keyturn.demo.waiting import PartFailed

LOOPBACK = "127.0.0.1"
# Below Linux's range for outgoing connections, whose ports would otherwise be taken from under us.
PORT_RANGE = range(12_000, 31_000)


class PortClaims:
    """Ports claimed for one family, by an abstract socket each.

    Such a socket is refused to other processes, dies with this one, and leaves no file behind.
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []
        self._lock = threading.Lock()

    def claim(self, count: int = 1) -> int:
        """The first of `count` consecutive ports that nobody listens on or has claimed."""
        for _ in range(500):
            first = random.choice(PORT_RANGE)  # noqa: S311  # not a secret
            claims: list[socket.socket] = []
            for port in range(first, first + count):
                claim = _claim(port)
                if claim is None:
                    break
                claims.append(claim)
            if len(claims) == count:
                with self._lock:
                    self._claims.extend(claims)
                return first
            for claim in claims:
                claim.close()
        raise PartFailed(f"no {count} consecutive free ports on {LOOPBACK}")

    def release(self) -> None:
        with self._lock:
            for claim in self._claims:
                claim.close()
            self._claims.clear()


def _claim(port: int) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0keyturn-demo-port-{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError:
        claim.close()
        return None
    return claim
