"""Clauses: the journal of outside calls, and the trail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, Intent, IntentState, Outcome
from keyturn.ports.store import Store
from keyturn.stores.chain import first_broken
from keyturn.testing.store_samples import NAME, NOW, SECOND, Clauses, begun, effect, ended, line

SUCCEEDED = Outcome(state=IntentState.SUCCEEDED, at=NOW, key_id="fresh", fingerprint="f" * 64)
FAILED = Outcome(
    state=IntentState.FAILED,
    at=NOW,
    failure=FailureKind.TRANSIENT,
    message="no route to host",
    retry_at=NOW + SECOND,
)


class JournalClauses(Clauses):
    # Intents

    def test_intent_is_open_until_its_outcome(self, store: Store) -> None:
        """An intent is in the journal as soon as its decision is, open, and closed by its outcome."""
        store.commit(Commit(rotation=begun(store), intents=[effect(1), effect(2)]))
        journal = store.journal("r1")
        assert list(journal) == [effect(1).id, effect(2).id]
        first = journal[effect(1).id]
        assert (first.effect, first.rotation, first.credential) == (effect(1), "r1", NAME)
        assert (first.attempts, first.outcome) == (1, None)
        assert first.opened_at.utcoffset() is not None
        store.record(effect(1).id, 1, SUCCEEDED)
        assert store.journal("r1")[effect(1).id] == replace(first, outcome=SUCCEEDED)
        assert [intent.effect for intent in store.open_intents(NAME)] == [effect(2)]

    @pytest.mark.parametrize("state", [state for state in IntentState if state is not IntentState.OPEN])
    def test_any_outcome_closes_an_intent(self, store: Store, state: IntentState) -> None:
        """However an attempt went, once it is recorded the intent is no longer open."""
        store.commit(Commit(rotation=begun(store), intents=[effect()]))
        outcome = replace(FAILED, state=state)
        store.record(effect().id, 1, outcome)
        assert store.journal("r1")[effect().id].outcome == outcome
        assert list(store.open_intents(NAME)) == []

    def test_mints_of_every_rotation_are_remembered(self, store: Store) -> None:
        """What was ever set out to be minted can be asked for, of ended rotations and of every credential, with what came
        of it; other calls are left out."""
        mint = replace(effect(), id="r1/0-introduce/mint/v2/north", kind=EffectKind.MINT)
        other = replace(mint, id="r2/0-introduce/mint/v2/north")
        first = store.commit(Commit(rotation=begun(store), intents=[mint, effect(2)]))
        store.record(mint.id, 1, SUCCEEDED)
        ended(store, first, Phase.COMPLETED)
        store.commit(Commit(rotation=begun(store, id="r2", name="other"), intents=[other]))
        made = {intent.effect.id: intent for intent in store.mints()}
        assert set(made) == {mint.id, other.id}
        assert (made[mint.id].outcome, made[mint.id].credential) == (SUCCEEDED, NAME)
        assert (made[other.id].outcome, made[other.id].credential) == (None, "other")

    def test_known_effect_is_tried_again(self, store: Store) -> None:
        """A known effect's intent opens again with one more attempt, and as the effect is now."""
        rotation = store.commit(Commit(rotation=begun(store), intents=[effect()]))
        store.record(effect().id, 1, FAILED)
        changed = replace(effect(), expected="8", verifiers=("gate-2",))
        store.commit(Commit(rotation=rotation, intents=[changed]))
        intent = store.journal("r1")[effect().id]
        assert (intent.attempts, intent.outcome, intent.effect) == (2, None, changed)
        assert list(store.open_intents(NAME)) == [intent]

    def test_outcome_of_an_older_attempt_is_ignored(self, store: Store) -> None:
        """A late outcome says nothing about the attempt that is under way."""
        rotation = store.commit(Commit(rotation=begun(store), intents=[effect()]))
        store.commit(Commit(rotation=rotation, intents=[effect()]))
        store.record(effect().id, 1, SUCCEEDED)
        assert store.journal("r1")[effect().id].outcome is None
        store.record(effect().id, 2, FAILED)
        store.record(effect().id, 1, SUCCEEDED)
        assert store.journal("r1")[effect().id].outcome == FAILED

    def test_outcome_of_an_unknown_effect_is_ignored(self, store: Store) -> None:
        """There is nothing to record where no intent is."""
        store.record("r9/0-introduce/mint/v2", 1, SUCCEEDED)
        assert dict(store.journal("r9")) == {}

    def test_open_intents_outlive_their_rotation(self, store: Store) -> None:
        """An intent whose outcome is unknown stays open when its rotation ends, and through the next; its outcome is
        still taken then."""
        rotation = store.commit(Commit(rotation=begun(store), intents=[effect(1)]))
        ended(store, rotation, Phase.ROLLED_BACK)
        store.commit(Commit(rotation=begun(store, id="r2"), intents=[effect(3, rotation="r2")]))
        other = begun(store, id="r3", name="other")
        store.commit(Commit(rotation=other, intents=[effect(2, rotation="r3")]))
        assert sorted(ids(store.open_intents(NAME))) == [effect(1).id, effect(3, rotation="r2").id]
        assert list(store.journal("r2")) == [effect(3, rotation="r2").id]
        store.record(effect(1).id, 1, SUCCEEDED)
        assert ids(store.open_intents(NAME)) == [effect(3, rotation="r2").id]

    # The trail

    def test_trail_comes_back_as_written(self, store: Store) -> None:
        """Lines come back in order with their evidence, whatever it holds."""
        rotation = begun(store)
        written = [
            line(rotation, "numbers", whole=-(2**40), part=0.1, huge=float("inf"), yes=True),
            line(rotation, 'text "☃"\n', names=["b", "a"], none=None, empty=[], text=""),
        ]
        store.commit(Commit(rotation=rotation, history=written))
        found = store.history(NAME)[1:]
        assert [replace(entry, digest="") for entry in found] == written
        assert all(len(entry.digest) == 64 for entry in found)

    def test_trail_is_a_chain(self, store: Store) -> None:
        """Digests follow from one line to the next over several commits; each credential has a chain of its own."""
        rotation = begun(store)
        for number in range(4):
            begun(store, id=f"o{number}", name=f"other {number}")
            rotation = store.commit(Commit(rotation=rotation, history=[line(rotation, "a"), line(rotation, "b")]))
        entries = store.history(NAME)
        assert len(entries) == 9
        assert first_broken(entries) is None
        assert len({entry.digest for entry in entries}) == 9

    def test_changed_trail_is_found(self, store: Store) -> None:
        """A line that was changed, taken out or put elsewhere breaks the chain at its place."""
        rotation = begun(store)
        store.commit(Commit(rotation=rotation, history=[line(rotation, str(number)) for number in range(5)]))
        entries = list(store.history(NAME))
        for index, entry in enumerate(entries):
            assert first_broken([*entries[:index], replace(entry, by="nobody"), *entries[index + 1 :]]) == index
        for changed in (replace(entries[2], at=NOW + SECOND), replace(entries[2], evidence={"new": 1})):
            assert first_broken([*entries[:2], changed, *entries[3:]]) == 2
        assert first_broken([*entries[:2], *entries[3:]]) == 2
        assert first_broken([entries[1], entries[0], *entries[2:]]) == 0

    def test_newest_lines_of_a_long_trail(self, store: Store) -> None:
        """A limit gives the newest lines, oldest first, and they verify behind the line before them."""
        rotation = begun(store)
        store.commit(Commit(rotation=rotation, history=[line(rotation, str(number)) for number in range(9)]))
        entries = store.history(NAME)
        newest = store.history(NAME, limit=3)
        assert [entry.detail for entry in newest] == ["6", "7", "8"]
        assert first_broken(newest, previous=entries[-4].digest) is None


def ids(intents: Iterable[Intent]) -> list[str]:
    """The effect ids of intents."""
    return [intent.effect.id for intent in intents]
