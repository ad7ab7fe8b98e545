"""For how long a call that failed counts as one that may still land."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.domain.effects import EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.phases import Phase
from keyturn.ports.records import Commit, IntentState, Outcome
from keyturn.ports.store import Store
from keyturn.stores.memory import MemoryStore
from keyturn.stores.sql import SqlStore
from keyturn.testing.fakes import FakeClock
from keyturn.testing.store_samples import NAME, begun, effect, ended

WEEK = timedelta(days=7)
Open = Callable[[FakeClock], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[Store] = []

    def make(clock: FakeClock) -> Store:
        url = f"sqlite:///{tmp_path}/keyturn.db"
        opened.append(MemoryStore(now=clock.now) if request.param == "memory" else SqlStore.open(url, now=clock.now))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def test_what_failed_counts_for_a_week_and_what_is_open_for_ever(open_store: Open) -> None:
    """A week after its newest attempt a call with an outcome is over; one without is so only by its outcome."""
    clock = FakeClock()
    store = open_store(clock)
    rotation = store.commit(Commit(rotation=begun(store), intents=[effect(1), effect(2), effect(3)]))
    clock.advance(timedelta(days=1))
    rotation = store.commit(Commit(rotation=rotation, intents=[effect(2)]))
    failed = Outcome(state=IntentState.FAILED, at=clock.now(), failure=FailureKind.TRANSIENT)
    store.record(effect(1).id, 1, failed)
    store.record(effect(2).id, 2, Outcome(state=IntentState.SUCCEEDED, at=clock.now()))
    ended(store, rotation, Phase.ROLLED_BACK)

    def serials() -> set[int]:
        found = store.uncertain(NAME)
        assert {kind for kind, _ in found} <= {EffectKind.STAGE}
        return {serial for _, serial in found}

    clock.advance(WEEK - timedelta(days=1, microseconds=1))
    assert serials() == {1, 2, 3}
    clock.advance(timedelta(microseconds=1))
    assert serials() == {2, 3}
    clock.advance(timedelta(days=1))
    assert serials() == {3}
    clock.advance(timedelta(days=1000))
    assert serials() == {3}
    store.record(effect(3).id, 1, Outcome(state=IntentState.NOT_SENT, at=clock.now()))
    assert serials() == set()
