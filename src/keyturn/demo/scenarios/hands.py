"""In MONITOR an operator puts the old key back by hand, behind keyturn's back; then says `reassert`."""

import time

from keyturn.demo.client_keys import kid_of
from keyturn.demo.daemon import CREDENTIAL, Status
from keyturn.demo.report import death_rows, outcome_rows, row, unnoticed_rows
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import SHORT_KEEPALIVE, Timing

HELD = "target_foreign"
TOLD_WITHIN = 3
"""The tick that may have looked already, and two more."""
WATCHED = 3.0
"""Seconds for which it is looked whether the hold holds."""


class Hands:
    """Held and paged within two ticks; nothing taken away meanwhile; then completed, and nobody noticed."""

    name = "hands"
    timing = Timing(silence=6.0, soak=2.0, keepalive_min=SHORT_KEEPALIVE)
    limit = 90.0
    laggards: tuple[str, ...] = ()
    attacker = False

    def __init__(self) -> None:
        self._written = 0.0
        self._paged = 0.0
        self._ticks = 0
        self._touched: set[str] = set()

    def play(self, run: Run) -> None:
        world = run.world
        backup = world.backend.served()
        run.wait_phase("monitor")
        before = world.daemon.ticks()
        self._written = time.time()
        world.backend.overwrite(backup)
        run.say("an operator puts the old key back, from a backup")
        run.wait_hold(HELD)
        run.wait(lambda _now: self._told(run), what="somebody was paged")
        self._ticks = world.daemon.ticks() - before
        until = time.monotonic() + WATCHED
        status = run.wait(lambda now: self._watched(run, now) and time.monotonic() >= until, what="the hold holds")
        ((target, found),) = status.served.items()
        run.say(f"the operator has read the status, and says: reassert {target} over {found}")
        world.daemon.command(
            "reassert", CREDENTIAL, "--target", target, "--found", found, "--reason", "the backup was a mistake"
        )
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        phases = [entry.phase for entry in ending.phases]
        told = self._paged - self._written
        served = kid_of(ending.world.backend.served())
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "completed"),
                *unnoticed_rows(ending.tally),
                *row(self._paged > 0, "nobody was paged"),
                *row(self._ticks <= TOLD_WITHIN, f"paged after {self._ticks} ticks, of {TOLD_WITHIN} at most"),
                *row(not self._touched, f"while it was held: {', '.join(sorted(self._touched))}"),
                *row("rollback" not in phases, "rolled back, which nobody had asked for"),
                *row(served == ending.world.new_kid, f"readers get {served}, and not the new key"),
                *death_rows("old", ending.alive_old),
            ],
            further={"seconds_to_page": round(told, 1) if self._paged else None},
        )

    def _told(self, run: Run) -> bool:
        for line in run.world.daemon.notifications():
            said = line["payload"]
            if said["type"] == "rotation.held" and HELD in str(said["data"]) and line["epoch"] >= self._written:
                self._paged = line["epoch"]
                return True
        return False

    def _watched(self, run: Run, now: Status) -> bool:
        """Note what is taken away, or goes on, while it is held; always true."""
        world = run.world
        for node in world.gateway.nodes:
            for kid, what in ((world.old_kid, "old"), (world.new_kid, "new")):
                state = world.authority.state(node, kid)
                if state != "active":
                    self._touched.add(f"{node.name} had the {what} key {state}")
        if (now.phase, now.hold) != ("monitor", HELD):
            self._touched.add(f"in {now.phase}, held for {now.hold or 'nothing'}")
        return True
