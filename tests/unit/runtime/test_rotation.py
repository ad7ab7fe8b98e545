"""Whole rotations through the real runtime, on fakes and a virtual clock."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.schedule import Schedule
from keyturn.stores.sql import SqlStore


def phases(rig: Rig) -> list[str]:
    return [entry.phase for entry in rig.store.history(NAME) if entry.kind in ("started", "transition")]


def warmed(rig: Rig, seconds: int = 10) -> Rig:
    """A rig whose clients have some history."""
    for _ in range(seconds):
        rig.second()
    return rig


def test_a_calm_rotation_completes_with_nobody_refused() -> None:
    """From start to end no client is refused once, and the old key is revoked on every verifier."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.COMPLETED)
    assert rig.refused == {}
    assert phases(rig) == ["introduce", "overlap", "monitor", "retire", "destroy", "completed"]
    assert all(node.entries()[rig.first_key_id] is Entry.REVOKED for node in rig.authority.nodes.values())
    new = rotation.versions[2]
    assert all(rig.backend.place(path).readers_get() == rig.clients[0].value for path in rig.targets)
    assert rig.clients[0].value.split("_")[1] == new.key_id


def test_a_calm_rotation_completes_on_sqlite_too(tmp_path: Path) -> None:
    """The store that the daemon has by default carries a whole rotation, and a restart in every phase of it."""
    rig = warmed(Rig(open_store=lambda now: SqlStore.open(f"sqlite:///{tmp_path / 'keyturn.db'}", now=now)))
    rig.runtime.start(NAME, by="ada", why="test")
    for phase in (Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.COMPLETED):
        rig.until_phase(phase)
        rig.restart()
    assert rig.refused == {}
    rig.store.close()


def test_nothing_of_ours_is_left_at_the_targets() -> None:
    """When a rotation ends, no copy that keyturn kept is stored any more."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    assert [rig.registry.credentials[NAME].targets[path].view().copies for path in rig.targets] == [frozenset()] * 2


def test_a_schedule_starts_the_rotation_by_itself() -> None:
    """A due date that was reached starts one rotation, and the next is due an interval later."""
    rig = Rig(schedule=Schedule(every=timedelta(days=1)))
    rig.second()
    registered = rig.store.credential(NAME)
    assert registered is not None
    due = registered.due_at
    assert due is not None
    rig.clock.advance(due - rig.clock.now())
    rig.until_phase(Phase.COMPLETED)
    after = rig.store.credential(NAME)
    assert after is not None
    assert after.due_at is not None
    assert after.due_at > due + timedelta(hours=23)


def test_a_due_date_missed_while_down_is_caught_up_once() -> None:
    """After a month of downtime one rotation starts, not thirty."""
    rig = Rig(schedule=Schedule(every=timedelta(days=1)))
    rig.second()
    rig.clock.advance(timedelta(days=30))
    rig.restart()
    rig.until_phase(Phase.COMPLETED)
    rig.warm_up()
    assert phases(rig).count("introduce") == 1


def test_a_new_version_that_a_verifier_loses_is_rolled_back() -> None:
    """Clients fail, our own probes find the verifier that refuses the new key: rolled back, nobody on the old refused."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.MONITOR)
    key_id = rotation.versions[2].key_id
    assert key_id is not None
    rig.authority.nodes["one"].lose(key_id)
    rig.until_phase(Phase.ROLLBACK)
    for _ in range(2):
        rig.second()
        back = rig.runtime.status(NAME).turned_back
        assert back is not None
        assert re.search(r"client client-\d fails \d+ of \d+ on v2; one refuses v2 and accepts v1", back.detail)
    ended = rig.until_phase(Phase.ROLLED_BACK)
    assert rig.runtime.status(NAME).turned_back == back
    assert ended.restoring == 1
    assert rig.authority.nodes["two"].entries()[key_id] is Entry.REVOKED
    refused = sum(client.refused for client in rig.clients)
    assert 0 < refused < 40
    before = rig.refused
    rig.warm_up()
    assert rig.refused == before
    assert rig.clients[0].value.split("_")[1] == rig.first_key_id


def test_a_laggard_withholds_retirement_until_forced_and_its_refused_use_retreats() -> None:
    """One client never refreshes: retirement waits and names it; forced, its first refusal enables the old key again."""
    rig = warmed(Rig())
    rig.clients[0].refreshes = False
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    for _ in range(20):
        rig.second()
    status = rig.runtime.status(NAME)
    assert status.rotation is not None
    assert status.rotation.phase is Phase.MONITOR
    assert status.verdict is not None
    assert "client-0" in status.verdict.detail
    rig.runtime.command(
        NAME, partial(commands.force, serial=1, by="ada", why="vendor is asleep"), by="ada", what="force"
    )
    rig.until_phase(Phase.RETIRE)
    rotation = rig.until_phase(Phase.MONITOR)
    assert rotation.retreats == 1
    rig.until(lambda _: all(node.entries()[rig.first_key_id] is Entry.ACTIVE for node in rig.authority.nodes.values()))
    lost = rig.refused
    assert set(lost) == {"client-0"}
    rig.warm_up()
    assert rig.refused == lost


