"""A target that is taken out of the configuration for good, or added to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.runtime.rig import NAME, SECOND, Rig

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
    which is on record, and rests after it."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    without_t1(rig)
    ended = rig.until_phase(Phase.COMPLETED)
    assert ended.targets == ("t0",)
    assert [line.detail for line in rig.store.history(NAME) if line.kind == "left_out"] == [
        "t1 is not configured any more"
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


def test_a_target_that_was_added_takes_part_from_the_next_rotation_on() -> None:
    """The one under way is left with the targets that it began with: readers there never were its own."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.backend.place("copied").overwrite(rig.backend.place("t0").readers_get() or "")
    with_added(rig)
    assert rig.until_phase(Phase.RETIRE).targets == ("t0", "t1")
    rig.until_phase(Phase.COMPLETED)
    rig.backend.place("copied").overwrite(rig.backend.place("t0").readers_get() or "")
    rig.runtime.start(NAME, by="ada", why="test")
    assert rig.until_phase(Phase.COMPLETED).targets == ("t0", "t1", "copied")


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
