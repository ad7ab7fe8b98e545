"""Many rotations on several replicas, and everything that can happen to them and between them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.exc import OperationalError
from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.house import House, Replica
from tests.chaos.proxy import Link

from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed, wait_until

CALM = (1.0, 4.0)
"""Seconds between two faults."""
MOST = 4
"""Replicas."""
LEAST = 2
LOOK_EVERY = 0.5
STILL = 2
"""So many ticks of every replica after the last end, for what is still on its way to be found and undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weathered:
    """How a storm went."""

    faults: Counter[str]
    waited: float
    """Seconds from the last fault's end until the last of the rotations under way was worked on again."""
    bound: float
    """The lease's time and two ticks, as long as ticks were then."""
    under_way: int
    """Rotations at that moment."""
    rotations: int
    requests: int
    refused: int
    orphans: int
    seconds: float
    broken: list[str]


@dataclass(kw_only=True)
class Storm:
    """Faults by chance, each of which ends; one at a time or several."""

    house: House
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    _ends: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def blow(self, until: float, over: Callable[[], bool]) -> None:
        """Faults until then, or until there is nothing left to disturb; all of them have ended when this returns."""
        following = time.monotonic()
        try:
            while time.monotonic() < until and not over():
                self._end(time.monotonic())
                if time.monotonic() >= following:
                    self._begin()
                    following = time.monotonic() + self.chance.uniform(*CALM)
                time.sleep(0.1)
        finally:
            self._end(float("inf"))

    def _end(self, now: float) -> None:
        for due, end in [one for one in self._ends if one[0] <= now]:
            self._ends.remove((due, end))
            end()

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))

    def _begin(self) -> None:
        kinds: dict[Callable[[], str | None], int] = {
            self._kill: 6,
            self._pause: 6,
            self._add: 3,
            self._leave: 2,
            self._cut: 8,
            self._restart_postgres: 2,
            self._restart_openbao: 1,
            self._seal_openbao: 1,
        }
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself, and will start again
            done = kind()
            if done is not None:
                self.faults[done] += 1

    def _one(self) -> Replica:
        return self.chance.choice([one for one in self.house.replicas if one.daemon.pids])

    def _kill(self) -> str | None:
        """It is started again at once."""
        self._one().daemon.send(signal.SIGKILL)
        return "replica killed"

    def _pause(self) -> str | None:
        one = self._one()
        pid = one.daemon.pid
        one.daemon.send(signal.SIGSTOP)
        long = self.chance.random() < 0.5
        seconds = self.house.lease * (self.chance.uniform(1.1, 2.5) if long else self.chance.uniform(0.1, 0.9))
        self._for(seconds, partial(_wake, pid))
        return f"replica paused for {'longer' if long else 'less'} than its lease"

    def _add(self) -> str | None:
        if len(self.house.replicas) >= MOST:
            return None
        self.house.add()
        return "replica added"

    def _leave(self) -> str | None:
        if len(self.house.replicas) <= LEAST:
            return None
        one = self._one()
        self.house.replicas.remove(one)
        if one.daemon.part is not None:
            one.daemon.part.ask_to_stop()
        return "replica stopped"

    def _cut(self) -> str | None:
        one = self._one()
        part = self.chance.choice(sorted(one.ways))
        link = self.chance.choice([Link.CUT, Link.SILENT])
        self.house.proxies.set(one.ways[part], link)
        self._for(self.chance.uniform(0.5, 6.0), partial(self.house.proxies.set, one.ways[part], Link.WHOLE))
        what = part if part in ("postgres", "openbao") else "gateway"
        return f"TCP to {what} {'cut' if link is Link.CUT else 'silent'}"

    def _restart_postgres(self) -> str | None:
        crash = self.chance.random() < 0.5
        if crash:
            self.house.postgres.part.kill()
        else:
            self.house.postgres.part.stop(grace=5.0)
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.house.postgres.start()
        return f"PostgreSQL {'killed' if crash else 'stopped'} and started"

    def _restart_openbao(self) -> str | None:
        self.house.ground.openbao.part.kill()
        self.house.ground.openbao.restart()
        return "OpenBao killed and started"

    def _seal_openbao(self) -> str | None:
        openbao = self.house.ground.openbao
        openbao.call("PUT", "sys/seal")
        time.sleep(self.chance.uniform(0.0, 3.0))
        openbao.part.stop()
        openbao.restart()
        return "OpenBao sealed and started"


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def weather(house: House, *, seed: int, storm_seconds: float, seconds: float, say: Callable[[str], None]) -> Weathered:
    """Rotate every credential once while the storm blows, and then in calm until all have ended."""
    began = time.monotonic()
    ground, ledger = house.ground, house.ledger
    nodes = [node for gateway in ground.gateways.values() for node in gateway.nodes]
    traffic = Traffic(client.record for client in ground.clients)
    wanted = {secret.name for secret in ground.secrets}
    storm = Storm(house=house, chance=random.Random(seed))
    broken: list[str] = []

    def live() -> set[str]:
        return {name for name, standing in ledger.rotations().items() if standing.live}

    with Annals(nodes) as annals:
        wait_until(
            lambda: set(ledger.rotations()) == wanted, within=seconds, what="all rotations began", every=LOOK_EVERY
        )
        say(f"{len(wanted)} rotations under way after {time.monotonic() - began:.0f} s")
        storm.blow(time.monotonic() + storm_seconds, over=lambda: _none(live))
        over_at = time.time()
        under_way = live()
        say(f"calm after {storm.faults.total()} faults, {time.monotonic() - began:.0f} s; {len(under_way)} under way")
        try:
            left = seconds - (time.monotonic() - began)
            wait_until(lambda: not live(), within=left, what="all rotations ended", every=LOOK_EVERY)
            still_at = time.time()
            left = seconds - (time.monotonic() - began)
            wait_until(lambda: _ticked(house, still_at), within=left, what="all ticked again", every=LOOK_EVERY)
        except PartFailed as error:
            broken.append(f"{error}: {', '.join(sorted(live()))}")
        waited, bound = _wait_after(house, over_at, under_way)
        if waited > bound:
            broken.append(f"work waited {waited:.1f} s after the last fault, of {bound:.1f} s at most")
        if not broken:
            broken += verdict.rows(ground, ledger, annals, traffic, rotated=dict.fromkeys(wanted, 1))
    requests, orphans = traffic.read(), len(verdict.strangers(ground, ledger))
    for secret in ground.secrets:
        for rotation in ledger.rotation_ids(secret.name):
            (house.folder / f"{rotation}.trail").write_text("\n".join(ledger.trail(rotation)))
    ledger.close()
    return Weathered(
        faults=storm.faults,
        waited=waited,
        bound=bound,
        under_way=len(under_way),
        rotations=len(wanted),
        requests=len(requests),
        refused=sum(map(refused, requests)),
        orphans=orphans,
        seconds=time.monotonic() - began,
        broken=broken,
    )


def _none(live: Callable[[], set[str]]) -> bool:
    """Whether nothing is under way; while the database is away, nobody can say so."""
    try:
        return not live()
    except OperationalError:
        return False


def _ticked(house: House, since: float) -> bool:
    """Whether every replica that serves has been through so many whole ticks."""
    return all(
        sum(look.what == "tick" and look.at > since for look in one.daemon.looks) >= STILL for one in house.replicas
    )


def _wait_after(house: House, over_at: float, under_way: set[str]) -> tuple[float, float]:
    """The longest wait from then on until a rotation was worked on again, and the longest allowed."""
    looks = [look for one in house.everyone for look in one.daemon.looks if look.at + look.took > over_at]
    first = {
        name: min((look.at for look in looks if look.what == name and look.at > over_at), default=float("inf"))
        for name in under_way
    }
    waited = max((at - over_at for at in first.values()), default=0.0)
    tick = max((look.took for look in looks if look.what == "tick" and look.at <= over_at + waited), default=0.0)
    return waited, house.lease + 2 * max(tick, house.tick)
