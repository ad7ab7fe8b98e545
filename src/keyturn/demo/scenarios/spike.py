"""In MONITOR one node loses the new key, behind keyturn's back."""

import signal

from keyturn.demo.authority import table_of
from keyturn.demo.report import death_rows, outcome_rows, row
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import Timing
from keyturn.demo.traffic import latest_by_client, refused

# What clients meet while the node is broken, and the detector must not need.
ON_ITS_OWN = frozenset({"new_version_fails", "new_version_refused"})


class Spike:
    """Rolled back by itself; nobody on the old key refused; the new key drained, then dead."""

    name = "spike"
    # Long enough in MONITOR that there is something to break.
    timing = Timing(silence=12.0)
    limit = 90.0
    laggard = False

    def __init__(self) -> None:
        self._broken = ""

    def play(self, run: Run) -> None:
        run.wait_phase("monitor")
        world = run.world
        node = world.gateway.nodes[-1]
        node.write_table(key for key in table_of(node) if key.kid != world.new_kid)
        node.part.send(signal.SIGHUP)
        self._broken = node.name
        run.say(f"somebody took the new key out of {node.name}'s table")
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        world, counts = ending.world, ending.tally
        elsewhere = [one for one in ending.requests if refused(one) and one.node != self._broken]
        reasons = [entry.reason for entry in ending.phases if entry.phase == "rollback"]
        left = [name for name, last in latest_by_client(ending.requests).items() if last.kid != world.old_kid]
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "rolled_back"),
                *row(bool(ON_ITS_OWN & set(reasons)), f"rolled back for {reasons}, not for the failures"),
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
