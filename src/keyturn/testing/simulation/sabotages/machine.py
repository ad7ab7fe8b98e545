"""Breaks the machine: rows left out or put before others, guards that are not asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from keyturn.domain import establish, guards, machine, succession, tables, transitions, withdraw
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance
from keyturn.domain.phases import Phase
from keyturn.domain.rows import Row
from keyturn.domain.situation import Situation
from keyturn.testing.simulation.sabotages.patching import patched

Sabotage = Callable[[], AbstractContextManager[None]]

LIVE = tuple(phase for phase in Phase if not phase.is_end)


def without(*rows: Row, phases: tuple[Phase, ...] = LIVE) -> Sabotage:
    """Leave rows out of phases, under a hold too."""

    def left(table: Mapping[Phase, tuple[Row, ...]]) -> dict[Phase, tuple[Row, ...]]:
        return {
            phase: tuple(row for row in kept if phase not in phases or row not in rows) for phase, kept in table.items()
        }

    return patched((machine, "PHASES", left(tables.PHASES)), (machine, "STANDING", left(tables.STANDING)))


def not_always(row: Row) -> Sabotage:
    """Leave a row out of those that act beside everything else."""
    return patched((machine, "ALWAYS", tuple(other for other in tables.ALWAYS if other is not row)))


def first(phase: Phase, row: Row) -> Sabotage:
    """Put a row before all others of its phase."""
    changed = (row, *(other for other in tables.PHASES[phase] if other is not row))
    replacements: list[tuple[object, str, Any]] = [(machine, "PHASES", {**tables.PHASES, phase: changed})]
    if phase is Phase.ROLLBACK:
        replacements.append((machine, "STANDING", {**tables.STANDING, phase: changed}))
    return patched(*replacements)


def both(*sabotages: Sabotage) -> Sabotage:
    """Several at once."""

    @contextmanager
    def sabotage() -> Iterator[None]:
        with ExitStack() as active:
            for one in sabotages:
                active.enter_context(one())
            yield

    return sabotage


def unguarded(guard: guards.Guard) -> Sabotage:
    """Take a guard out of the chain."""
    return patched((machine, "CHAIN", tuple(link for link in guards.CHAIN if link[0] is not guard)))


def _hasty(self: Situation, verifier: str, serial: int) -> Acceptance:
    seen = _acceptance(self, verifier, serial)
    return Acceptance.ACCEPTED if seen is Acceptance.UNSETTLED else seen


_acceptance = Situation.acceptance


def _forgetful(s: Situation, *, failed: bool) -> Rotation:
    """The successor knows of nothing but what readers got last."""
    successor = succession.succeed(s, failed=failed)
    kept = {serial: successor.versions[serial] for serial in (successor.outgoing[0], successor.incoming)}
    return replace(successor, outgoing=successor.outgoing[:1], versions=kept)


def _unmarked(self: Situation, serial: int) -> bool:
    del self, serial
    return False


_entering = transitions._ENTERING


def _restoring_the_new(after: Rotation) -> Rotation:
    """What failed, or was not wanted, is taken for what is to come back."""
    return replace(_entering[Phase.ROLLBACK](after), restoring=after.incoming)


SABOTAGES: Mapping[str, Sabotage] = {
    "promote-before-accept": without(establish.accept_new, phases=(Phase.INTRODUCE, Phase.OVERLAP)),
    "forget-held-connections": patched((Situation, "acceptance", _hasty)),
    "keep-no-way-back": both(without(establish.keep_old), unguarded(guards.way_back_lost)),
    "remove-old-copy-early": first(Phase.RETIRE, withdraw.remove_copies),
    "revoke-early": first(Phase.RETIRE, withdraw.revoke_doomed),
    "never-revoke": without(withdraw.revoke_doomed),
    "revoke-without-proof": without(withdraw.prove_dead),
    "leave-copies": without(withdraw.remove_copies),
    "no-soak": without(withdraw.soaked),
    "no-drain": without(withdraw.drained),
    "disable-before-promote-old": first(Phase.ROLLBACK, withdraw.disable_doomed),
    "retreat-enables-nothing": without(establish.accept_kept, establish.old_accepted),
    "ignore-refused-use": unguarded(guards.refused_use),
    "ignore-laggards": without(withdraw.clients_moved),
    "ignore-rollback": unguarded(guards.operator_rollback),
    "restore-the-new": patched((transitions, "_ENTERING", {**_entering, Phase.ROLLBACK: _restoring_the_new})),
    "re-enable-compromised": patched((Situation, "marked", _unmarked)),
    "never-cut-compromised": not_always(withdraw.cut_marked),
    "mark-nothing-beside": both(without(withdraw.mark_beside), not_always(withdraw.mark_beside)),
    "forget-versions-at-takeover": patched((machine, "succeed", _forgetful)),
    "no-deadlines": patched((machine, "overdue", lambda *_: None)),
    "tell-of-no-orphan": without(withdraw.orphaned, phases=(Phase.COMPLETED, Phase.ROLLED_BACK)),
    "page-nobody": patched((machine, "notices", lambda _before, s, _verdict: (s.rotation, ()))),
}
