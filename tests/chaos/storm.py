"""Many rotations on several replicas, and everything that can happen to them and between them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.exc import OperationalError
from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.courses import ROTATION
from tests.chaos.daemons import Look
from tests.chaos.house import House, Replica
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import Link

from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed, wait_until

CALM = (2.0, 8.0)
"""Seconds between two faults."""
SHORT = (0.1, 0.9)
LONG = (1.1, 1.5)
"""Leases that a replica is paused for."""
WAYS = ("postgres", "openbao", "gateway", "receiver")
BROKEN = (Link.CUT, Link.SILENT)
LOOK_EVERY = 0.5
REST = 4
"""The storm is over when only one in so many rotations is still under way."""
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
    at_once: int
    """Those of them that were under way when the first fault came."""
    requests: int
    refused: int
    orphans: int
    lacking: Sequence[str]
    """Faults that there was nothing left to be disturbed by."""
    broken: list[str]


@dataclass(kw_only=True)
class Storm:
    """Faults in an order that chance draws, each of which ends; one at a time or several. None comes again before each of
    the others has come."""

    house: House
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    _drawn: list[str] = field(default_factory=list)
    _ends: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    @property
    def kinds(self) -> Mapping[str, Callable[[], None]]:
        """What each fault does."""
        return {
            "replica killed": self._kill,
            "replica paused for less than its lease": partial(self._pause, *SHORT),
            "replica paused for longer than its lease": partial(self._pause, *LONG),
            "replica added": self._add,
            "replica stopped": self._leave,
            **{f"TCP to {part} {link}": partial(self._cut, part, link) for part in WAYS for link in BROKEN},
            "PostgreSQL killed and started": partial(self._restart_postgres, grace=0.0),
            "PostgreSQL stopped and started": partial(self._restart_postgres, grace=5.0),
            "OpenBao killed and started": self._restart_openbao,
            "OpenBao sealed and started": self._seal_openbao,
        }

    @property
    def lacking(self) -> Sequence[str]:
        """Faults that have not come yet."""
        return [kind for kind in sorted(self.kinds) if not self.faults[kind]]

    def blow(self, left: Callable[[], int], rest: int) -> None:
        """Until each fault has come and no more than `rest` is left to disturb; all have ended when this returns."""
        following = time.monotonic()
        while undisturbed := left():
            self._end(time.monotonic())
            if undisturbed <= rest and not self.lacking:
                break
            if time.monotonic() >= following:
                self._begin()
                following = time.monotonic() + self.chance.uniform(*CALM)
            time.sleep(LOOK_EVERY)
        self._end(float("inf"))

    def _end(self, now: float) -> None:
        for due, end in [one for one in self._ends if one[0] <= now]:
            self._ends.remove((due, end))
            end()

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))

    def _begin(self) -> None:
        if not self._drawn:
            self._drawn = sorted(self.kinds)
            self.chance.shuffle(self._drawn)
        kind = self._drawn[-1]
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself: the same fault again, next time
            self.kinds[kind]()
            self.faults[self._drawn.pop()] += 1

    def _one(self) -> Replica:
        return self.chance.choice([one for one in self.house.replicas if one.daemon.pids])

    def _kill(self) -> None:
        """It is started again at once."""
        self._one().daemon.send(signal.SIGKILL)

    def _pause(self, least: float, most: float) -> None:
        one = self._one()
        pid = one.daemon.pid
        one.daemon.send(signal.SIGSTOP)
        self._for(self.house.lease * self.chance.uniform(least, most), partial(_wake, pid))

    def _add(self) -> None:
        self.house.add()

    def _leave(self) -> None:
        one = self._one()
        self.house.replicas.remove(one)
        if one.daemon.part is not None:
            one.daemon.part.ask_to_stop()

    def _cut(self, part: str, link: Link) -> None:
        one = self._one()
        way = self.chance.choice([way for name, way in sorted(one.ways.items()) if name.startswith(part)])
        self.house.proxies.set(way, link)
        self._for(self.chance.uniform(0.5, 6.0), partial(self.house.proxies.set, way, Link.WHOLE))

    def _restart_postgres(self, *, grace: float) -> None:
        self.house.postgres.part.stop(grace) if grace else self.house.postgres.part.kill()
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.house.postgres.start()

    def _restart_openbao(self) -> None:
        self.house.ground.openbao.part.kill()
        self.house.ground.openbao.restart()

    def _seal_openbao(self) -> None:
        openbao = self.house.ground.openbao
        openbao.call("PUT", "sys/seal")
        time.sleep(self.chance.uniform(0.0, 3.0))
        openbao.part.stop()
        openbao.restart()


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def weather(house: House, *, seed: int, seconds: float, say: Callable[[str], None]) -> Weathered:
    """Rotate every credential once while the storm blows, and the last of them in calm until all have ended."""
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
        begun_at = time.time()
        wait_until(lambda: _ticked(house, begun_at, 1), within=seconds, what="all ticked in calm", every=LOOK_EVERY)
        at_once, storm_at = live(), time.time()
        say(f"{len(at_once)} rotations under way at once after {time.monotonic() - began:.0f} s")
        if at_once != wanted:
            broken.append(f"{len(at_once)} rotations were under way at once, of {len(wanted)}")
        storm.blow(lambda: _count(live), rest=len(wanted) // REST)
        over_at = time.time()
        under_way = live()
        say(f"calm after {storm.faults.total()} faults, {time.monotonic() - began:.0f} s; {len(under_way)} under way")
        try:
            left = seconds - (time.monotonic() - began)
            wait_until(lambda: not live(), within=left, what="all rotations ended", every=LOOK_EVERY)
            still_at = time.time()
            left = seconds - (time.monotonic() - began)
            wait_until(lambda: _ticked(house, still_at, STILL), within=left, what="all ticked again", every=LOOK_EVERY)
            left = seconds - (time.monotonic() - began)
            told = partial(_told, ledger)
            wait_until(told, within=left, what="all messages were delivered", every=LOOK_EVERY)
        except PartFailed as error:
            broken.append(f"{error}: {', '.join(sorted(live()))}")
        looks = [look for one in house.everyone for look in one.daemon.looks]
        calm = calm_tick(looks, since=begun_at, until=storm_at, tick=house.tick)
        waited, bound = waits(
            looks,
            over_at=over_at,
            under_way=under_way,
            lease=house.lease,
            tick=house.tick,
            calm=calm,
        )
        if waited > bound:
            broken.append(f"work waited {waited:.1f} s after the last fault, of {bound:.1f} s at most")
        if not broken:
            broken += verdict.rows(ground, ledger, annals, traffic, courses=dict.fromkeys(wanted, (ROTATION,)))
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
        at_once=len(at_once),
        requests=len(requests),
        refused=sum(map(refused, requests)),
        orphans=orphans,
        lacking=storm.lacking,
        broken=broken,
    )


def _count(live: Callable[[], set[str]]) -> int:
    """How many are under way; while the database is away, as many as there may be."""
    try:
        return len(live())
    except OperationalError:
        return sys.maxsize


def _told(ledger: Ledger) -> bool:
    return not any(ledger.messages().values())


def _ticked(house: House, since: float, count: int) -> bool:
    """Whether every replica that serves has been through so many whole ticks."""
    return all(one.daemon.ticks(since) >= count for one in house.replicas)


def waits(
    looks: Sequence[Look], *, over_at: float, under_way: set[str], lease: float, tick: float, calm: float
) -> tuple[float, float]:
    """The longest wait from then on until one of these was worked on again, and the longest allowed: the lease's time and
    two ticks, as long as ticks were meanwhile. `calm`: the longest of a tick that is believed. One that hangs is not what
    a tick takes; and before the storm there was more to do in each than after it, so that a loaded machine has its due."""
    first = {
        name: min((look.at for look in looks if look.what == name and look.at > over_at), default=float("inf"))
        for name in under_way
    }
    waited = max((at - over_at for at in first.values()), default=0.0)
    # What a tick that a fault had held up took before that is not a tick's time.
    ticks = [
        look.at + look.took - max(look.at, over_at)
        for look in looks
        if look.what == "tick" and look.at <= over_at + waited
    ]
    return waited, lease + 2 * min(max([tick, *ticks]), calm)


def calm_tick(looks: Sequence[Look], *, since: float, until: float, tick: float) -> float:
    """The longest that a tick took between then and then, while all rotations were under way and nothing was broken."""
    calm = [look.took for look in looks if look.what == "tick" and since <= look.at <= until - look.took]
    return max([tick, *calm])
