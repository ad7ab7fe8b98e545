"""A value of another's that an operator has accepted, and what becomes of it."""

from __future__ import annotations

from functools import partial

from tests.unit.runtime.rig import NAME, Rig

from keyturn.domain import commands
from keyturn.domain.phases import Phase
from keyturn.testing.fakes import Fault


def test_an_accepted_value_that_is_overwritten_before_it_was_kept_holds_nobody_up() -> None:
    """Readers got it, so that it is a version, but nobody has its value and it never had a key id: no verifier can be asked
    whether it is accepted, and the rotations that follow do not wait for that."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.backend.place("t0").overwrite(rig.authority.new_key("hand").value.reveal())
    rig.until(lambda one: one.hold is not None)
    seen = rig.runtime.look(NAME)
    found = seen.targets["t0"].serving.id or ""
    accept = partial(commands.accept, seen=seen, target="t0", found=found, by="ada", why="the vendor's own")
    rig.runtime.command(NAME, accept, by="ada", what="accept")
    rig.backend.faults.inject(Fault.LOST_REQUEST, "keep", times=None)
    adopted = rig.until(lambda one: one.adopting is not None and one.incoming in one.served)
    assert adopted.versions[adopted.incoming].key_id is None

    rig.runtime.command(NAME, partial(commands.roll_back, by="ada", why="test"), by="ada", what="rollback")
    back = rig.until(lambda one: one.phase is Phase.ROLLBACK and len(one.promoted) == 2)
    report = partial(
        commands.emergency, serial=back.survivor, by="ada", why="leaked", now=rig.clock.now(), cut_now=True
    )
    rig.runtime.command(NAME, report, by="ada", what="emergency")
    rig.backend.faults.clear()
    ended = rig.until_phase(Phase.COMPLETED)
    assert adopted.incoming in ended.versions
