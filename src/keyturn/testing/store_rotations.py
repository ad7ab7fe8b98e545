"""Clauses: rotations are begun once and moved by compare-and-swap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from keyturn.domain.errors import Refused, StaleRevision
from keyturn.domain.model import Adopting, Force, Hold, Mark, Pause, Rotation, Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, OnDeadline, Policy
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Evidence
from keyturn.ports.records import Commit
from keyturn.ports.store import Store
from keyturn.testing.store_samples import (
    NAME,
    NOW,
    SECOND,
    Clauses,
    begun,
    compromised,
    effect,
    ended,
    line,
    message,
    planned,
    version,
)

THREADS = 8


class RotationClauses(Clauses):
    # Beginning

    def test_begun_rotation_is_live(self, store: Store) -> None:
        """A rotation that begins is found by every way of asking, and takes the serial and the due date."""
        store.register(NAME, version(), due_at=NOW)
        rotation = planned(store)
        store.begin(rotation, line(rotation))
        assert list(store.live()) == [rotation]
        assert store.rotation("r1") == store.live_of(NAME) == store.latest_of(NAME) == rotation
        found = store.credential(NAME)
        assert found is not None
        assert (found.next_serial, found.due_at) == (3, None)
        assert dict(found.versions) == dict(rotation.versions)
        assert [entry.rotation for entry in store.history(NAME)] == ["r1"]

    def test_begun_with_a_mark(self, store: Store) -> None:
        """A rotation may begin with its outgoing version marked: the mark is the credential's from then on."""
        store.register(NAME, version(), due_at=None)
        rotation = compromised(planned(store), 1)
        store.begin(rotation, line(rotation))
        found = store.credential(NAME)
        assert found is not None
        assert found.versions[1].compromised_at == NOW

    def test_at_most_one_is_live(self, store: Store) -> None:
        """While one rotation lives, another is refused with the live one's name, and nothing of it is written."""
        begun(store)
        before = store.credential(NAME)
        other = replace(planned(store, id="r2"), started_by="operator")
        with pytest.raises(Refused, match="r1"):
            store.begin(other, line(other))
        assert store.rotation("r2") is None
        assert store.revision("r2") is None
        assert store.credential(NAME) == before
        assert len(store.history(NAME)) == 1

    def test_serials_are_taken_once(self, store: Store) -> None:
        """A rotation planned before another took its serial is refused."""
        store.register(NAME, version(), due_at=None)
        late = planned(store, id="late")
        ended(store, begun(store), Phase.COMPLETED)
        with pytest.raises(Refused, match="v3"):
            store.begin(late, line(late))
        assert store.live_of(NAME) is None

    def test_rotation_of_an_unknown_credential_is_refused(self, store: Store) -> None:
        """A rotation needs a registered credential."""
        store.register(NAME, version(), due_at=None)
        rotation = replace(planned(store), credential="unknown")
        with pytest.raises(Refused, match="unknown"):
            store.begin(rotation, line(rotation))
        assert list(store.live()) == []

    def test_ids_name_one_rotation(self, store: Store) -> None:
        """An id that a rotation had, of this credential or another, is refused for a new one."""
        ended(store, begun(store), Phase.COMPLETED)
        store.register("other", version(name="other"), due_at=None)
        for name in (NAME, "other"):
            again = planned(store, name=name)
            with pytest.raises(Refused, match="r1"):
                store.begin(again, line(again))

    def test_live_rotations_come_oldest_first(self, store: Store) -> None:
        """Live rotations stand in the order in which they began; ended ones are not among them."""
        for name in ("c", "a", "b"):
            begun(store, id=f"of-{name}", name=name)
        ended(store, begun(store, id="gone", name="d"), Phase.COMPLETED)
        assert [rotation.id for rotation in store.live()] == ["of-c", "of-a", "of-b"]

    # Committing

    def test_commit_moves_the_rotation(self, store: Store) -> None:
        """A commit returns the rotation one revision on, and that is what is found afterwards."""
        moved = replace(begun(store), phase=Phase.OVERLAP, entry=1)
        after = store.commit(Commit(rotation=moved, history=[line(moved)]))
        assert after == replace(moved, revision=1)
        assert store.rotation("r1") == store.live_of(NAME) == after
        assert store.revision("r1") == after.revision

    def test_everything_of_a_rotation_comes_back(self, store: Store) -> None:
        """Each field of a rotation survives, whatever it holds, its times equal to the microsecond."""
        full = everything(begun(store))
        after = store.commit(Commit(rotation=full))
        assert store.rotation("r1") == after == replace(full, revision=1)
        found = store.credential(NAME)
        assert found is not None
        assert dict(found.versions) == dict(full.versions)

    def test_stale_commit_writes_nothing(self, store: Store) -> None:
        """A commit on a rotation that has moved, or was never begun, leaves no trace of any kind."""
        rotation = begun(store)
        after = store.commit(Commit(rotation=rotation))
        known = store.credential(NAME)
        for stale in (rotation, replace(rotation, revision=7), replace(rotation, id="r2")):
            moved = replace(stale, phase=Phase.COMPLETED).with_version(1, VersionState.DESTROYED)
            with pytest.raises(StaleRevision, match=stale.id):
                store.commit(
                    Commit(
                        rotation=moved,
                        intents=[effect()],
                        messages=[message()],
                        notifiers=["hook"],
                        history=[line(moved)],
                        due_at=NOW,
                    )
                )
        assert store.live_of(NAME) == after
        assert store.credential(NAME) == known
        assert dict(store.journal("r1")) == {}
        assert list(store.outbox(NOW)) == []
        assert len(store.history(NAME)) == 1

    def test_ended_rotation_moves_no_more(self, store: Store) -> None:
        """Nothing is committed to a rotation that has ended."""
        after = ended(store, begun(store), Phase.COMPLETED)
        with pytest.raises(StaleRevision):
            store.commit(Commit(rotation=replace(after, phase=Phase.OVERLAP)))
        assert store.rotation("r1") == after

    def test_end_is_kept_while_nothing_lives(self, store: Store) -> None:
        """What an end still needs is committed with its intents, and moves no due date; not once another has begun."""
        after = ended(store, begun(store), Phase.COMPLETED, due_at=NOW)
        mending = effect()
        kept = store.commit(Commit(rotation=after, intents=[mending], check_at=NOW + SECOND))
        assert kept.revision == after.revision + 1
        assert store.rotation("r1") == kept
        assert list(store.journal("r1")) == [mending.id]
        known = store.credential(NAME)
        assert known is not None
        assert (known.due_at, known.check_at) == (NOW, NOW + SECOND)
        begun(store, id="r2")
        with pytest.raises(StaleRevision):
            store.commit(Commit(rotation=kept))

    def test_end_makes_room_for_the_next(self, store: Store) -> None:
        """At its end a rotation gives the credential its next due date and leaves; the next one can begin."""
        rotation = begun(store)
        ended(store, rotation, Phase.COMPLETED, due_at=NOW + SECOND)
        assert list(store.due(NOW + SECOND)) == [NAME]
        assert store.live_of(NAME) is None
        assert list(store.live()) == []
        latest = store.latest_of(NAME)
        assert latest is not None
        assert (latest.id, latest.phase) == ("r1", Phase.COMPLETED)
        following = begun(store, id="r2")
        assert following.incoming == 3
        assert store.latest_of(NAME) == following

    def test_rollbacks_in_a_row_are_counted(self, store: Store) -> None:
        """Each ROLLED_BACK counts one more, SUPERSEDED leaves the count, and COMPLETED starts it anew."""
        counts = []
        ends = (Phase.ROLLED_BACK, Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.COMPLETED, Phase.ROLLED_BACK)
        for number, end in enumerate(ends):
            ended(store, begun(store, id=f"r{number}"), end)
            found = store.credential(NAME)
            assert found is not None
            counts.append(found.rolled_back)
        assert counts == [1, 2, 2, 0, 1]

    # Threads

    def test_one_of_many_commits_wins(self, store: Store) -> None:
        """Of commits made at once on one revision exactly one is written, and the others are told so."""
        rotation = begun(store)
        for revision in range(5):
            together = Barrier(THREADS)

            def commit(number: int, rotation: Rotation = rotation, together: Barrier = together) -> Rotation | None:
                moved = replace(rotation, started_by=f"thread {number}")
                together.wait()
                try:
                    return store.commit(Commit(rotation=moved, history=[line(moved, f"thread {number}")]))
                except StaleRevision:
                    return None

            with ThreadPoolExecutor(THREADS) as threads:
                won = [after for after in threads.map(commit, range(THREADS)) if after is not None]
            assert len(won) == 1
            assert store.rotation("r1") == won[0]
            assert won[0].revision == revision + 1
            assert len(store.history(NAME)) == revision + 2
            rotation = won[0]

    def test_one_of_many_begins_wins(self, store: Store) -> None:
        """Of rotations of one credential begun at once exactly one lives."""
        store.register(NAME, version(), due_at=None)
        together = Barrier(THREADS)

        def start(number: int) -> bool:
            rotation = planned(store, id=f"r{number}")
            together.wait()
            try:
                store.begin(rotation, line(rotation))
            except Refused:
                return False
            return True

        with ThreadPoolExecutor(THREADS) as threads:
            assert sum(threads.map(start, range(THREADS))) == 1
        assert len(store.live()) == 1
        assert len(store.history(NAME)) == 1

    def test_threads_do_not_disturb_each_other(self, store: Store) -> None:
        """Rotations of different credentials move side by side, each by every one of its commits."""
        rotations = [begun(store, id=f"r{number}", name=f"c{number}") for number in range(THREADS)]

        def move(rotation: Rotation) -> Rotation:
            for _ in range(10):
                rotation = store.commit(Commit(rotation=rotation, history=[line(rotation)]))
                assert store.live_of(rotation.credential) == rotation
            return rotation

        with ThreadPoolExecutor(THREADS) as threads:
            assert [after.revision for after in threads.map(move, rotations)] == [10] * THREADS


