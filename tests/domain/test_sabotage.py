"""The stateful test can fail: each deliberate fault in the tables, rows or evidence is caught by it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import Phase as Stage
from hypothesis.stateful import run_state_machine_as_test
from tests.domain.rotations import Rotations, one_event_each

from keyturn.domain import establish, guards, machine, transitions, withdraw
from keyturn.domain.effects import Effect
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.domain.rows import Row
from keyturn.domain.situation import Quiet, Situation
from keyturn.domain.verdicts import Ruling

EXAMPLES = 400
Sabotage = Callable[[pytest.MonkeyPatch], None]


def rows(patch: pytest.MonkeyPatch, phase: Phase, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change the rows of one phase."""
    before = vars(machine)["PHASES"]
    changed: Mapping[Phase, tuple[Row, ...]] = {**before, phase: tuple(change(list(before[phase])))}
    patch.setattr(machine, "PHASES", changed)
    if phase is Phase.ROLLBACK:
        patch.setattr(machine, "STANDING", {**vars(machine)["STANDING"], phase: changed[phase]})


def without(*names: str) -> Callable[[list[Row]], list[Row]]:
    """The rows but these."""
    return lambda all_rows: [row for row in all_rows if getattr(row, "__name__", "") not in names]


def drop(phase: Phase, *names: str) -> Sabotage:
    """Leave rows out of a phase."""
    return lambda patch: rows(patch, phase, without(*names))


def both(*sabotages: Sabotage) -> Sabotage:
    """Several at once."""

    def all_of_them(patch: pytest.MonkeyPatch) -> None:
        for sabotage in sabotages:
            sabotage(patch)

    return all_of_them


def first(phase: Phase, row: Row) -> Sabotage:
    """Put a row before all others of its phase."""
    return lambda patch: rows(patch, phase, lambda others: [row, *without(getattr(row, "__name__", ""))(others)])


def no_edge(phase: Phase, ruling: Ruling) -> Sabotage:
    """Take an edge away."""
    kept = {key: to for key, to in vars(machine)["EDGES"].items() if key != (phase, ruling)}
    return lambda patch: patch.setattr(machine, "EDGES", kept)


def other_edge(phase: Phase, ruling: Ruling, to: Phase) -> Sabotage:
    """Let an edge lead elsewhere."""
    edges = {**vars(machine)["EDGES"], (phase, ruling): (to, vars(machine)["EDGES"][phase, ruling][1])}
    return lambda patch: patch.setattr(machine, "EDGES", edges)


def no_guard(guard: guards.Guard) -> Sabotage:
    """Take a guard out of the chain."""
    return lambda patch: patch.setattr(machine, "CHAIN", tuple(link for link in guards.CHAIN if link[0] is not guard))


def unknown_is_zero(patch: pytest.MonkeyPatch) -> None:
    """Silence that nobody has told of counts as silence."""
    patch.setattr(Situation, "quiet", lambda *_, **__: Quiet(known=True))


def mute_source_ignored(patch: pytest.MonkeyPatch) -> None:
    """A source without a word is left out of the watermark."""

    def best(self: UsageSeen) -> object:
        return max((s.watermark for s in self.sources.values() if s.watermark is not None), default=None)

    patch.setattr(UsageSeen, "watermark", property(best))
    patch.setattr(UsageSeen, "failure_watermark", property(best))


def clock_instead_of_watermark(patch: pytest.MonkeyPatch) -> None:
    """Time that has passed counts as watched, told or not."""
    patch.setattr(Situation, "watched", lambda *_: True)


