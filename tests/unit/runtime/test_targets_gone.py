"""A target that is taken out of the configuration, for good or by mistake, has another name in it, or is added to it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from tests.unit.runtime.rig import NAME, SECOND, Rig

from keyturn.domain.commands import reassert, roll_back
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.ports.backend import Target


def configured(rig: Rig, **targets: Target) -> None:
    """A restart with these targets."""
    wired = rig.registry.credentials[NAME]
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets=targets)})
    rig.restart()


def without_t1(rig: Rig) -> None:
    """A restart with one target less."""
    configured(rig, t0=rig.registry.credentials[NAME].targets["t0"])


def with_added(rig: Rig) -> None:
    """A restart with one more target."""
    configured(rig, **rig.registry.credentials[NAME].targets, copied=rig.backend.target({"path": "copied"}))


def rests(rig: Rig) -> None:
    """It is not looked at again with the next tick."""
    credential = rig.store.credential(NAME)
    assert credential is not None
    assert credential.check_at is not None
    assert credential.check_at > rig.clock.now() + SECOND


def test_a_target_that_is_not_configured_any_more_keeps_no_rotation_from_its_end() -> None:
    """A region is gone for good and its target was taken out of the configuration: the rotation goes on with the others,
    which is on record with the copies that are left there, and rests after it."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    without_t1(rig)
    ended = rig.until_phase(Phase.COMPLETED)
    assert ended.targets == ("t0",)
    left = ", ".join(sorted(rig.backend.place("t1").copies()))
    assert left
    assert [line.detail for line in rig.store.history(NAME) if line.kind == "left_out"] == [
        f"t1 is not configured any more; copies that may be left there: {left}"
    ]
    for _ in range(3):
        rig.second()
    rests(rig)


def test_what_a_target_that_is_gone_was_left_with_is_not_looked_at() -> None:
    """Taken out of the configuration between two rotations: nothing waits for it."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    without_t1(rig)
    rig.store.set_check(NAME, rig.clock.now())
    rig.second()
    rests(rig)


def accepted(rig: Rig, path: str) -> bool:
    """Whether every verifier accepts what readers of a place get."""
    return all(node.accepts(rig.backend.place(path).readers_get() or "") for node in rig.authority.nodes.values())


def test_a_target_that_comes_back_takes_part_again() -> None:
    """It is missing from the configuration for one tick, by a mistake or at a replica with yesterday's file: its readers get
    the new version like the others', nothing they get is ever refused, and no copy is left there."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    good = rig.registry
    without_t1(rig)
    rig.second()
    rig.registry = good
    rig.restart()
    ended = rig.until(lambda rotation: not rotation.live or not accepted(rig, "t1"))
    assert ended.phase is Phase.COMPLETED
    assert ended.targets == ("t0", "t1")
    assert rig.backend.place("t1").readers_get() == rig.backend.place("t0").readers_get()
    assert not rig.backend.place("t1").copies()
    assert [line.detail for line in rig.store.history(NAME) if line.kind == "taken_in"] == [
        "t1 is configured, and takes part"
    ]


@pytest.mark.parametrize("since", [Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE])
@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_target_by_another_name_takes_part_all_the_same(since: Phase, back: bool) -> None:
    """Renamed while the rotation is under way, which then goes on or is rolled back: nobody is called, no reader of that
    place gets what a verifier refuses, and none gets another version than the last."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(since)
    both = rig.registry.credentials[NAME].targets
    configured(rig, t0=both["t0"], renamed=both["t1"])
    if back:
        rig.runtime.command(NAME, partial(roll_back, by="ada", why="test"), by="ada", what="rollback")
    ended = rig.until(lambda rotation: not rotation.live or not accepted(rig, "t1"))
    assert ended.phase is (Phase.ROLLED_BACK if back else Phase.COMPLETED)
    assert rig.backend.place("t1").readers_get() == rig.backend.place("t0").readers_get()
    for _ in range(3):
        rig.second()
    rests(rig)
    assert accepted(rig, "t1")
    assert "rotation.held" not in [heard["topic"] for heard in rig.notifier.payloads]


def test_a_target_that_was_added_takes_part_at_once() -> None:
    """Its readers get the version that is to go: they get the new one after the others', before anything is taken away."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.backend.place("copied").overwrite(rig.backend.place("t0").readers_get() or "")
    with_added(rig)
    ended = rig.until(lambda rotation: not rotation.live or not accepted(rig, "copied"))
    assert ended.phase is Phase.COMPLETED
    assert ended.targets == ("t0", "t1", "copied")
    assert rig.backend.place("copied").readers_get() == rig.backend.place("t0").readers_get()


@pytest.mark.parametrize("since", [Phase.MONITOR, Phase.RETIRE, Phase.DESTROY])
def test_nothing_is_taken_away_from_readers_of_a_target_that_was_added_late(since: Phase) -> None:
    """Its readers get the old version when all others have the new one: that is held for and paged by the target's name, and
    goes on once an operator has it overwritten with the new one."""
    rig = Rig()
    rig.warm_up()
    old = rig.backend.place("t0").readers_get() or ""
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(since)
    place = rig.backend.place("copied")
    place.overwrite(old)
    with_added(rig)
    held = rig.until(lambda rotation: rotation.hold is not None)
    assert held.hold is not None
    assert held.hold.reason is Reason.TARGET_FOREIGN
    assert "copied" in held.hold.detail
    for _ in range(20):
        rig.second()
    assert rig.until_phase(since).hold is not None
    found = str(held.hold.evidence["found"])
    change = partial(reassert, seen=rig.runtime.look(NAME), target="copied", found=found, by="ada", why="test")
    rig.runtime.command(NAME, change, by="ada", what="reassert")
    rig.until_phase(Phase.COMPLETED)
    assert place.readers_get() == rig.backend.place("t0").readers_get()
    assert accepted(rig, "copied")


@pytest.mark.parametrize("left", ["the destroyed version", "a value of nobody's", None])
def test_readers_of_an_added_target_are_looked_at_between_rotations(left: str | None) -> None:
    """What they get is not what the last rotation left at the others: that is held for and paged by the target's name,
    nothing is written there, and once it is put right by hand the credential rests."""
    rig = Rig()
    rig.warm_up()
    first = rig.backend.place("t0").readers_get()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    place, found = rig.backend.place("copied"), first if left == "the destroyed version" else left
    if found is not None:
        place.overwrite(found)
    with_added(rig)
    rig.store.set_check(NAME, rig.clock.now())
    for _ in range(3):
        rig.second()
    ended = rig.store.latest_of(NAME)
    assert ended is not None
    assert ended.hold is not None
    assert ended.hold.reason is (Reason.TARGET_MISSING if found is None else Reason.TARGET_FOREIGN)
    assert "copied" in ended.hold.detail
    assert [heard["reason"] for heard in rig.notifier.payloads if heard["topic"] == "rotation.held"] == [
        ended.hold.reason
    ]
    assert place.readers_get() == found
    place.overwrite(rig.backend.place("t0").readers_get() or "")
    for _ in range(3):
        rig.second()
    ended, credential = rig.store.latest_of(NAME), rig.store.credential(NAME)
    assert ended is not None
    assert ended.hold is None
    assert credential is not None
    assert credential.check_at is not None
    assert credential.check_at > rig.clock.now() + SECOND
