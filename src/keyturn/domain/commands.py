"""What an operator may ask of a rotation under way: each a pure function that returns the rotation as it then is, or
raises `Refused` with the reason and what would be allowed. The chain acts on what they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.domain.errors import Refused
from keyturn.domain.model import Force, Pause, Rotation
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason

PAUSE_FOR = timedelta(hours=24)


def roll_back(rotation: Rotation, *, by: str, why: str) -> Rotation:
    """Ask for the old version back. Refused once the old one is being destroyed: nothing is left to roll back to."""
    _live(rotation)
    if rotation.phase is Phase.ROLLBACK:
        raise Refused(f"{rotation.credential} is rolling back already: see `keyturn status {rotation.credential}`")
    if rotation.phase is Phase.DESTROY:
        raise Refused(
            f"v{rotation.outgoing[0]} of {rotation.credential} is being destroyed and cannot come back; "
            "let the rotation finish, then rotate again"
        )
    return replace(rotation, rollback_asked=f"{by}: {why}")


def force(rotation: Rotation, *, serial: int, by: str, why: str, final: bool = False) -> Rotation:
    """Put a person's word in the place of silence: MONITOR's for the old version, ROLLBACK's drain for the new."""
    _live(rotation)
    expected = {Phase.MONITOR: rotation.outgoing[0], Phase.ROLLBACK: rotation.incoming}.get(rotation.phase)
    if expected is None:
        raise Refused(
            f"{rotation.credential} is in {rotation.phase}, which waits for no silence; force stands in for silence "
            "only, in monitor and rollback"
        )
    if serial != expected:
        raise Refused(
            f"in {rotation.phase} the version to disable is v{expected}, not v{serial}; look at "
            f"`keyturn status {rotation.credential}` again and name v{expected} if you mean it"
        )
    # Where the deadline holds for an operator's word, this is it.
    hold = rotation.hold if rotation.hold is None or rotation.hold.reason is not Reason.DEADLINE else None
    return replace(rotation, hold=hold, force=Force(by=by, why=why, serial=serial, final=final))


def pause(rotation: Rotation, *, by: str, why: str, now: datetime, lasting: timedelta = PAUSE_FOR) -> Rotation:
    """Stop every transition but rollback and retreat, until resumed; past its expiry a pause pages."""
    _live(rotation)
    if rotation.phase is Phase.ROLLBACK:
        raise Refused(f"{rotation.credential} is rolling back, which a pause does not stop")
    if rotation.pause is not None:
        raise Refused(f"{rotation.credential} is paused already, by {rotation.pause.by}")
    return replace(rotation, pause=Pause(by=by, until=now + lasting, why=why))


def resume(rotation: Rotation) -> Rotation:
    """End a pause, a latched hold or a halt: the phase is tried again, retreats are counted anew, and a phase that was
    over its deadline has that time once more."""
    _live(rotation)
    hold = rotation.hold
    if rotation.pause is None and rotation.halted is None and (hold is None or not hold.latched):
        if hold is not None:
            raise Refused(
                f"{rotation.credential} holds because: {hold.detail or hold.reason}; the hold ends with its cause"
            )
        raise Refused(f"{rotation.credential} is not paused, held or halted")
    overdue = hold is not None and hold.reason is Reason.DEADLINE
    return replace(
        rotation,
        pause=None,
        hold=None,
        halted=None,
        retreats=0,
        entry=rotation.entry + (1 if rotation.halted is not None else 0),
        extensions=rotation.extensions + (1 if overdue else 0),
    )


def _live(rotation: Rotation) -> None:
    if not rotation.live:
        raise Refused(f"the last rotation of {rotation.credential} has ended as {rotation.phase}")