def promises_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Only promotes seen done count as ever promoted."""
    commit = transitions.commit_to

    def forget(r: Rotation, effects: tuple[Effect, ...], now: datetime) -> Rotation:
        return replace(commit(r, effects, now), promised=r.promised, served=r.served)

    patch.setattr(machine, "commit_to", forget)


def no_deadlines(patch: pytest.MonkeyPatch) -> None:
    """No phase is ever overdue."""
    patch.setattr(machine, "overdue", lambda *_: None)


def nobody_is_paged(patch: pytest.MonkeyPatch) -> None:
    """Holds are kept to ourselves."""
    patch.setattr(machine, "notices", lambda *seen: (seen[1].rotation, ()))


def unsettled_is_accepted(patch: pytest.MonkeyPatch) -> None:
    """New rules are believed while held connections still meet older ones."""
    real = Situation.acceptance

    def hasty(self: Situation, verifier: str, serial: int) -> object:
        seen = real(self, verifier, serial)
        return Acceptance.ACCEPTED if seen is Acceptance.UNSETTLED else seen

    patch.setattr(Situation, "acceptance", hasty)


def nothing_is_asked(patch: pytest.MonkeyPatch) -> None:
    """No verifier is asked whether it accepts anything."""
    patch.setattr(establish, "_accepted", lambda *_, **__: None)


def silence_cut_short(patch: pytest.MonkeyPatch) -> None:
    """The last 25 s of the required silence are not awaited."""
    real = Situation.quiet

    def shorter(self: Situation, serial: int, *, since: object, least: timedelta | None = None) -> Quiet:
        quiet = real(self, serial, since=since, least=least)  # type: ignore[arg-type]
        return replace(quiet, users=tuple(user for user in quiet.users if user[1] > timedelta(seconds=25)))

    patch.setattr(Situation, "quiet", shorter)


def rollback_forgets_wave(patch: pytest.MonkeyPatch) -> None:
    """Entering ROLLBACK keeps the promotes of OVERLAP for its own."""

    def keep(after: Rotation) -> Rotation:
        return replace(after, restoring=after.outgoing[0], up=frozenset(), soak=None, pause=None)

    patch.setattr(transitions, "_ENTERING", {**transitions._ENTERING, Phase.ROLLBACK: keep})


SABOTAGES: Mapping[str, Sabotage] = {
    "promote before accept": both(
        drop(Phase.INTRODUCE, "accept_new"), drop(Phase.OVERLAP, "accept_new", "accept_kept")
    ),
    "held connections forgotten": unsettled_is_accepted,
    "barriers dropped": nothing_is_asked,
    "waves without bake": lambda patch: patch.setattr(establish, "_baked", lambda *_: None),
    "bake on the clock alone": clock_instead_of_watermark,
    "unknown read as zero": unknown_is_zero,
    "mute source ignored": mute_source_ignored,
    "silence cut short": silence_cut_short,
    "drain dropped": drop(Phase.ROLLBACK, "drained"),
    "disable before all": first(Phase.ROLLBACK, withdraw.disable_doomed),
    "copies left behind": drop(Phase.DESTROY, "remove_copies"),
    "copies left after rollback": drop(Phase.ROLLBACK, "remove_copies"),
    "copies removed too early": first(Phase.RETIRE, withdraw.remove_copies),
    "revoked before the soak": first(Phase.RETIRE, withdraw.revoke_doomed),
    "never revoked": drop(Phase.DESTROY, "revoke_doomed"),
    "new one left alive by a rollback": drop(Phase.ROLLBACK, "disable_doomed", "revoke_doomed", "prove_dead"),
    "retreat edge removed": no_edge(Phase.RETIRE, Ruling.RETREAT),
    "retreat enables nothing": both(
        drop(Phase.MONITOR, "accept_kept"),
        lambda patch: patch.setattr(
            machine, "STANDING", {**vars(machine)["STANDING"], Phase.MONITOR: (establish.accept_new,)}
        ),
    ),
    "rollback edge removed": no_edge(Phase.MONITOR, Ruling.ROLL_BACK),
    "rollback leads to an end": other_edge(Phase.MONITOR, Ruling.ROLL_BACK, Phase.ROLLED_BACK),
    "operator's rollback ignored": no_guard(guards.operator_rollback),
    "joined verifier is not mended": drop(Phase.OVERLAP, "accept_kept"),
    "latch ignored": no_guard(guards.latched),
    "obstacle ignored": no_guard(guards.obstacle),
    "no deadlines": no_deadlines,
    "nobody is paged": nobody_is_paged,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken machine does not get through the stateful test's budget."""
    SABOTAGES[name](monkeypatch)
    chosen = random.SystemRandom().randrange(2**32)
    print(f"seed {chosen}")  # noqa: T201 - shown when the test fails, to run it again

    @seed(chosen)
    class Sabotaged(Rotations):
        """The same rules on the broken machine."""

    budget = settings(
        max_examples=EXAMPLES,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Stage.generate],
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, KeyError)):  # noqa: PT012 - either may find it
        one_event_each()
        run_state_machine_as_test(Sabotaged, settings=budget)