def everything(rotation: Rotation) -> Rotation:
    """The same rotation with something in every field."""
    stamp = rotation.stamp(NOW + timedelta(days=400, microseconds=1))
    evidence: Evidence = {"clients": ["☃", ""], "e_value": float("inf"), "control": True, "found": None, "serial": 7}
    hold = Hold(reason=Reason.DEADLINE, since=NOW, latched=True, detail='"☃"\n\x1f', evidence=evidence, pages=3)
    return replace(
        rotation,
        policy=Policy(
            bake=timedelta(microseconds=1),
            deadlines={
                Phase.MONITOR: Deadline(after=timedelta(days=900), policy=OnDeadline.FORCE, owner="Zoë"),
                Phase.DESTROY: Deadline(after=SECOND),
            },
        ),
        versions={
            1: replace(version(), state=VersionState.DISABLED, compromised_at=NOW),
            2: version(2),
            11: Version(serial=11, state=VersionState.PENDING),
        },
        outgoing=(11, 1),
        adopting=Adopting(target="south", id="17"),
        supersedes="r0~2",
        phase=Phase.RETIRE,
        entry=4,
        entered=stamp,
        first_entered={Phase.RETIRE: stamp, Phase.INTRODUCE: rotation.entered},
        stopped_since=NOW,
        stopped_for=timedelta(seconds=-1, microseconds=1),
        promised=frozenset({("south", 2), ("north", 2), ("north", 11)}),
        served=frozenset({11, 1}),
        marks={1: Mark(at=NOW, by="ops", why="pasted into a ticket", grace=SECOND, cut_at=NOW + 900 * SECOND)},
        failed=frozenset({11}),
        promoted={"south": stamp, "north": stamp},
        up=frozenset({"gate-2", "gate-1"}),
        disabled_at={1: NOW, 11: NOW + SECOND},
        soak=stamp,
        revoked=frozenset({1}),
        proven=(11, 1),
        restoring=11,
        retreats=2,
        extensions=1,
        deadline_spent=True,
        forced={11: Force(by="Zoë", why="it is gone", final=True)},
        waived={1: "ops: nobody has it"},
        passed=frozenset({"pending-7", "key-2"}),
        reasserted={"south": "", "north": "9"},
        rollback_asked="ops: why not",
        abandoned="ops: start anew",
        accepted=Adopting(target="north", id="18"),
        pause=Pause(by="ops", until=NOW, why="lunch"),
        hold=hold,
        halted=replace(hold, reason=Reason.EFFECT_FAILED),
        reminded=9,
        cause=Reason.SOAKED,
    )
