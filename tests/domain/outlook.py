"""What would become of a world if its faults ended now: looked at in a copy."""

from __future__ import annotations

from contextlib import suppress

from tests.domain.places import seconds
from tests.domain.promises import RESTORABLE, at_rest, passed, standing
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.guards import WATCHED
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase

TICK = seconds(10)
LONG = 400
"""Ticks that no rotation needs in a calm world."""
SOON = 11
"""Ticks of 5 s in which older rules have gone, the longest backoff is over, and a verifier is mended."""
ANSWERS = 12
"""How often an operator may be asked to resume."""
BOTH = (Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR)
"""Phases in which every outgoing version that is not compromised is to be accepted."""


def may_be_rolled_back(world: World) -> None:
    """P3: before DESTROY, one word of an operator leads back to the old version, in a world that has come to rest."""
    if world.rotation is None or world.rotation.phase not in RESTORABLE:
        return
    other, old = world.fork(), world.rotation.outgoing[0]
    chosen = world.rotation.accepted is not None or world.rotation.abandoned is not None
    if old in world.rotation.marks or old in world.rotation.revoked or chosen:
        return  # what is compromised never comes back, and an operator has chosen otherwise
    if world.rotation.incoming in world.rotation.marks:
        return  # it is rolling back, or giving way, by itself
    other.calm()
    other.wake_clients()
    if not other.readable(old):
        return
    other.command(commands.roll_back, by="ada", why="a test")
    assert run(other, LONG) or answered(other), "P3: the way back does not end"
    assert other.current.serial == old, f"P3: rolled back, and v{other.current.serial} is current"


def both_accepted(world: World) -> None:
    """Nobody stays refused: where old and new are both to be accepted, every verifier comes to accept them, whether it
    joined, came back, or was reached by a call of ours that came late."""
    if world.rotation is None or world.rotation.phase not in BOTH or world.rotation.halted is not None:
        return
    other, phase = world.fork(), world.rotation.phase
    other.calm()
    other.wake_clients()
    for _ in range(SOON):
        passed(other, seconds(5))
        if other.rotation is None or other.rotation.phase is not phase or other.rotation.halted is not None:
            return
        held = other.rotation.hold
        if held is not None and held.latched:
            # What was refused for good, and is allowed by now, is taken up by one command, whatever else it stands for.
            other.command(commands.resume)
    assert other.rotation is not None
    accepted_as_they_should(other, other.rotation)


def accepted_as_they_should(world: World, rotation: Rotation) -> None:
    """Every verifier that can be reached accepts what is kept for those who use it, and what readers are given."""
    phase = rotation.phase
    kept = set(rotation.outgoing) & rotation.served - set(rotation.marks) - rotation.revoked
    kept = kept if phase in BOTH else set()
    for verifier in world.verifiers.values():
        for serial in kept if phase is Phase.INTRODUCE else {*kept, rotation.incoming}:
            lost = serial in rotation.waived and not world.readable(serial) and serial not in verifier.table
            if serial in rotation.forced or lost:
                continue  # its silence is vouched for; or there is no value to install, as somebody has signed
            # Older rules go by themselves, in their time.
            entry = verifier.table.get(serial)
            told = entry is Entry.REVOKED and rotation.hold is not None  # by a hand, and it never accepts it again
            accepted = verifier.away or told or entry is Entry.ACTIVE
            assert accepted, f"{verifier.name} refuses v{serial} in {phase}, and nobody mends it"


def stand_mended(world: World) -> None:
    """What was true is made so again while a person's pause stands, and nothing else happens."""
    before = world.rotation
    if before is None or before.pause is None or before.marks or before.phase is Phase.ROLLBACK:
        return
    other = world.fork()
    other.wake_clients()
    for _ in range(SOON):
        passed(other, seconds(5))
    rotation = other.rotation
    if rotation is None or rotation.pause is None or rotation.phase is not before.phase or rotation.halted is not None:
        return
    targets = any(target.away or target.taken_by_hand is not None for target in other.targets.values())
    verifiers = any(verifier.lost or verifier.unlisted for verifier in other.verifiers.values())
    if other.denied or other.fates or other.late or other.gone or targets or verifiers:
        return
    accepted_as_they_should(other, rotation)
    old = rotation.outgoing[0]
    for target in other.targets.values() if rotation.phase in WATCHED else ():
        kept = target.away or old in target.copies or old in {*rotation.waived, *rotation.revoked}
        assert kept or not other.readable(old), f"P3: {target.name} keeps no copy of v{old}, which others have"


