"""Ways on: the daemon's own steps, what ends an adverse event, and the words of an operator that a standstill asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from tests.explorer.calls import land, with_entry, with_target, with_verifier
from tests.explorer.daemon import can_begin, next_rotation, send
from tests.explorer.events import BY, WHY, called, commanded
from tests.explorer.looking import STRANGER, observe
from tests.explorer.moves import Cause, Move
from tests.explorer.state import FOREIGN, MISSING, SECOND, State, Verifier, canonical

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.observations import Entry
from keyturn.domain.reasons import Reason

LOST = frozenset({Reason.ROLLBACK_VALUE_LOST, Reason.UNPROVEN})


def benign(state: State) -> Iterator[Move]:
    """Every step that is not adverse, but the daemon's tick."""
    if state.horizon:
        return
    for effect in dict.fromkeys(state.late):
        yield Move(f"{called(effect)}, held up till now, is done", Cause.WORLD, partial(land, state, effect))
    if state.pending:
        yield Move("the calls are made", Cause.DAEMON, partial(send, state))
    for label, after in (*_returns(state), *_time(state)):
        yield Move(label, Cause.WORLD, partial(_same, after))
    if state.rotation.live and not state.pending:
        for label, after in _words(state):
            yield Move(label, Cause.OPERATOR, partial(_same, after))


def _same(state: State) -> State:
    return state


Ways = Iterator[tuple[str, State]]


def _returns(state: State) -> Ways:
    for index, target in enumerate(state.targets):
        if target.away:
            yield f"{target.name} is back", with_target(state, index, target._replace(away=False))
        if target.serial in (FOREIGN, MISSING) and not target.away and not state.rotation.live:
            survivor = state.rotation.survivor
            mended = target._replace(serial=survivor, number=target.number + 1, token="", hand=False)
            yield f"a hand gives {target.name} v{survivor} again", with_target(state, index, mended)
    for index, verifier in enumerate(state.verifiers):
        if verifier.away:
            back = verifier._replace(away=False, missed=False, excused=state.keys)  # those too that were made meanwhile
            yield f"{verifier.name} is back", with_verifier(state, index, back)
            if verifier.missed and state.rotation.live and (old := _backup(state, back)).table != back.table:
                yield f"{verifier.name} is back from a backup", with_verifier(state, index, old)
            continue
        for serial in sorted(verifier.hands):
            if verifier.table[serial] in (Entry.ABSENT, Entry.DISABLED) and serial not in state.marked:
                entry = with_entry(state, index, serial, Entry.ACTIVE)
                yield f"the hand gives {verifier.name} v{serial} again", entry
        for serial in sorted(verifier.raised) if _asked_for(state, Reason.AUTHORITY_CHANGED) else ():
            entry = with_entry(state, index, serial, Entry.DISABLED)
            yield f"the hand disables v{serial} at {verifier.name} again", entry
    if state.mute:
        yield "the usage source speaks again", state._replace(mute=False)
    if state.denied is not None:
        yield f"{state.denied} is allowed again", state._replace(denied=None)
    if state.accused is not None:
        yield "the detector is content", state._replace(accused=None)
    if state.obstacle:
        yield "the stranger's value is gone", state._replace(obstacle=False)
    if state.capacity is not None and not state.pending:
        yield "the authority has room again", state._replace(capacity=None)


def _asked_for(state: State, reason: Reason) -> bool:
    """Whether the rotation holds for a hand to mend what it did."""
    hold = state.rotation.hold
    return hold is not None and hold.reason is reason


def _backup(state: State, verifier: Verifier) -> Verifier:
    """The verifier with the table of the rotation's start; tombstones stay."""
    rotation = state.rotation

    def entry(serial: int) -> Entry:
        now = verifier.table[serial]
        if now is Entry.REVOKED or serial not in rotation.versions:
            return now
        if serial == rotation.outgoing[0] and serial not in state.marked:
            return Entry.ACTIVE
        return Entry.ABSENT if serial == rotation.incoming else now

    return verifier._replace(table=tuple([entry(serial) for serial in range(len(verifier.table))]))


def _time(state: State) -> Ways:
    fetched = [t.serial if t.serial >= 0 else held for t, held in zip(state.targets, state.holds, strict=True)]
    if tuple(fetched) != state.holds:
        yield "the clients fetch", state._replace(holds=tuple(fetched))
    cuts = [mark.cut_at for mark in state.rotation.marks.values() if mark.cut_at > state.now]
    if cuts and state.rotation.live:
        now = min(cuts) + SECOND
        yield "a grace passes", state._replace(now=now, canonical=canonical(state.rotation, now))
    if state.late and can_begin(state):
        yield "the next rotation begins", next_rotation(state)


def _words(state: State) -> Ways:
    rotation = state.rotation
    with suppress(Refused):
        yield "operator: resume", commanded(state, commands.resume(rotation))
    with suppress(Refused):
        yield "operator: rollback", commanded(state, commands.roll_back(rotation, by=BY, why=WHY))
    if rotation.halted is not None and state.denied is None:
        with suppress(Refused):
            yield "operator: abandon", commanded(state, commands.abandon(rotation, by=BY, why=WHY))
    if not (state.obstacle or rotation.hold or any(target.hand for target in state.targets)):
        return
    seen = observe(state)
    for target in state.targets:
        found = target.id or ""
        if target.hand:
            with suppress(Refused):
                word = commands.reassert(rotation, seen, target=target.name, found=found, by=BY, why=WHY)
                yield f"operator: reassert {target.name}", commanded(state, word)
        if target.serial == FOREIGN:
            with suppress(Refused):
                word = commands.accept(rotation, seen, target=target.name, found=found, by=BY, why=WHY)
                yield f"operator: accept {target.name}", commanded(state, word)
    if state.obstacle:
        with suppress(Refused):
            word = commands.accept(rotation, seen, target="t0", found=STRANGER.id, by=BY, why=WHY)
            yield "operator: accept the stranger's value in the way", commanded(state, word)
    if rotation.hold is not None and rotation.hold.reason in LOST:
        for serial in rotation.versions:
            with suppress(Refused):
                word = commands.accept_lost(rotation, seen, serial=serial, by=BY, why=WHY)
                yield f"operator: accept that v{serial} is lost", commanded(state, word)


def last_resorts(state: State) -> Iterator[Move]:
    """What else an operator may say; tried only where nothing else leads to an end."""
    rotation = state.rotation
    if not rotation.live or state.horizon:
        return
    with suppress(Refused):
        after = commanded(state, commands.roll_back(rotation, by=BY, why=WHY))
        yield Move("operator: rollback", Cause.OPERATOR, partial(_same, after))
    with suppress(Refused):
        after = commanded(state, commands.abandon(rotation, by=BY, why=WHY))
        yield Move("operator: abandon", Cause.OPERATOR, partial(_same, after))
    for serial in rotation.versions:
        with suppress(Refused):
            after = commanded(state, commands.force(rotation, serial=serial, by=BY, why=WHY))
            after = after._replace(forced=state.forced | {serial})
            yield Move(f"operator: force v{serial}", Cause.OPERATOR, partial(_same, after))
