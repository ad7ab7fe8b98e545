"""The detector goes on from memory where the store holds what this process saved, and from the store where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from tests.domain.findings import authority_ill
from tests.unit.runtime.rig import NAME, QUICK, Rig

from keyturn.domain.errors import Transient
from keyturn.domain.model import Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.domain.succession import begin
from keyturn.ports.records import Told
from keyturn.runtime.evidence import Silences
from keyturn.stores.memory import MemoryStore

TICKS = 12
PATIENT = replace(
    QUICK, silence_floor=timedelta(hours=1), silence_few=timedelta(hours=1), silence_unseen=timedelta(hours=1)
)
"""The old version stays accepted meanwhile."""
FOUND = authority_ill()
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROTATION = begin(
    id="r1",
    credential=NAME,
    policy=PATIENT,
    targets=("t0",),
    current=Version(serial=1, state=VersionState.CURRENT),
    incoming=2,
    now=NOW,
    by="ada",
)


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
    before: Callable[[Rig], None] = lambda _rig: None,
) -> str:
    """What is saved of the detector some ticks after every target was promoted; something may happen before each tick."""
    rig = Rig(open_store=store, policy=PATIENT)
    for _ in range(20):
        rig.second()
    before(rig)
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


def test_source_of_other_credentials_shortens_no_baseline() -> None:
    """What is normal is learnt from all that this credential's own sources know, however young another source is."""

    def another_begins(rig: Rig) -> None:
        told = Told(source="elsewhere", rows=[], watermark=rig.clock.now())
        rig.store.add_usage([told], received_at=rig.clock.now())

    assert watched(before=another_begins) == watched()


def test_clients_that_come_one_by_one_are_remembered_once_each() -> None:
    """Whoever makes up names makes no more to be remembered than names: the silence of all is judged anew for each."""
    store = MemoryStore(now=lambda: NOW)
    silences = Silences(store=store)
    for number in range(1, 30):
        for client in range(number):
            assert silences.of(ROTATION, f"client-{client}", number).required == PATIENT.silence_unseen
    assert len(silences.judged) == 29
