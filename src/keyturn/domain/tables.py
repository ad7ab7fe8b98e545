"""The machine as tables: what each phase sees to, and where each ruling leads. The chain of guards is in `guards.py`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.domain import establish, room, withdraw
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import Row
from keyturn.domain.verdicts import Ruling

PHASES: Mapping[Phase, tuple[Row, ...]] = {
    Phase.INTRODUCE: (
        establish.keep_old,
        room.make_room,
        establish.mint,
        establish.stage_new,
        establish.accept_new,
    ),
    Phase.OVERLAP: (
        establish.old_accepted,
        establish.accept_new,
        establish.promote_waves,
        establish.minimum_overlap,
    ),
    Phase.MONITOR: (
        establish.old_accepted,
        establish.accept_new,
        withdraw.served_everywhere,
        withdraw.clients_moved,
        withdraw.old_silent,
    ),
    Phase.RETIRE: (
        establish.accept_new,
        withdraw.served_everywhere,
        withdraw.old_silent,
        withdraw.disable_doomed,
        withdraw.soaked,
    ),
    Phase.DESTROY: (
        establish.accept_new,
        withdraw.served_everywhere,
        withdraw.revoke_doomed,
        withdraw.prove_dead,
        withdraw.mark_beside,
        withdraw.remove_copies,
    ),
    Phase.ROLLBACK: (
        establish.accept_survivor,
        establish.promote_restored,
        withdraw.drained,
        withdraw.disable_doomed,
        withdraw.revoke_doomed,
        withdraw.prove_dead,
        withdraw.mark_beside,
        withdraw.remove_copies,
    ),
    Phase.COMPLETED: (
        withdraw.bury_again,
        establish.accept_survivor,
        withdraw.revoke_doomed,
        withdraw.remove_copies,
        withdraw.orphaned,
    ),
    Phase.ROLLED_BACK: (
        withdraw.bury_again,
        establish.accept_survivor,
        withdraw.revoke_doomed,
        withdraw.remove_copies,
        withdraw.orphaned,
    ),
}
"""The rows of each phase, in order. Those of an end are looked at again between rotations: what a late call of ours has
changed is undone."""

STANDING: Mapping[Phase, tuple[Row, ...]] = {
    Phase.INTRODUCE: (establish.accept_kept,),
    Phase.OVERLAP: (establish.keep_old, establish.accept_kept, establish.accept_new),
    Phase.MONITOR: (establish.keep_old, establish.accept_kept, establish.accept_new),
    Phase.RETIRE: (establish.keep_old, establish.accept_new),
    Phase.DESTROY: (establish.accept_new,),
    Phase.ROLLBACK: PHASES[Phase.ROLLBACK],
    Phase.COMPLETED: PHASES[Phase.COMPLETED],
    Phase.ROLLED_BACK: PHASES[Phase.ROLLED_BACK],
}
"""What is seen to also under a hold. A rollback goes on, and an end is kept as it was left, row by row; of the others every
row is asked."""

ALWAYS: tuple[Row, ...] = (
    establish.reassert,
    withdraw.accept_withdrawn,
    withdraw.cut_marked,
    withdraw.mark_beside,
    withdraw.bury_again,
)
"""What is done beside everything else, in every phase that lives, also under a halt."""

EDGES: Mapping[tuple[Phase, Ruling], tuple[Phase, Reason | None]] = {
    (Phase.INTRODUCE, Ruling.ADVANCE): (Phase.OVERLAP, Reason.ACCEPTED_EVERYWHERE),
    (Phase.INTRODUCE, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.INTRODUCE, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
    (Phase.OVERLAP, Ruling.ADVANCE): (Phase.MONITOR, Reason.OVERLAP_PASSED),
    (Phase.OVERLAP, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.OVERLAP, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
    (Phase.MONITOR, Ruling.ADVANCE): (Phase.RETIRE, Reason.OLD_SILENT),
    (Phase.MONITOR, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.MONITOR, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
    (Phase.RETIRE, Ruling.ADVANCE): (Phase.DESTROY, Reason.SOAKED),
    (Phase.RETIRE, Ruling.RETREAT): (Phase.MONITOR, None),
    (Phase.RETIRE, Ruling.ROLL_BACK): (Phase.ROLLBACK, None),
    (Phase.RETIRE, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
    (Phase.DESTROY, Ruling.ADVANCE): (Phase.COMPLETED, Reason.PROVEN_DEAD),
    (Phase.DESTROY, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
    (Phase.ROLLBACK, Ruling.ADVANCE): (Phase.ROLLED_BACK, Reason.RESTORED),
    (Phase.ROLLBACK, Ruling.SUPERSEDE): (Phase.SUPERSEDED, None),
}
"""(phase, ruling) → (next phase, its reason when the verdict brings none). A test draws and documents these."""
