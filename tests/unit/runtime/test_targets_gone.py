"""A target that is taken out of the configuration for good."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.runtime.rig import NAME, SECOND, Rig

from keyturn.domain.phases import Phase


def test_a_target_that_is_not_configured_any_more_keeps_no_rotation_from_its_end() -> None:
    """A region is gone for good and its target was taken out of the configuration: the rotation goes on with the others,
    which is on record, and rests after it."""
    rig = Rig()
    for _ in range(10):
        rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    wired = rig.registry.credentials[NAME]
    left = replace(wired, targets={"t0": wired.targets["t0"]})
    rig.registry = replace(rig.registry, credentials={NAME: left})
    rig.restart()
    ended = rig.until_phase(Phase.COMPLETED)
    assert ended.targets == ("t0",)
    assert [line.detail for line in rig.store.history(NAME) if line.kind == "left_out"] == [
        "t1 is not configured any more"
    ]
    for _ in range(3):
        rig.second()
    credential = rig.store.credential(NAME)
    assert credential is not None
    assert credential.check_at is not None
    assert credential.check_at > rig.clock.now() + SECOND


def test_what_a_target_that_is_gone_was_left_with_is_not_looked_at() -> None:
    """Taken out of the configuration between two rotations: nothing waits for it."""
    rig = Rig()
    for _ in range(10):
        rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    wired = rig.registry.credentials[NAME]
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets={"t0": wired.targets["t0"]})})
    rig.restart()
    rig.store.set_check(NAME, rig.clock.now())
    rig.second()
    credential = rig.store.credential(NAME)
    assert credential is not None
    assert credential.check_at is not None
    assert credential.check_at > rig.clock.now() + SECOND