def must_end(world: World) -> None:
    """P10: from wherever it stands, a rotation whose world comes to rest ends, or holds and pages until an operator
    resumes it, and then ends."""
    if world.rotation is None:
        return
    other = world.fork()
    other.calm()
    other.wake_clients()
    for attempt in range(ANSWERS):
        if run(other, LONG):
            rests(other)
            return
        rotation = other.rotation
        assert rotation is not None
        stands = rotation.hold is not None or rotation.halted is not None or rotation.pause is not None
        assert stands, f"P10: {rotation.phase} neither goes on nor holds"
        assert "rotation.held" in topics(other) or "rotation.halted" in topics(other), (
            "P10: it stands, and pages nobody"
        )
        answer(other, patient=attempt % 2 == 0)
    raise AssertionError(f"P10: no end is reached from {world.rotation.phase}: {other.rotation}")


def rests(world: World) -> None:
    """An end stays as it was left."""
    for _ in range(SOON):
        world.advance(TICK)
        world.tick()
        standing(world)
    at_rest(world)


def answered(world: World) -> bool:
    """Whether it ends once an operator answers what it asks."""
    for attempt in range(ANSWERS):
        answer(world, patient=attempt % 2 == 0)
        if run(world, LONG):
            return True
    return False


def answer(world: World, *, patient: bool) -> None:
    """What an operator does about a rotation that stands: accept that a value is lost, overwrite what a hand left, and go
    on; or, when that was in vain, give the rotation up."""
    rotation = world.rotation
    if rotation is None:
        return
    seen, said = world.observe(), {"by": "ada", "why": "an answer"}
    for serial in rotation.versions:
        with suppress(Refused):
            world.command(commands.accept_lost, seen=seen, serial=serial, **said)
    for name, target in world.targets.items():
        with suppress(Refused):
            world.command(commands.reassert, seen=seen, target=name, found=target.id or "", **said)
    if not patient:
        with suppress(Refused):
            world.command(commands.abandon, **said)
            return
        if world.gone & set(rotation.versions):
            with suppress(Refused):
                world.command(commands.roll_back, **said)
                return
    with suppress(Refused):
        world.command(commands.resume)


def stands_aloud(world: World) -> None:
    """P10: even where no fault ever ends, nothing stands longer than its deadline without a word."""
    if world.rotation is None:
        return
    other = world.fork()
    for _ in range(60):
        passed(other, TICK)


def topics(world: World) -> set[str]:
    """What people were told about."""
    return {message.topic for _, message in world.messages.values()}


def run(world: World, ticks: int) -> bool:
    """Let it run; true when it has ended."""
    for _ in range(ticks):
        if world.rotation is None:
            return True
        passed(world, TICK)
        rotation = world.rotation
        if rotation is not None and rotation.phase is not Phase.ROLLBACK:
            latched = rotation.hold is not None and rotation.hold.latched
            if (latched or rotation.halted is not None) and rotation.rollback_asked is None:
                return False
    return world.rotation is None


def dead_stay_dead(world: World) -> None:
    """What earlier rotations destroyed is buried again wherever it rose, also while the rotation stands."""
    if not any(verifier.risen for verifier in world.verifiers.values()):
        return
    other = world.fork()
    other.calm()
    for _ in range(SOON):
        passed(other, seconds(5))
    for verifier in other.verifiers.values():
        assert not verifier.risen, f"P11: {verifier.name} accepts v{verifier.risen}, and nobody buries it"
