"""A scheduled rotation, from start to end, that nobody notices."""

from keyturn.demo.report import death_rows, outcome_rows, unnoticed_rows
from keyturn.demo.run import Run
from keyturn.demo.scenario import Ending, Judgement
from keyturn.demo.timing import Timing


class Happy:
    """No request refused or failed; completed; the old key proven dead."""

    name = "happy"
    timing = Timing()
    limit = 90.0
    laggards: tuple[str, ...] = ()
    attacker = False

    def play(self, run: Run) -> None:
        run.wait_end()

    def judge(self, ending: Ending) -> Judgement:
        return Judgement(
            broken=[
                *outcome_rows(ending.outcome, "completed"),
                *unnoticed_rows(ending.tally),
                *death_rows("old", ending.alive_old),
            ]
        )
