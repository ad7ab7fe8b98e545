"""A scenario under way: waiting for what should happen, while the traffic goes on and somebody watches."""

import time
from collections.abc import Callable

from keyturn.demo.daemon import Status
from keyturn.demo.traffic import failed, latest_by_client, refused
from keyturn.demo.view import ClientRow, Frame, View
from keyturn.demo.waiting import PartFailed
from keyturn.demo.world import World

EVERY = 0.1
ENDED = frozenset({"completed", "rolled_back", "superseded"})


class NotReached(RuntimeError):  # named for what happened
    """Something that a scenario waits for did not happen in time."""


class Run:
    """One scenario's world, and the person who watches."""

    def __init__(self, world: World, view: View, *, limit: float) -> None:
        self.world = world
        self.note = ""
        self._view = view
        self._limit = time.monotonic() + limit

    def say(self, text: str) -> None:
        """A line that stays, for something that the scenario itself does."""
        self.note = text
        self._view.say(text)

    def wait(self, reached: Callable[[Status], bool], *, what: str) -> Status:
        """Watch until the daemon's status is as wanted; the scenario's time limit holds for all waits together."""
        while True:
            status = self.watch()
            if status is not None and reached(status):
                return status
            self.check_time(what)
            part = self.world.daemon.part
            if part is not None and not part.alive:
                raise PartFailed(f"keyturn ended with {part.exit_code}; its log's end:\n{part.log_tail()}")
            time.sleep(EVERY)

    def wait_phase(self, *phases: str) -> Status:
        """Watch until the rotation is in one of these phases, or has ended in another."""
        status = self.wait(lambda now: now.phase in (*phases, *ENDED), what=f"the rotation came to {phases[0]}")
        if status.phase not in phases:
            raise NotReached(f"the rotation ended as {status.phase} and never came to {phases[0]}")
        return status

    def wait_hold(self, reason: str) -> Status:
        """Watch until the rotation stands still for this reason; one that turns back instead never will."""
        status = self.wait(lambda now: now.hold == reason or now.phase in ("rollback", *ENDED), what=f"held: {reason}")
        if status.hold != reason:
            raise NotReached(f"the rotation came to {status.phase} and was never held: {reason}")
        return status

    def wait_end(self) -> Status:
        """Watch until the rotation has ended, however."""
        return self.wait(lambda now: now.phase in ENDED, what="the rotation ended")

    def linger(self, seconds: float) -> None:
        """Let traffic go on for a while, and watch."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.watch()
            time.sleep(EVERY)

    def watch(self) -> Status | None:
        """One look at everything."""
        status = self.world.daemon.status()
        self.show(status)
        return status

    def show(self, status: Status | None) -> None:
        """Tell who watches how it stands."""
        world = self.world
        world.authority.look()
        requests = world.traffic.read()
        latest = latest_by_client(requests)
        counts = dict.fromkeys(latest, 0)
        refusals = dict.fromkeys(latest, 0)
        for request in requests:
            counts[request.client] += 1
            refusals[request.client] += refused(request)
        rows = tuple(
            ClientRow(
                name=client.spec.name,
                version=self._version(latest[client.spec.name].kid) if client.spec.name in latest else "",
                requests=counts.get(client.spec.name, 0),
                refused=refusals.get(client.spec.name, 0),
            )
            for client in world.clients
        )
        self._view.show(
            Frame(status=status, clients=rows, failed=sum(failed(request) for request in requests), note=self.note)
        )

    def check_time(self, what: str) -> None:
        """Give up on `what` once the scenario's time is over."""
        if time.monotonic() >= self._limit:
            raise NotReached(f"not in time: {what}")

    def _version(self, kid: str) -> str:
        return "the old key" if kid == self.world.old_kid else "the new key"
