"""The detector goes on from memory where the store holds what this process saved, and from the store where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from tests.domain.findings import authority_ill
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain.errors import Transient
from keyturn.domain.phases import Phase
from keyturn.stores.memory import MemoryStore

TICKS = 12
PATIENT = replace(
    QUICK, silence_floor=timedelta(hours=1), silence_few=timedelta(hours=1), silence_unseen=timedelta(hours=1)
)
"""The old version stays accepted meanwhile."""
FOUND = authority_ill()


class FullDisk(MemoryStore):
    """A store that does not save the detector while its disk is full."""

    full = False

    def save_detector(self, rotation: str, state: str) -> None:
        if self.full:
            raise Transient("the store's disk is full")
        super().save_detector(rotation, state)


def watched(
    meanwhile: Callable[[Rig, int], None] = lambda _rig, _tick: None,
    store: Callable[[Callable[[], datetime]], MemoryStore] = lambda now: MemoryStore(now=now),
) -> str:
    """What is saved of the detector some ticks after every target was promoted; something may happen before each tick."""
    rig = Rig(open_store=store, policy=PATIENT)
    for _ in range(20):
        rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.MONITOR)
    for tick in range(TICKS):
        meanwhile(rig, tick)
        rig.second()
    saved = rig.store.detector(rotation.id)
    assert saved is not None
    return saved.replace(rotation.id, "")


def test_detector_in_memory_is_the_one_that_is_read_back() -> None:
    """A process that lives and one that is started anew before every tick save the same."""
    assert watched() == watched(lambda rig, _: rig.restart())


def test_word_of_the_store_counts_before_what_is_remembered() -> None:
    """A process that remembers a detector looks at what another has saved since, and takes its finding."""
    rig = Rig(policy=PATIENT)
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.MONITOR)
    for _ in range(TICKS):
        rig.second()
    assert rig.runtime.look(NAME).usage.finding is None
    document = json.loads(rig.store.detector(rotation.id) or "")
    document["position"] = (rig.clock.now() + timedelta(hours=1)).isoformat()
    document["finding"] = asdict(FOUND)
    rig.store.save_detector(rotation.id, json.dumps(document))
    assert rig.runtime.look(NAME).usage.finding == FOUND


def test_detector_that_could_not_be_saved_counts_nothing_twice() -> None:
    """After a tick whose detector met a full disk the buckets are read again, from where the store stands."""

    def full_once(rig: Rig, tick: int) -> None:
        assert isinstance(rig.store, FullDisk)
        rig.store.full = tick == TICKS // 2

    assert watched(full_once, lambda now: FullDisk(now=now)) == watched()
