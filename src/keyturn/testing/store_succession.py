"""Clauses: rotations that take over from another, marks that are never taken away, and checks between rotations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import FailureKind, Refused, StaleRevision
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, IntentState, Outcome
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

MICROSECOND = timedelta(microseconds=1)


def heir(rotation: Rotation, *, id: str = "r1~2", incoming: int | None = None) -> Rotation:
    """A rotation that takes over: every version of the one before goes out."""
    new = rotation.incoming + 1 if incoming is None else incoming
    return replace(
        rotation,
        id=id,
        revision=0,
        phase=Phase.INTRODUCE,
        versions={**rotation.versions, new: Version(serial=new, state=VersionState.PENDING)},
        outgoing=tuple(rotation.versions),
        incoming=new,
        supersedes=rotation.id,
    )


def superseded(rotation: Rotation) -> Rotation:
    """The rotation at that end."""
    return replace(rotation, phase=Phase.SUPERSEDED)


class SuccessionClauses(Clauses):
    # Taking over

    def test_successor_lives_from_the_predecessors_end_on(self, store: Store) -> None:
        """One commit ends the one as SUPERSEDED and begins the other: serial taken, versions written, both trails told."""
        rotation = begun(store)
        end, after = superseded(rotation), heir(rotation)
        told = store.commit(
            Commit(
                rotation=end,
                intents=[effect()],
                messages=[message()],
                notifiers=["hook"],
                history=[line(end, "over")],
                due_at=NOW,
                check_at=NOW,
                successor=after,
                successor_entry=line(after, "taken over"),
            )
        )
        assert told == store.rotation("r1") == replace(end, revision=1)
        assert store.rotation("r1~2") == store.live_of(NAME) == store.latest_of(NAME) == after
        assert list(store.live()) == [after]
        found = store.credential(NAME)
        assert found is not None
        assert (found.next_serial, found.due_at, found.check_at) == (4, None, None)
        assert dict(found.versions) == dict(after.versions)
        assert [(entry.rotation, entry.detail) for entry in store.history(NAME)[1:]] == [
            ("r1", "over"),
            ("r1~2", "taken over"),
        ]
        assert list(store.journal("r1")) == [effect().id]
        assert dict(store.journal("r1~2")) == {}
        moved = store.commit(Commit(rotation=replace(after, phase=Phase.OVERLAP)))
        assert store.live_of(NAME) == moved

    def test_generations_follow_each_other(self, store: Store) -> None:
        """A successor is superseded like any other; the last one's end leaves nothing live."""
        rotation = begun(store)
        for number in range(2, 5):
            after = heir(rotation, id=f"r1~{number}")
            store.commit(Commit(rotation=superseded(rotation), successor=after, successor_entry=line(after)))
            rotation = after
        assert [one.id for one in store.live()] == ["r1~4"]
        ended(store, rotation, Phase.COMPLETED, due_at=NOW)
        assert list(store.live()) == []
        assert list(store.due(NOW)) == [NAME]
        found = store.credential(NAME)
        assert found is not None
        assert found.next_serial == 6

    def test_successor_that_cannot_begin_leaves_all_as_it_was(self, store: Store) -> None:
        """A serial that is not the next, an id that was used, another credential's rotation, or a predecessor that does
        not end as SUPERSEDED: refused, and the predecessor lives on as it was."""
        ended(store, begun(store, id="used"), Phase.COMPLETED)
        rotation = begun(store)
        begun(store, id="others", name="other")
        before = (store.credential(NAME), store.credential("other"), list(store.live()), list(store.history(NAME)))
        end, after = superseded(rotation), heir(rotation)
        wrong = [
            (end, heir(rotation, incoming=rotation.incoming + 2)),
            (end, heir(rotation, incoming=rotation.incoming)),
            (end, heir(rotation, id="used")),
            (end, heir(rotation, id="r1")),
            (end, replace(after, credential="other")),
            (replace(rotation, phase=Phase.COMPLETED), after),
            (rotation, after),
        ]
        for ending, following in wrong:
            ending = ending.with_version(2, VersionState.DESTROYED)
            commit = Commit(
                rotation=ending,
                intents=[effect()],
                messages=[message()],
                notifiers=["hook"],
                history=[line(ending)],
                successor=following,
                successor_entry=line(following),
            )
            with pytest.raises(Refused, match=r"r1|used|v\d"):
                store.commit(commit)
        assert before == (
            store.credential(NAME),
            store.credential("other"),
            list(store.live()),
            list(store.history(NAME)),
        )
        assert store.rotation("r1") == rotation
        assert dict(store.journal("r1")) == {}
        assert list(store.outbox(NOW)) == []

    def test_stale_end_begins_no_successor(self, store: Store) -> None:
        """Of two that supersede the same rotation one is told that it is late, and its successor never is."""
        rotation = begun(store)
        first, second = heir(rotation), heir(rotation, id="late")
        store.commit(Commit(rotation=superseded(rotation), successor=first, successor_entry=line(first)))
        with pytest.raises(StaleRevision):
            store.commit(Commit(rotation=superseded(rotation), successor=second, successor_entry=line(second)))
        assert list(store.live()) == [first]
        assert store.rotation("late") is None

    # Marks (promise P8)

    def test_mark_is_the_credentials_from_its_commit_on(self, store: Store) -> None:
        """A mark is remembered beyond its rotation, whatever becomes of the version."""
        rotation = store.commit(Commit(rotation=compromised(begun(store), 2)))
        ended(store, rotation.with_version(2, VersionState.DESTROYED), Phase.ROLLED_BACK)
        found = store.credential(NAME)
        assert found is not None
        assert found.versions[2] == Version(serial=2, state=VersionState.DESTROYED, compromised_at=NOW)

    def test_no_commit_takes_a_mark_away(self, store: Store) -> None:
        """A commit, a successor or a new rotation that knows nothing of a mark is refused, naming the version, and
        writes nothing; the mark stays."""
        rotation = begun(store)
        marked = store.commit(Commit(rotation=compromised(rotation, 1)))
        forgetful = replace(marked, versions=rotation.versions)
        known, trail = store.credential(NAME), list(store.history(NAME))
        end, after = superseded(marked), heir(forgetful)
        for commit in (
            Commit(rotation=forgetful, intents=[effect()], history=[line(forgetful)]),
            Commit(rotation=replace(forgetful, phase=Phase.COMPLETED), due_at=NOW),
            Commit(rotation=end, history=[line(end)], successor=after, successor_entry=line(after)),
        ):
            with pytest.raises(Refused, match=r"v1 .*compromised"):
                store.commit(commit)
        assert (store.live_of(NAME), store.credential(NAME), list(store.history(NAME))) == (marked, known, trail)
        assert dict(store.journal("r1")) == {}
        ended(store, marked, Phase.COMPLETED)
        following = planned(store, id="r2")
        following = replace(following, versions={**following.versions, 1: version()})
        with pytest.raises(Refused, match=r"v1 .*compromised"):
            store.begin(following, line(following))
        assert store.live_of(NAME) is None

    def test_mark_in_the_same_commit_binds_the_successor(self, store: Store) -> None:
        """What the end itself marks, its successor cannot begin without."""
        rotation = begun(store)
        end = superseded(compromised(rotation, 2))
        forgetful = heir(rotation)
        with pytest.raises(Refused, match=r"v2 .*compromised"):
            store.commit(Commit(rotation=end, successor=forgetful, successor_entry=line(forgetful)))
        assert list(store.live()) == [rotation]
        after = heir(compromised(rotation, 2))
        store.commit(Commit(rotation=end, successor=after, successor_entry=line(after)))
        assert store.live_of(NAME) == after

    # Checks between rotations

    def test_checks_are_due_where_nothing_rotates(self, store: Store) -> None:
        """Credentials at rest whose check is due are named, the longest due first; one that rotates is not, though its
        last check has set the next since."""
        for name, check_at in (("b", NOW), ("a", NOW), ("late", NOW - SECOND), ("soon", NOW + MICROSECOND)):
            store.register(name, version(name=name), due_at=None)
            store.set_check(name, check_at)
        store.register("never", version(name="never"), due_at=None)
        store.set_check("unknown", NOW)
        begun(store, name="rotating")
        store.set_check("rotating", NOW)
        assert list(store.to_check(NOW)) == ["late", "a", "b"]
        store.set_check("a", None)
        assert list(store.to_check(NOW)) == ["late", "b"]
        found = store.credential("late")
        assert found is not None
        assert found.check_at == NOW - SECOND

    def test_end_sets_the_first_check(self, store: Store) -> None:
        """A rotation's beginning takes the date of the check, its end gives the next; a commit in between gives none."""
        store.register(NAME, version(), due_at=None)
        store.set_check(NAME, NOW)
        rotation = begun(store)
        assert list(store.to_check(NOW)) == []
        rotation = store.commit(Commit(rotation=rotation, check_at=NOW))
        store.commit(Commit(rotation=replace(rotation, phase=Phase.COMPLETED), check_at=NOW + SECOND))
        assert list(store.to_check(NOW)) == []
        assert list(store.to_check(NOW + SECOND)) == [NAME]

    # Calls that may still land

    @pytest.mark.parametrize(
        ("attempts", "state", "failure", "doubtful"),
        [
            (1, None, None, True),
            (2, None, None, True),
            (1, IntentState.OPEN, None, True),
            (1, IntentState.SUCCEEDED, None, False),
            (2, IntentState.SUCCEEDED, None, True),
            (1, IntentState.FAILED, FailureKind.TRANSIENT, True),
            (1, IntentState.FAILED, FailureKind.CONFLICT, False),
            (2, IntentState.FAILED, FailureKind.CONFLICT, True),
            (1, IntentState.NOT_SENT, None, False),
            (2, IntentState.NOT_SENT, None, True),
        ],
    )
    def test_what_may_still_land_is_told_once_the_rotation_ended(
        self,
        store: Store,
        attempts: int,
        state: IntentState | None,
        failure: FailureKind | None,
        doubtful: bool,
    ) -> None:
        """A call counts as uncertain when no outcome is known, when it failed transiently, or when it took more than one
        attempt; while its rotation lives it is that rotation's own affair."""
        rotation = begun(store)
        for _ in range(attempts):
            rotation = store.commit(Commit(rotation=rotation, intents=[effect()]))
        if state is not None:
            store.record(effect().id, attempts, Outcome(state=state, at=NOW, failure=failure))
        assert store.uncertain(NAME) == frozenset()
        ended(store, rotation, Phase.ROLLED_BACK)
        assert store.uncertain(NAME) == (frozenset({(EffectKind.STAGE, 1)}) if doubtful else frozenset())

    def test_uncertain_is_of_every_ended_rotation_of_the_credential(self, store: Store) -> None:
        """Several rotations back, through the next ones, and never of another credential."""
        for number in (1, 2):
            rotation = begun(store, id=f"r{number}")
            rotation = store.commit(Commit(rotation=rotation, intents=[effect(number, rotation=f"r{number}")]))
            ended(store, rotation, Phase.SUPERSEDED)
        store.commit(Commit(rotation=begun(store, id="r3"), intents=[effect(3, rotation="r3")]))
        other = begun(store, id="o1", name="other")
        ended(store, store.commit(Commit(rotation=other, intents=[effect(4, rotation="o1")])), Phase.COMPLETED)
        assert store.uncertain(NAME) == {(EffectKind.STAGE, 1), (EffectKind.STAGE, 2)}
        assert store.uncertain("unknown") == frozenset()

    def test_outcome_that_comes_after_the_end_is_taken(self, store: Store) -> None:
        """A mint whose answer comes when another rotation has taken over is in the journal with what it made, and
        uncertain no longer."""
        rotation = begun(store)
        mint = replace(effect(2), id="r1/0-introduce/mint/v2", kind=EffectKind.MINT)
        rotation = store.commit(Commit(rotation=rotation, intents=[mint]))
        after = heir(rotation)
        store.commit(Commit(rotation=superseded(rotation), successor=after, successor_entry=line(after)))
        assert store.uncertain(NAME) == {(EffectKind.MINT, 2)}
        made = Outcome(state=IntentState.SUCCEEDED, at=NOW, key_id="fresh", fingerprint="f" * 64)
        store.record(mint.id, 1, made)
        assert store.journal("r1")[mint.id].outcome == made
        assert store.uncertain(NAME) == frozenset()
        assert store.live_of(NAME) == after
