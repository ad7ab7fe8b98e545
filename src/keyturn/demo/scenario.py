"""What a scenario is, and how one is performed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from keyturn.demo.client_process import Request
from keyturn.demo.daemon import Status
from keyturn.demo.processes import Family
from keyturn.demo.report import PhaseEntry, Report, outcome_of, phases_of, traffic_rows
from keyturn.demo.run import NotReached, Run
from keyturn.demo.timing import Timing
from keyturn.demo.traffic import Tally, refused_in_logs, tally
from keyturn.demo.view import View
from keyturn.demo.world import World, build_world

LINGER = 2.5
"""Longer than the slow clients' time between two requests: whoever is refused in the end is still seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """All that a scenario is judged by, gathered after its traffic has stopped."""

    world: World
    requests: Sequence[Request]
    tally: Tally
    outcome: str
    phases: Sequence[PhaseEntry]
    alive_old: Sequence[str]
    """Where the old key is not refused."""
    alive_new: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a scenario adds to the report, and what of it did not hold."""

    broken: Sequence[str]
    further: Mapping[str, object] = field(default_factory=dict)


class Scenario(Protocol):
    """One row of the demo's table; `play` may leave on the object what `judge` needs."""

    name: str
    timing: Timing
    limit: float
    """Seconds after which it is given up."""
    laggards: tuple[str, ...]
    """Clients that read their key at boot, and again only when they are told to."""
    attacker: bool
    """Whether somebody else has the old key."""

    def play(self, run: Run) -> None:
        """Let it happen, up to the point where nothing more is awaited."""
        ...

    def judge(self, ending: Ending) -> Judgement:
        """Say what did not hold."""
        ...


def perform(scenario: Scenario, *, backend: str, folder: Path, view: View) -> Report:
    """Run one scenario on one backend; everything that it started is gone when this returns or raises."""
    began = time.monotonic()
    broken: list[str] = []
    with (
        Family() as family,
        view,
        build_world(
            family,
            folder,
            backend=backend,
            timing=scenario.timing,
            laggards=scenario.laggards,
            attacker=scenario.attacker,
        ) as world,
    ):
        run = Run(world, view, limit=scenario.limit)
        try:
            scenario.play(run)
        except NotReached as missed:
            broken.append(str(missed))
        run.linger(LINGER)
        ending = _end(world)
        judgement = scenario.judge(ending)
    by_log = refused_in_logs(
        [node.access_log for node in world.gateway.nodes], [client.spec.address for client in world.clients]
    )
    broken += traffic_rows(ending.tally, refused_per_log=by_log.total())
    return Report(
        scenario=scenario.name,
        backend=backend,
        outcome=ending.outcome,
        tally=ending.tally,
        phases=ending.phases,
        old_proven_dead=not ending.alive_old,
        seconds=time.monotonic() - began,
        further=judgement.further,
        broken=[*broken, *judgement.broken],
    )


def _end(world: World) -> Ending:
    world.daemon.wait_ready()
    status = world.daemon.status() or Status(headline="", phase="", reason="", hold="", halted=False)
    phases = phases_of(world.daemon.history() or ())
    world.daemon.keep_history()
    world.stop_clients()
    if world.daemon.part is not None:
        # First: our probes below would raise its alarm.
        world.daemon.part.stop()
    requests = world.traffic.read()
    return Ending(
        world=world,
        requests=requests,
        tally=tally(requests, old_kid=world.old_kid),
        outcome=outcome_of(status.phase, hold=status.hold, halted=status.halted),
        phases=phases,
        alive_old=world.authority.alive(world.old_kid),
        alive_new=world.authority.alive(world.new_kid),
    )