def test_a_usage_source_that_falls_silent_blocks_retirement() -> None:
    """While the one source says nothing, MONITOR never ends; when it is back, the rotation goes on (promise P4)."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    rig.reporting = False
    for _ in range(200):
        rig.second()
    stuck = rig.store.live_of(NAME)
    assert stuck is not None
    assert stuck.phase is Phase.MONITOR
    rig.reporting = True
    rig.until_phase(Phase.COMPLETED)
    assert rig.refused == {}


def test_an_operator_rolls_back_in_every_phase_before_destroy() -> None:
    """Whatever the phase, one command brings the old version back, and it is the one accepted and served at the end."""
    for phase in (Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE):
        rig = warmed(Rig())
        rig.runtime.start(NAME, by="ada", why="test")
        if phase is not Phase.INTRODUCE:
            rig.until_phase(phase)
        rig.runtime.command(NAME, partial(commands.roll_back, by="ada", why="test"), by="ada", what="rollback")
        rotation = rig.until_phase(Phase.ROLLED_BACK)
        assert rotation.versions[1].state == "current"
        assert rig.backend.place("t0").readers_get() == rig.backend.place("t1").readers_get()
        issuer = rig.registry.credentials[NAME].issuer
        value = rig.registry.credentials[NAME].targets["t0"].read()[1]
        assert [issuer.probe(node, rig.first_key_id, value) for node in ("one", "two")] == [Acceptance.ACCEPTED] * 2


def test_a_second_rotation_of_a_credential_under_way_is_refused() -> None:
    """At most one live rotation per credential: the second start names the first (promise P7)."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    with pytest.raises(Refused):
        rig.runtime.start(NAME, by="ada", why="again")


def test_rollbacks_double_the_wait_for_the_next_scheduled_start() -> None:
    """After ROLLED_BACK the next start waits for retry_after, then twice that."""
    waits = []
    rig = warmed(Rig(policy=replace(QUICK, retry_after=timedelta(hours=1)), schedule=Schedule(every=timedelta(days=9))))
    for _ in range(2):
        rig.runtime.start(NAME, by="ada", why="test")
        rig.runtime.command(NAME, partial(commands.roll_back, by="ada", why="test"), by="ada", what="rollback")
        rig.until_phase(Phase.ROLLED_BACK)
        credential = rig.store.credential(NAME)
        assert credential is not None
        assert credential.due_at is not None
        waits.append(credential.due_at - rig.clock.now())
    assert [round(wait / timedelta(hours=1)) for wait in waits] == [1, 2]


def test_the_trail_explains_every_transition() -> None:
    """Each change of phase is on record with a reason, and ops were told of each (promise P9)."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    rig.second()
    trail = rig.store.history(NAME)
    assert [entry.reason for entry in trail if entry.kind == "transition"] == [
        "accepted_everywhere",
        "overlap_passed",
        "old_silent",
        "soaked",
        "proven_dead",
    ]
    topics = [payload["topic"] for payload in rig.notifier.payloads]
    assert topics.count("client.refresh") == 2
    assert topics[-1] == "rotation.completed"


def test_a_destroyed_version_that_is_used_raises_an_alert() -> None:
    """The old key stays on a tripwire: a later attempt names the client, once a day (promise P11)."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    old = rig.clients[0].value
    rig.until_phase(Phase.COMPLETED)
    rig.clients[0].value, rig.clients[0].refreshes = old, False
    for _ in range(5):
        rig.second()
    alerts = [payload for payload in rig.notifier.payloads if payload["topic"] == "tripwire"]
    assert [(alert["client"], alert["version"]) for alert in alerts] == [("client-0", "1")]


@pytest.mark.parametrize("pause", [True, False])
def test_a_pause_stops_transitions_and_not_a_rollback(pause: bool) -> None:
    """A paused rotation stays in its phase until resumed; unpaused it goes on."""
    rig = warmed(Rig())
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    if pause:
        change = partial(commands.pause, by="ada", why="freeze", now=rig.clock.now())
        rig.runtime.command(NAME, change, by="ada", what="pause")
    for _ in range(30):
        rig.second()
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    assert (rotation.phase is Phase.OVERLAP) is pause
    if pause:
        rig.runtime.command(NAME, commands.resume, by="ada", what="resume")
        rig.until_phase(Phase.COMPLETED)


def test_what_was_destroyed_stays_dead_at_a_verifier_that_comes_back() -> None:
    """A verifier that is restored from an image of long ago accepts a key of two rotations ago: it is revoked again, in a
    rotation and between two."""
    rig = warmed(Rig())
    first = rig.backend.place("t0").serving()
    assert first is not None
    for _ in range(2):
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until_phase(Phase.COMPLETED)
    node = rig.authority.nodes["two"]
    node.put(rig.first_key_id, Entry.ACTIVE, first[1])
    rig.store.set_check(NAME, rig.clock.now())
    warmed(rig, 2)
    assert node.entries()[rig.first_key_id] is Entry.REVOKED
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    node.put(rig.first_key_id, Entry.DISABLED, first[1])
    warmed(rig, 2)
    assert node.entries()[rig.first_key_id] is Entry.REVOKED


def test_what_was_compromised_stays_dead_though_a_hand_gives_it_to_readers() -> None:
    """A leaked key of an earlier rotation is put back by hand, at a verifier and for readers: the hand at the target is held
    for, and the key is revoked all the same (promise P8)."""
    rig = warmed(Rig())
    first = rig.backend.place("t0").serving()
    assert first is not None
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=None, cut_now=True)
    rig.until_phase(Phase.COMPLETED)
    node = rig.authority.nodes["two"]
    for _ in range(2):
        rig.backend.place("t0").overwrite(first[1].reveal())
        node.put(rig.first_key_id, Entry.ACTIVE, first[1])
        rig.store.set_check(NAME, rig.clock.now())
        warmed(rig, 2)
        assert node.entries()[rig.first_key_id] is Entry.REVOKED
        if rig.store.live_of(NAME) is None:
            rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    assert rotation.hold is not None
    assert rotation.hold.reason is Reason.TARGET_FOREIGN
