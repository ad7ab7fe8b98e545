"""One credential's rotations, one after the other, each as its course says, while the daemon may die of anything."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import DatabaseError
from tests.chaos.courses import GRACE, ROLLBACK, Course
from tests.chaos.daemons import Daemon
from tests.chaos.ground import Ground, Secret
from tests.chaos.ledger import Ledger

from keyturn.demo.authority import table_of
from keyturn.demo.waiting import wait_until

LOOK_EVERY = 0.2
STOPS = 3
"""Before, within and after what it writes at its end."""
SETTLED = 4
"""Ticks after an end, and after a stop, for what is done beside a rotation: messages, the first check."""


@dataclass(kw_only=True)
class Driven:
    """What was asked of a daemon, and how often it was killed over it."""

    daemon: Daemon
    ground: Ground
    secret: Secret
    ledger: Ledger
    limit: float
    """On the monotonic clock."""
    courses: list[Course] = field(default_factory=list)
    """Those that were begun."""
    fresh: int = 0
    """Kills in the last of them."""

    @property
    def kills(self) -> int:
        own = set(self.daemon.pids)
        return sum(one["pid"] in own for one in self.daemon.met)

    def run(self, course: Course) -> None:
        """One rotation, to its end and until the daemon is at rest."""
        before = self.kills
        served = self.ground.served(self.secret)
        if course.compromised:
            grace = f"{GRACE.total_seconds():g}s"
            self._begin("emergency", {"reason": "chaos", "grace": grace})
        else:
            self._begin("rotate", {"reason": "chaos"})
        self.courses.append(course)
        if course is ROLLBACK:
            self._until(lambda: self._is_disabled(served), "the old key was disabled")
            self._until(self._turned, "it was rolled back")
        self._until(lambda: not self.ledger.rotations()[self.secret.name].live, "it ended")
        self._rest()
        self.fresh = self.kills - before

    def stop_often(self) -> None:
        """Have it end by itself, at the points that only then come."""
        for _ in range(STOPS):
            with contextlib.suppress(ProcessLookupError):  # it has just been killed
                self.daemon.send(signal.SIGTERM)
            self._rest()

    def _begin(self, command: str, body: Mapping[str, object]) -> None:
        """Ask until it has begun: the daemon may die of the asking."""
        name = self.secret.name

        def begun() -> bool:
            with contextlib.suppress(DatabaseError):  # its first lives may not have made the tables yet
                if len(self.ledger.rotation_ids(name)) > len(self.courses):
                    return True
                self.daemon.ask("POST", f"{name}/{command}", body)
            return False

        self._until(begun, f"{name} began to {command}")

    def _is_disabled(self, kid: str) -> bool:
        nodes = self.ground.gateways[self.secret.authority].nodes
        return all(key.state == "disabled" for node in nodes for key in table_of(node) if key.kid == kid)

    def _turned(self) -> bool:
        standing = self.ledger.rotations()[self.secret.name]
        if standing.live and standing.phase != "rollback":
            self.daemon.ask("POST", f"{self.secret.name}/rollback", {"reason": "chaos"})
        return not standing.live or standing.phase == "rollback"

    def _rest(self) -> None:
        since = time.time()
        self._until(lambda: self.daemon.ticks(since) >= SETTLED, "it ticked")

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        left = self.limit - time.monotonic()
        wait_until(reached, within=left, what=what, part=self.daemon.part, every=LOOK_EVERY)
