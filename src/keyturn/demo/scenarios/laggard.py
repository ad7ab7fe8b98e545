"""One client never refreshes; then an operator forces the disable."""

import itertools
import time

from keyturn.demo.backends import LAGGARD
from keyturn.demo.daemon import CREDENTIAL, Status
from keyturn.demo.report import outcome_rows, phases_of, row
from keyturn.demo.run import NotReached, Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import Timing
from keyturn.demo.traffic import latest_by_client, refused

WITHHELD_FOR = 8.0
"""Well past the time at which everybody else's silence would have let the old key go."""
ONE_RETREAT = 12.0
"""Seconds from the first refused use within which the last one must be."""


class LaggardForced:
    """Retirement withheld, the client named; its first refused use retreats; nobody else is ever refused."""

    name = "laggard"
    timing = Timing()
    limit = 90.0
    laggards: tuple[str, ...] = (LAGGARD,)
    attacker = False

    def __init__(self) -> None:
        self._named = ""
        self._left = False

    def play(self, run: Run) -> None:
        run.wait_phase("monitor")
        self._named = run.wait(lambda now: LAGGARD in now.headline, what=f"{LAGGARD} named in the status").headline
        self._watch_withheld(run)
        run.say(f"an operator forces the disable, although {LAGGARD} has not moved")
        run.world.daemon.command("force", CREDENTIAL, "--version", "1", "--reason", "the owner says it is unused")
        run.wait(lambda _now: _retreated(run), what="the refused use brought the old key back")
        run.wait(lambda _now: self._served_again(run), what=f"{LAGGARD} served again on every node")

    def judge(self, ending: Ending) -> Judgement:
        world, counts = ending.world, ending.tally
        others = sorted(counts.refused_clients - {LAGGARD})
        latest = latest_by_client(ending.requests)
        laggards = sorted(name for name, last in latest.items() if last.kid == world.old_kid)
        times = [one.epoch for one in ending.requests if refused(one)]
        reasons = [entry.reason for entry in ending.phases if entry.phase == "monitor"]
        states = {node.name: world.authority.state(node, world.old_kid) for node in world.gateway.nodes}
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "monitoring", "held"),
                *row(LAGGARD in self._named, "the status never named the client"),
                *row(not self._left, "retirement began while the client was still on the old key"),
                *row(laggards == [LAGGARD], f"still on the old key: {', '.join(laggards)}"),
                *row(counts.refused_old > 0, "the forced disable refused nobody: the scenario has shown nothing"),
                *row(not others, f"refused, though they had moved: {', '.join(others)}"),
                *row(counts.errors == 0, f"{counts.errors} requests failed"),
                *row("refused_use" in reasons, f"no retreat for the refused use; monitor entered for {reasons}"),
                *row(not times or max(times) - min(times) < ONE_RETREAT, "the client was refused for too long"),
                *row(set(states.values()) == {"active"}, f"the old key is not enabled again: {states}"),
            ],
            further={"laggards": laggards},
        )

    def _watch_withheld(self, run: Run) -> None:
        until = time.monotonic() + WITHHELD_FOR

        def over(now: Status) -> bool:
            self._left = self._left or now.phase != "monitor"
            return self._left or time.monotonic() >= until

        run.wait(over, what="retirement was withheld for a while")
        if self._left:
            raise NotReached("the rotation left monitor although a client had not moved")

    def _served_again(self, run: Run) -> bool:
        """Its last requests, one to each node, went well."""
        own = [one for one in run.world.traffic.read() if one.client == LAGGARD]
        return not any(refused(one) for one in own[-2 * len(run.world.gateway.nodes) :])


def _retreated(run: Run) -> bool:
    """By the trail: between two looks at the status, the whole of it may have passed."""
    phases = [entry.phase for entry in phases_of(run.world.daemon.history() or ())]
    return ("retire", "monitor") in itertools.pairwise(phases)
