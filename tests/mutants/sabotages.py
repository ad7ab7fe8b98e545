"""Mutants made by hand: what a tired engineer, or one who means well, might do to the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.mutants.surgery import Patch, drop, edge, first, gone, no_edge, no_guard, together

from keyturn.domain import establish, guards, machine, transitions, withdraw
from keyturn.domain.effects import Effect
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.domain.situation import Quiet, Situation
from keyturn.domain.verdicts import Ruling


def silence_is_known(patch: pytest.MonkeyPatch) -> None:
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

    def forget(rotation: Rotation, effects: tuple[Effect, ...], now: datetime) -> Rotation:
        return replace(commit(rotation, effects, now), promised=rotation.promised, served=rotation.served)

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

    def shorter(self: Situation, serial: int, *, since: datetime | None, least: timedelta | None = None) -> Quiet:
        quiet = real(self, serial, since=since, least=least)
        return replace(quiet, users=tuple(user for user in quiet.users if user[1] > timedelta(seconds=25)))

    patch.setattr(Situation, "quiet", shorter)


def rollback_forgets_wave(patch: pytest.MonkeyPatch) -> None:
    """Entering ROLLBACK keeps the promotes of OVERLAP for its own."""

    def keep(after: Rotation) -> Rotation:
        return replace(after, restoring=after.outgoing[0], up=frozenset(), soak=None, pause=None)

    patch.setattr(transitions, "_ENTERING", {**transitions._ENTERING, Phase.ROLLBACK: keep})


SABOTAGES: Mapping[str, Patch] = {
    "promote before accept": together(
        drop(Phase.INTRODUCE, "accept_new"), drop(Phase.OVERLAP, "accept_new", "old_accepted")
    ),
    "held connections forgotten": unsettled_is_accepted,
    "barriers dropped": nothing_is_asked,
    "skip KEEP": gone("keep_old"),
    "waves without bake": lambda patch: patch.setattr(establish, "_baked", lambda *_: None),
    "bake on the clock alone": clock_instead_of_watermark,
    "disable before silence": together(
        drop(Phase.MONITOR, "clients_moved", "old_silent"), drop(Phase.RETIRE, "old_silent")
    ),
    "unknown read as zero": silence_is_known,
    "mute source ignored": mute_source_ignored,
    "silence cut short": silence_cut_short,
    "disable what readers get": drop(Phase.ROLLBACK, "promote_restored"),
    "old not promoted before new is disabled": drop(Phase.ROLLBACK, "promote_restored"),
    "old not enabled before it is promoted": drop(Phase.ROLLBACK, "accept_survivor"),
    "drain dropped": drop(Phase.ROLLBACK, "drained"),
    "ever promoted forgets the intent": promises_forgotten,
    "rollback trusts overlap's promotes": rollback_forgets_wave,
    "disable before all": first(Phase.ROLLBACK, withdraw.disable_doomed),
    "copies left behind": drop(Phase.DESTROY, "remove_copies"),
    "copies left after rollback": drop(Phase.ROLLBACK, "remove_copies"),
    "copies removed too early": first(Phase.RETIRE, withdraw.remove_copies),
    "revoked before the soak": first(Phase.RETIRE, withdraw.revoke_doomed),
    "never revoked": drop(Phase.DESTROY, "revoke_doomed"),
    "new one left alive by a rollback": drop(Phase.ROLLBACK, "disable_doomed", "revoke_doomed", "prove_dead"),
    "destroy without soak": drop(Phase.RETIRE, "soaked"),
    "destroy skips the disable": drop(Phase.RETIRE, "disable_doomed", "soaked"),
    "retreat edge removed": no_edge(Phase.RETIRE, Ruling.RETREAT),
    "retreat leads on": edge(Phase.RETIRE, Ruling.RETREAT, Phase.DESTROY),
    "retreat enables nothing": together(gone("accept_kept"), gone("old_accepted")),
    "refused use ignored": no_guard(guards.refused_use),
    "rollback edge removed": no_edge(Phase.MONITOR, Ruling.ROLL_BACK),
    "rollback leads to an end": edge(Phase.MONITOR, Ruling.ROLL_BACK, Phase.ROLLED_BACK),
    "operator's rollback ignored": no_guard(guards.operator_rollback),
    "joined verifier is not mended": drop(Phase.OVERLAP, "old_accepted"),
    "pause ignored": no_guard(guards.paused),
    "latch ignored": no_guard(guards.latched),
    "obstacle ignored": no_guard(guards.obstacle),
    "no deadlines": no_deadlines,
    "nobody is paged": nobody_is_paged,
}
