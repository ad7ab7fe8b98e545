"""A backup from before a rotation that began later and never ended: of its version only copies, a key that verifiers
accept, and perhaps a mark are left. Nothing of that is forgotten (P5), and nothing compromised comes back (P8)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.runtime.rig import NAME, QUICK, SECOND, Rig
from tests.unit.runtime.test_adoption import (
    MOMENTS,
    Yesterday,
    alive,
    at,
    at_rest,
    confirmed,
    leaked,
    warmed,
)

from keyturn.domain.model import Version, VersionState
from keyturn.domain.phases import Phase


@pytest.fixture
def yesterday(tmp_path: Path) -> Yesterday:
    return Yesterday(tmp_path, replace(QUICK, grace=5 * SECOND, grace_cap=20 * SECOND))


def key_of_v2(rig: Rig) -> str:
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    return rotation.versions[2].key_id or ""


def versions(rig: Rig) -> Collection[Version]:
    credential = rig.store.credential(NAME)
    assert credential is not None
    return credential.versions.values()


def ended(rig: Rig) -> None:
    """What is compromised has its grace."""
    rig.until(lambda one: not one.live and one.phase is not Phase.SUPERSEDED, seconds=200)
    at_rest(rig)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("marked", [False, True])
def test_what_a_lost_rotation_has_made_is_found_and_comes_to_its_end(
    yesterday: Yesterday, moment: str, *, marked: bool
) -> None:
    """Backed up at rest: the key is named, and after the next rotation one key alone is accepted, with nobody refused."""
    rig = yesterday.rig
    yesterday.back_up()
    at(moment, rig)
    lost = key_of_v2(rig)
    if marked:
        leaked(rig, 2)
        rig.until(lambda _: all(lost in rig.backend.place(path).marked for path in rig.targets))
    refused = dict(rig.refused)
    yesterday.come_back()
    found = confirmed(rig)
    assert lost in " ".join(found) or any("which the store does not know" in line for line in found)
    ended(rig)
    rig.runtime.start(NAME, by="ada", why="the next")
    ended(rig)
    assert lost not in alive(rig)
    assert marked or rig.refused == refused
    assert not marked or lost in {one.key_id for one in versions(rig) if one.compromised_at is not None}


def test_a_lost_successor_is_taken_over_with_the_rotation_that_the_backup_remembers(yesterday: Yesterday) -> None:
    """The backup has a rotation under way, which was taken over since by another that minted: the rotation that follows
    knows both versions and leads both to their end."""
    rig = at("monitor", yesterday.rig)
    yesterday.back_up()
    leaked(rig, 1)
    leaked(rig, 2)
    rotation = rig.until(lambda one: one.incoming == 3 and one.versions[3].key_id is not None)
    lost = rotation.versions[3].key_id or ""
    yesterday.come_back()
    assert any(lost in line for line in confirmed(rig))
    ended(rig)
    assert {one.serial: one.state for one in versions(rig)} == {
        **dict.fromkeys((1, 2, 3), VersionState.DESTROYED),
        4: VersionState.CURRENT,
    }


def test_a_mark_of_a_key_that_is_dead_is_remembered_and_starts_nothing(yesterday: Yesterday) -> None:
    """Of a rotation that was rolled back since only the mark of its version is left: it is taken over, and that is all."""
    rig = yesterday.rig
    yesterday.back_up()
    at("monitor", rig)
    lost = key_of_v2(rig)
    leaked(rig, 2)
    rig.until_phase(Phase.ROLLED_BACK)
    yesterday.come_back()
    (line,) = confirmed(rig)
    assert lost in line
    assert "marked compromised" in line
    assert rig.store.live_of(NAME) is None
    credential = rig.store.credential(NAME)
    assert credential is not None
    dead = credential.versions[2]
    assert (dead.key_id, dead.state, credential.next_serial) == (lost, VersionState.DESTROYED, 3)
    assert dead.compromised_at is not None
    assert warmed(rig).store.live_of(NAME) is None
