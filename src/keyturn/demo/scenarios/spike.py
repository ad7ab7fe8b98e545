"""The new key fails, behind keyturn's back: in MONITOR, in RETIRE, and with the old one beside it.

Three parts, each a rotation of its own.
"""

import signal
import time
from collections.abc import Sequence

from keyturn.demo.authority import table_of
from keyturn.demo.gateway import GatewayNode, TableKey
from keyturn.demo.report import death_rows, outcome_rows, row
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import SHORT_KEEPALIVE, Timing
from keyturn.demo.traffic import latest_by_client, refused

# What clients meet while the node is broken, and the detector must not need.
ON_ITS_OWN = frozenset({"new_version_fails", "new_version_refused"})
OUTAGE = 2.0
"""Seconds for which both keys fail after the rotation has stopped for it."""
SETTLES = SHORT_KEEPALIVE + 2.0
"""Seconds after a table was put back within which the last connection meets it."""


class SpikeInMonitor:
    """Rolled back by itself; nobody on the old key refused; the new key drained, then dead."""

    name = "spike-in-monitor"
    # Long enough in MONITOR that there is something to break.
    timing = Timing(silence=12.0)
    limit = 90.0
    laggards: tuple[str, ...] = ()
    attacker = False

    def __init__(self) -> None:
        self._broken = ""

    def play(self, run: Run) -> None:
        run.wait_phase("monitor")
        self._broken = _lose_new_key(run)
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        return _undone(ending, broken=self._broken, since="monitor")


class SpikeInRetire:
    """The same with the old key disabled already: it is accepted again before anybody gets it back."""

    name = "spike-in-retire"
    timing = Timing(soak=20.0, keepalive_min=SHORT_KEEPALIVE)
    limit = 90.0
    laggards: tuple[str, ...] = ()
    attacker = False

    def __init__(self) -> None:
        self._broken = ""
        self._disabled: frozenset[str] = frozenset()

    def play(self, run: Run) -> None:
        run.wait_phase("retire")
        run.wait(lambda now: now.reason == "soaking", what="the old key was disabled and soaked")
        world = run.world
        self._disabled = frozenset(world.authority.state(node, world.old_kid) for node in world.gateway.nodes)
        self._broken = _lose_new_key(run)
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        judged = _undone(ending, broken=self._broken, since="retire")
        early = row(self._disabled == {"disabled"}, f"the old key was {sorted(self._disabled)} when the node broke")
        return Judgement(broken=[*early, *judged.broken], further=judged.further)


class SpikeOfBoth:
    """Both keys fail alike: held as the authority's illness, not rolled back, and completed by itself afterwards."""

    name = "spike-of-both"
    timing = Timing(soak=2.0, keepalive_min=SHORT_KEEPALIVE)
    limit = 90.0
    # Half of the fleet is on the old key still: one client's trouble alone would be its own, and not the old key's.
    laggards: tuple[str, ...] = ("checkout", "mobile", "billing", "nightly")
    attacker = False

    def __init__(self) -> None:
        self._began = self._ended = 0.0

    def play(self, run: Run) -> None:
        run.wait_phase("monitor")
        nodes = run.world.gateway.nodes
        kept = [(node, table_of(node)) for node in nodes]
        self._began = time.time()
        _write(run, [(node, ()) for node in nodes], "every gateway has lost its key table")
        run.wait_hold("authority_ill")
        run.linger(OUTAGE)
        _write(run, kept, "every gateway has its key table again")
        self._ended = time.time()
        run.wait(lambda now: not now.hold, what="the hold ended by itself")
        for name in self.laggards:
            run.world.client(name).part.send(signal.SIGHUP)
        run.say(f"told to read their key again: {', '.join(self.laggards)}")
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        counts = ending.tally
        phases = [entry.phase for entry in ending.phases]
        stray = [
            one for one in ending.requests if refused(one) and not self._began - 1 <= one.epoch <= self._ended + SETTLES
        ]
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "completed"),
                *row(self._ended > 0, "nobody saw it held for the authority's illness"),
                *row("rollback" not in phases, "rolled back, although both keys failed alike"),
                *row(phases.count("retire") == 1, f"retire was entered {phases.count('retire')} times"),
                *row(counts.refused_old > 0, "the old key never failed: the scenario has shown nothing"),
                *row(counts.refused_new > 0, "the new key never failed: the scenario has shown nothing"),
                *row(counts.errors == 0, f"{counts.errors} requests failed"),
                *row(not stray, f"{len(stray)} requests were refused outside the outage"),
                *death_rows("old", ending.alive_old),
            ],
            further={"outage_s": round(self._ended - self._began, 1)},
        )


def _lose_new_key(run: Run) -> str:
    """One node forgets the new key; returns its name."""
    world = run.world
    node = world.gateway.nodes[-1]
    left = [key for key in table_of(node) if key.kid != world.new_kid]
    _write(run, [(node, left)], f"somebody took the new key out of {node.name}'s table")
    return node.name


def _write(run: Run, tables: Sequence[tuple[GatewayNode, Sequence[TableKey]]], told: str) -> None:
    for node, keys in tables:
        node.write_table(keys)
        node.part.send(signal.SIGHUP)
    run.say(told)


def _undone(ending: Ending, *, broken: str, since: str) -> Judgement:
    """What must hold when one node alone fails on the new key."""
    world, counts = ending.world, ending.tally
    elsewhere = [one for one in ending.requests if refused(one) and one.node != broken]
    entered = [entry for entry in ending.phases if entry.phase == "rollback"]
    before = [entry.phase for entry in ending.phases][: len(ending.phases) - 2]
    left = [name for name, last in latest_by_client(ending.requests).items() if last.kid != world.old_kid]
    return Judgement(
        broken=[
            *outcome_rows(ending.outcome, "rolled_back"),
            *row(
                bool(ON_ITS_OWN & {entry.reason for entry in entered}),
                f"rolled back for {[entry.reason for entry in entered]}, not for the failures",
            ),
            *row(before[-1:] == [since], f"rolled back from {before[-1:]}, not from {since}"),
            *row(counts.refused_old == 0, f"{counts.refused_old} requests with the old key were refused"),
            *row(counts.refused_new > 0, "nobody met the broken node: the scenario has shown nothing"),
            *row(counts.errors == 0, f"{counts.errors} requests failed"),
            # Where nobody had touched the table, the new key was taken away only after its last use.
            *row(not elsewhere, f"{len(elsewhere)} requests were refused at the node that nobody broke"),
            *row(not left, f"not back on the old key: {', '.join(left)}"),
            *death_rows("new", ending.alive_new),
        ],
        further={"new_proven_dead": not ending.alive_new},
    )
