"""A hand leaves what is no text at a target: bytes, a number, an object. That is seen for what it is, and stops nothing
else."""

from __future__ import annotations

from tests.unit.runtime.rig import KEY, NAME, Rig

from keyturn.domain import commands
from keyturn.domain.observations import Entry, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.runtime.values import value_of


def moving() -> Rig:
    """In the middle of a rotation."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    rig.second()
    for client in rig.clients:
        client.refreshes = False  # what a hand leaves is of no use to anyone
    return rig


def spoilt() -> tuple[Rig, str]:
    """A rotation that is held for what a hand has left at one target; and the id of that."""
    rig = moving()
    rig.backend.place("t0").overwrite_with_no_text()
    held = rig.until(lambda rotation: rotation.hold is not None, seconds=3)
    assert held.hold is not None
    assert held.hold.reason is Reason.TARGET_FOREIGN
    serving = rig.runtime.look(NAME).targets["t0"].serving
    assert serving.kind is ServingKind.FOREIGN
    assert serving.id is not None
    return rig, serving.id


def test_it_holds_and_pages_and_status_tells_it() -> None:
    """The rotation stands with the hand's version named, whoever is on duty is paged, and status is answered by a process
    that has just started too."""
    rig, found = spoilt()
    assert [p["reason"] for p in rig.notifier.payloads if p["topic"] == "rotation.held"] == ["target_foreign"]
    rig.restart()
    verdict = rig.runtime.status(NAME).verdict
    assert verdict is not None
    assert found in verdict.detail


def test_what_is_compromised_is_cut_all_the_same() -> None:
    """`--cut-now` while a hand's number stands at a target: the old version is refused all the same (promise P8)."""
    rig, _ = spoilt()
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=None, cut_now=True)
    for _ in range(3):
        rig.second()
    assert all(
        node.entries()[rig.first_key_id] in (Entry.DISABLED, Entry.REVOKED) for node in rig.authority.nodes.values()
    )


def test_reassert_overwrites_it() -> None:
    """The operator names what is there, and readers get the new version again; the rotation ends well."""
    rig, found = spoilt()
    seen = rig.runtime.look(NAME)
    rig.runtime.command(
        NAME,
        lambda rotation: commands.reassert(rotation, seen, target="t0", found=found, by="ada", why="a slip"),
        by="ada",
        what="reassert",
    )
    rig.until_phase(Phase.COMPLETED)
    assert rig.backend.place("t0").readers_get() == rig.backend.place("t1").readers_get()


def test_drift_is_reported_between_rotations() -> None:
    """The check between rotations says what readers get, and pages."""
    rig = moving()
    rig.until_phase(Phase.COMPLETED)
    rig.backend.place("t0").overwrite_with_no_text()
    rig.store.set_check(NAME, rig.clock.now())
    for _ in range(3):
        rig.second()
    held = [p for p in rig.notifier.payloads if p["topic"] == "rotation.held"]
    assert [p["reason"] for p in held] == ["target_foreign"]


def test_a_copy_that_is_no_text_is_passed_by() -> None:
    """Another hand has spoilt the copy at the first target: the value is read at the next."""
    rig = moving()
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    place = rig.backend.place("t0")
    place.overwrite_with_no_text()
    spoilt = place.serving()
    assert spoilt is not None
    for token, (origin, _) in list(place._copies.items()):  # type: ignore[attr-defined]
        place._copies[token] = (origin, spoilt[1])  # type: ignore[attr-defined]
    targets = rig.registry.credential(NAME).targets.values()
    for serial in (1, 2):
        value = value_of(rotation, serial, targets, KEY)
        assert value.fingerprint(KEY) == rotation.versions[serial].fingerprint
