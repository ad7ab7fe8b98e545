"""The current key is reported leaked, while somebody else keeps presenting it."""

import time
from collections.abc import Iterable

from keyturn.demo.backends import ATTACKER
from keyturn.demo.client_keys import kid_of
from keyturn.demo.client_process import Request
from keyturn.demo.daemon import CREDENTIAL
from keyturn.demo.report import death_rows, outcome_rows, row
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import SHORT_KEEPALIVE, Timing
from keyturn.demo.traffic import refused

LATE = 3.0
"""Seconds after the grace within which the leaked key must be refused everywhere."""
WAY = ["introduce", "overlap", "monitor", "retire", "destroy", "completed"]
LOOK_EVERY = 0.05
WATCHED_BEFORE = 3.0
"""Seconds of traffic before the report: the slow clients have been there too."""

Stream = tuple[str, bool]
"""A node, and whether on connections held open since before."""


class Emergency:
    """Refused in time everywhere; the attacker named, and without effect; no way back; nobody on the new key refused."""

    name = "emergency"
    # No schedule: the report comes first. Short ticks, for it is the seconds after the grace that are judged.
    timing = Timing(grace=5.0, soak=2.0, keepalive_min=SHORT_KEEPALIVE, tick=0.25, begins_after=3600.0)
    limit = 90.0
    laggards: tuple[str, ...] = ()
    attacker = True

    def __init__(self) -> None:
        self._reported = 0.0
        self._promoted = 0.0
        self._rollback = ""

    def play(self, run: Run) -> None:
        world = run.world
        run.wait(lambda now: now.headline != "", what="keyturn knew the credential")
        world.client(ATTACKER).wait_first_request()
        run.linger(WATCHED_BEFORE)
        run.say("an operator reports that the key has leaked")
        self._reported = time.time()
        grace = f"{self.timing.grace:g}s"
        world.daemon.command(
            "emergency", CREDENTIAL, "--version", "1", "--grace", grace, "--reason", "found in a public repository"
        )
        self._watch_promote(run)
        run.say("another operator wants the leaked key back")
        self._rollback = world.daemon.refusal("rollback", CREDENTIAL, "--reason", "the old one always worked")
        run.say(self._rollback)
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        counts, grace = ending.tally, self.timing.grace
        stolen = [one for one in ending.requests if one.client == ATTACKER]
        refusals = first_refusals(one for one in stolen if one.epoch >= self._reported)
        streams = {(node.name, held) for node in ending.world.gateway.nodes for held in (False, True)}
        missing = sorted({name for name, _ in streams - refusals.keys()})
        everywhere = max(refusals.values(), default=0.0)
        earliest = min((one.epoch for one in stolen if refused(one)), default=0.0)
        late = everywhere - (self._promoted + grace)
        others = sorted(counts.refused_clients - {ATTACKER})
        phases = [entry.phase for entry in ending.phases]
        named = [
            line
            for line in ending.world.daemon.notifications()
            if line["payload"]["type"] == "compromised.use" and ATTACKER in str(line["payload"]["data"])
        ]
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "completed"),
                *row(phases == WAY, f"went by {', '.join(phases)}"),
                *row(not missing, f"the leaked key was not seen to be refused at {', '.join(missing)}"),
                *row(late <= LATE, f"refused everywhere {late:.1f} s after the grace, of {LATE:g} s at most"),
                *row(earliest >= self._promoted + grace, "refused before its grace was over"),
                *row(bool(named), "nobody was told who presents the leaked key"),
                *row("compromised" in self._rollback, f"a rollback was not refused: {self._rollback or 'carried out'}"),
                *row(not others, f"refused, though they had moved: {', '.join(others)}"),
                *row(counts.refused_new == 0, f"{counts.refused_new} requests with the new key were refused"),
                *row(counts.errors == 0, f"{counts.errors} requests failed"),
                *death_rows("old", ending.alive_old),
            ],
            further={
                "seconds_to_refusal": None if missing or not refusals else round(everywhere - self._reported, 1),
                "grace_s": grace,
                "seconds_after_grace": round(late, 1),
            },
        )

    def _watch_promote(self, run: Run) -> None:
        """Note when readers got the old key for the last time: whoever is in time by this is in time by the promote."""
        # Nothing else meanwhile: whatever takes time between two looks would go on keyturn's account.
        looked = time.time()
        while kid_of(run.world.backend.served()) == run.world.old_kid:
            self._promoted = looked
            run.check_time("readers got another key")
            time.sleep(LOOK_EVERY)
            looked = time.time()


def first_refusals(requests: Iterable[Request]) -> dict[Stream, float]:
    """When each node refused for the first time after it had served for the last time, in seconds since the epoch, on
    new connections and on held ones; one that serves to the end is absent."""
    found: dict[Stream, float] = {}
    for one in sorted(requests, key=lambda request: request.epoch):
        stream = one.node, one.held
        if refused(one):
            found.setdefault(stream, one.epoch)
        elif not one.error:
            found.pop(stream, None)
    return found
