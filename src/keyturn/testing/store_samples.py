"""Values to put into a store, and the fixtures that all its clauses start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.domain.effects import Effect, EffectKind, Message
from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.succession import begin
from keyturn.ports.records import Commit, HistoryEntry, Told, UsageRow
from keyturn.ports.store import Store
from keyturn.testing.fakes.clock import FakeClock

NOW = datetime(2030, 3, 31, 0, 59, 59, 999_999, tzinfo=UTC)
"""To the microsecond, and a second before European clocks change."""
SECOND = timedelta(seconds=1)
BUCKET = timedelta(seconds=10)
NAME = "payments/api-key"


def version(serial: int = 1, *, name: str = NAME, state: VersionState = VersionState.CURRENT) -> Version:
    """A version that was minted."""
    return Version(serial=serial, state=state, key_id=f"{name}-{serial}", fingerprint=f"{serial:064x}")


def line(rotation: Rotation, detail: str = "", **evidence: str | int | float | bool | list[str] | None) -> HistoryEntry:
    """A line for the trail."""
    return HistoryEntry(
        at=NOW,
        credential=rotation.credential,
        rotation=rotation.id,
        phase=rotation.phase,
        kind="transition",
        reason="started",
        detail=detail,
        evidence=evidence,
    )


def planned(store: Store, *, id: str = "r1", name: str = NAME) -> Rotation:
    """A rotation of a registered credential, not begun yet."""
    credential = store.credential(name)
    assert credential is not None
    return begin(
        id=id,
        credential=name,
        policy=Policy(),
        targets=("north", "south"),
        current=credential.versions[credential.next_serial - 1],
        incoming=credential.next_serial,
        now=NOW,
        by="schedule",
    )


def begun(store: Store, *, id: str = "r1", name: str = NAME) -> Rotation:
    """A live rotation of a credential that is registered for it if need be."""
    store.register(name, version(name=name), due_at=None)
    rotation = planned(store, id=id, name=name)
    store.begin(rotation, line(rotation, "begun"))
    return rotation


def compromised(rotation: Rotation, serial: int) -> Rotation:
    """The same rotation with one version marked."""
    marked = replace(rotation.versions[serial], compromised_at=NOW)
    return replace(rotation, versions={**rotation.versions, serial: marked})


def ended(store: Store, rotation: Rotation, phase: Phase, *, due_at: datetime | None = None) -> Rotation:
    """Bring a rotation to an end."""
    return store.commit(Commit(rotation=replace(rotation, phase=phase), due_at=due_at))


def effect(number: int = 1, *, rotation: str = "r1") -> Effect:
    """An outside call."""
    return Effect(
        id=f"{rotation}/0-introduce/stage/v{number}",
        kind=EffectKind.STAGE,
        serial=number,
        target="north",
        expected="7",
        verifiers=("gate-1", "gate-2"),
    )


def message(id: str = "m1") -> Message:
    """News for people."""
    return Message(id=id, topic="rotation.phase", text="it moves", details=(("phase", "overlap"), ("☃", "")))


def bucket(
    number: int,
    client: str = "web",
    serial: int = 1,
    *,
    successes: int = 0,
    failures: int = 0,
    unauthenticated: int = 0,
    credential: str = NAME,
    length: timedelta = BUCKET,
) -> UsageRow:
    """One client's presentations in the bucket of this number from NOW on."""
    return UsageRow(
        credential=credential,
        serial=serial,
        client=client,
        start=NOW + number * BUCKET,
        length=length,
        successes=successes,
        failures=failures,
        unauthenticated=unauthenticated,
    )


def at(number: int) -> datetime:
    """The start of the bucket of this number."""
    return NOW + number * BUCKET


def add(
    store: Store,
    *rows: UsageRow,
    source: str = "log",
    watermark: datetime | None = None,
    cursor: str | None = None,
    batch: str | None = None,
    digest: str = "",
    complete_from: datetime | None = None,
) -> bool:
    """Add rows with what is said beside them."""
    told = Told(
        source=source,
        rows=rows,
        watermark=watermark,
        cursor=cursor,
        batch=batch,
        digest=digest,
        complete_from=complete_from,
    )
    (answer,) = store.add_usage([told], received_at=NOW)
    if isinstance(answer, Refused):
        raise answer
    return answer


def everything(store: Store, credential: str = NAME) -> list[UsageRow]:
    """Every bucket that is known of a credential."""
    return list(store.usage(credential, start=at(-100_000), end=at(100_000)))


class Clauses:
    """Clauses need a store."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The store's clock, which stands still until told to go on."""
        return FakeClock(NOW)

    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        """An empty store."""
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def other(self, store: Store) -> Store:
        """The same store as another process has it, where several can; else as another thread has it."""
        return store
