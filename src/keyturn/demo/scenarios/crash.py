"""The daemon is SIGKILLed again and again, from its first intent to the end."""

import itertools
import time
from collections.abc import Sequence

from keyturn.demo.daemon import Status
from keyturn.demo.journal import Journal
from keyturn.demo.killing import ENOUGH, ENOUGH_OPEN, Kill, Killer, Moment, outage_seconds
from keyturn.demo.report import PhaseEntry, death_rows, outcome_rows, row, unnoticed_rows
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import KEEPALIVE_MIN, Timing

BARRIER = KEEPALIVE_MIN + 1.5
"""The longest that a reload's barrier may take."""
SLACK = 6.0
"""Ticks and watermarks."""
FIRST_LOOK = 1.0
"""After each start the daemon looks at everything before it acts; on a machine that is busy, that takes its time."""
SHOW_EVERY = 0.5


class Crash:
    """As happy; nothing orphaned; dwells and barriers do not start over."""

    name = "crash"
    # Dwells longer than the time between two kills: one that started over would never end in time.
    timing = Timing(minimum_overlap=10.0, silence=14.0, soak=10.0)
    # Twenty starts of a process on a busy machine; on a quiet one the whole takes a minute and a half.
    limit = 400.0
    laggards: tuple[str, ...] = ()
    attacker = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kills: Sequence[Kill] = ()

    def play(self, run: Run) -> None:
        run.say(f"seed {self._seed}")
        run.wait(lambda now: now.headline != "", what="keyturn knew the credential")
        with Journal(run.world.daemon.database) as journal:
            while not journal.begun():
                run.check_time("the first intent")
                time.sleep(0.01)
            killer = Killer(run.world.daemon, journal, seed=self._seed)
            shown = 0.0
            try:
                while journal.phase()[1]:
                    run.check_time("the rotation ended")
                    killer.step()
                    if time.monotonic() - shown >= SHOW_EVERY:
                        shown = time.monotonic()
                        run.note = f"killed {len(killer.kills)} times"
                        run.show(_glimpse(journal))
            finally:
                self._kills = tuple(killer.kills)
        run.say(_summary(self._kills))
        run.world.daemon.wait_ready()
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        kills = self._kills
        open_, early = (sum(kill.moment is which for kill in kills) for which in (Moment.INTENT_OPEN, Moment.START_UP))
        orphans = [*ending.world.authority.orphans(current=ending.world.new_kid), *ending.world.backend.leftovers()]
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "completed"),
                *unnoticed_rows(ending.tally),
                *death_rows("old", ending.alive_old),
                *row(len(kills) >= ENOUGH, f"killed only {len(kills)} times"),
                *row(open_ >= ENOUGH_OPEN, f"killed only {open_} times with an intent open"),
                *row(2 * early <= len(kills), f"{early} of {len(kills)} kills were during start-up"),
                *[f"orphan: {orphan}" for orphan in orphans],
                *dwell_rows(ending.phases, kills, self.timing),
            ],
            further={
                "kills": len(kills),
                "kills_with_open_intent": open_,
                "kills_during_start_up": early,
                "seed": self._seed,
                "orphans": orphans,
            },
        )


def dwell_rows(phases: Sequence[PhaseEntry], kills: Sequence[Kill], timing: Timing) -> list[str]:
    """No dwell or barrier started over: each stay took its dwell and the outages in it, and not one dwell more."""
    dwells = {
        "introduce": BARRIER,
        "overlap": timing.minimum_overlap,
        "monitor": timing.silence,
        "retire": BARRIER + timing.soak,
        "destroy": BARRIER,
    }
    broken = []
    for entry, after in itertools.pairwise(phases):
        took = (after.at - entry.at).total_seconds()
        looks = FIRST_LOOK * sum(entry.at <= kill.at < after.at for kill in kills)
        allowed = dwells.get(entry.phase, 0.0) + SLACK + looks + outage_seconds(kills, entry.at, after.at)
        broken += row(took <= allowed, f"{entry.phase} took {took:.1f} s, where {allowed:.1f} s would have done")
    return broken


def _summary(kills: Sequence[Kill]) -> str:
    phases = list(dict.fromkeys(kill.phase for kill in kills))
    where = ", ".join(f"{sum(kill.phase == phase for kill in kills)} in {phase}" for phase in phases)
    what = ", ".join(f"{sum(kill.moment is moment for kill in kills)} {moment}" for moment in Moment)
    return f"killed {len(kills)} times: {where}; {what}"


def _glimpse(journal: Journal) -> Status:
    """For the one who watches: the daemon itself may be away at any time."""
    phase, _ = journal.phase()
    return Status(headline=f"in {phase}", phase=phase, reason="", hold="", halted=False)
