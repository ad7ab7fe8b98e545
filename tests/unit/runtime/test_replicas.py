"""Several replicas on one store: one works on each thing at a time, and a late one does no harm that stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from tests.unit.runtime.replicas import Fleet, Replica
from tests.unit.runtime.rig import NAME, SECOND, Rig

from keyturn.domain import commands
from keyturn.domain.errors import FailureKind
from keyturn.domain.observations import Entry, SourceKind
from keyturn.domain.phases import Phase
from keyturn.domain.schedule import Schedule
from keyturn.ports.records import IntentState
from keyturn.ports.usage import UsageBatch, UsageReport
from keyturn.runtime.claims import LEASE
from keyturn.testing.store_samples import message


def fleet(rig: Rig | None = None, *, warm: int = 10) -> Fleet:
    """Two replicas that have seen some traffic; `a` was first, and holds what there is."""
    made = Fleet(rig or Rig(), "a", "b")
    made.up(*reversed(made.replicas))  # `a` ticks before `b`
    for _ in range(warm):
        made.rig.second()
    return made


def begun(made: Fleet, phase: Phase) -> None:
    """A rotation under way that `a` works on, and has brought this far."""
    a, b = made.replicas
    made.up(a)
    a.runtime.start(NAME, by="ada", why="test")
    a.runtime.tick()
    made.rig.until_phase(phase)
    made.up(b, a)


def roll_back(made: Fleet) -> None:
    b = made.replicas[1]
    b.runtime.command(NAME, partial(commands.roll_back, by="ada", why="test"), by="ada", what="rollback")


def old_version_is_back(made: Fleet) -> None:
    """Readers get the first version, every verifier accepts it, and the new one nowhere."""
    rig = made.rig
    assert all(rig.backend.place(path).readers_get() == value_of(rig, 1) for path in rig.targets)
    for node in rig.authority.nodes.values():
        assert node.entries()[rig.first_key_id] is Entry.ACTIVE
        assert [entry for key, entry in node.entries().items() if key != rig.first_key_id] in ([], [Entry.REVOKED])


def value_of(rig: Rig, serial: int) -> str:
    (value,) = {client.value for client in rig.clients}
    latest = rig.store.latest_of(NAME)
    assert latest is not None
    assert value.split("_")[1] == latest.versions[serial].key_id
    return value


def test_one_replica_works_on_a_rotation() -> None:
    """While the replica that claimed a rotation lives, the others send nothing of it; each effect is sent once."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.INTRODUCE)
    rotation = made.rig.until_phase(Phase.COMPLETED)
    assert made.rig.refused == {}
    assert {intent.attempts for intent in made.rig.store.journal(rotation.id).values()} == {1}
    assert set(b.sent) <= {"deliver"}
    assert {"stage", "install", "promote", "disable", "revoke", "remove"} <= set(a.sent)


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY])
def test_another_replica_takes_over_from_one_that_died(phase: Phase) -> None:
    """Once a dead replica's lease has run out another goes on, and not before; nobody is refused."""
    made = fleet()
    _, b = made.replicas
    begun(made, phase)
    made.up(b)
    for _ in range(LEASE // SECOND - 1):
        made.rig.second()
    assert b.sent == []
    made.rig.until_phase(Phase.COMPLETED)
    assert made.rig.refused == {}


def test_a_replica_that_goes_leaves_its_work_at_once() -> None:
    """A replica that is stopped in an orderly way keeps nobody waiting."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.OVERLAP)
    a.runtime.resign()
    made.up(b)
    made.rig.second()
    made.rig.second()
    assert b.sent
    made.rig.until_phase(Phase.COMPLETED, seconds=int(LEASE / SECOND))


def test_what_was_seen_before_another_took_over_decides_nothing() -> None:
    """A replica that stood still while it looked, and was taken over, commits nothing and sends nothing."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.MONITOR)
    made.up(a)
    a.stop_at("uses", lambda: made.outlast(b))
    before = len(a.sent)
    made.rig.second()
    assert a.stopped
    assert a.sent[before:] == []
    made.up(b)
    made.rig.until_phase(Phase.COMPLETED)
    assert made.rig.refused == {}


def test_what_was_committed_before_another_took_over_is_not_sent() -> None:
    """A replica that stands still between the commit and the last look closes its intents as not sent, though nothing of
    the rotation has moved."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.MONITOR)
    made.up(a)
    b.runtime.resign()
    taken: list[object] = []

    def meanwhile() -> None:
        made.rig.clock.advance(LEASE)
        taken.extend(made.rig.store.claim([f"credential/{NAME}"], "b", ttl=LEASE))

    before = len(a.sent)
    while not taken:
        # The claim is looked at once the world has been, and then before the call: the intents are on record by then.
        a.stop_at("holds", lambda: a.stop_at("holds", meanwhile))
        made.rig.second()
    assert [call for call in a.sent[before:] if call != "deliver"] == []
    rotation = made.rig.store.live_of(NAME)
    assert rotation is not None
    outcomes = [intent.outcome for intent in made.rig.store.journal(rotation.id).values()]
    unsent = [one for one in outcomes if one is not None and one.state is IntentState.NOT_SENT]
    assert unsent
    assert all("another replica" in one.message for one in unsent)


@pytest.mark.parametrize("asleep", [timedelta(0), timedelta(hours=3)], ids=["at once", "hours later"])
@pytest.mark.parametrize(("phase", "call"), [(Phase.INTRODUCE, "promote"), (Phase.MONITOR, "disable")])
def test_a_late_call_is_found_and_undone(phase: Phase, call: str, asleep: timedelta) -> None:
    """A replica stops between its last look and the call, another takes over and rolls back; the call lands when all is
    over, if hours later, and yet the old version is what everybody gets and is accepted with (promise P7)."""
    made = fleet()
    a, b = made.replicas
    begun(made, phase)
    made.up(a)

    def meanwhile() -> None:
        roll_back(made)
        made.outlast(b)
        made.rig.until_phase(Phase.ROLLED_BACK)
        made.rig.second()
        made.rig.clock.advance(asleep)
        made.rig.second()

    a.stop_at(call, meanwhile)
    made.rig.until(lambda _: a.stopped)
    made.up(b)
    for _ in range(20):
        made.rig.second()
    old_version_is_back(made)


def test_a_late_revoke_of_the_new_version_does_no_harm() -> None:
    """The new version's revoke, sent late after another replica has done it, changes nothing."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.MONITOR)
    roll_back(made)
    made.up(a)

    def meanwhile() -> None:
        made.outlast(b)
        made.rig.until_phase(Phase.ROLLED_BACK)

    a.stop_at("revoke", meanwhile)
    made.rig.until(lambda _: a.stopped)
    made.up(b)
    for _ in range(5):
        made.rig.second()
    old_version_is_back(made)
    assert made.rig.refused == {}


def test_a_late_revoke_of_the_old_version_does_no_harm() -> None:
    """The old version's revoke, sent late after the rotation has completed, changes nothing."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.RETIRE)
    made.up(a)

    def meanwhile() -> None:
        made.outlast(b)
        made.rig.until_phase(Phase.COMPLETED)

    a.stop_at("revoke", meanwhile)
    made.rig.until(lambda _: a.stopped)
    made.up(b)
    for _ in range(5):
        made.rig.second()
    assert made.rig.refused == {}
    assert [node.entries()[made.rig.first_key_id] for node in made.rig.authority.nodes.values()] == [Entry.REVOKED] * 2


@pytest.mark.parametrize("end", [Phase.COMPLETED, Phase.ROLLED_BACK])
def test_a_late_removal_leaves_the_next_rotation_its_way_back(end: Phase) -> None:
    """A removal that another replica has made long since, and that is sent when the next rotation has kept a copy of the
    very version: the copy stays, and that rotation can still be rolled back (promise P3)."""
    made = fleet()
    rig = made.rig
    a, b = made.replicas
    begun(made, Phase.MONITOR)
    if end is Phase.ROLLED_BACK:
        roll_back(made)
    made.up(a)

    def meanwhile() -> None:
        made.outlast(b)
        old = rig.until_phase(end).survivor
        before = rig.backend.place("t0").readers_get()
        b.runtime.start(NAME, by="ada", why="again")
        assert rig.until_phase(Phase.MONITOR).outgoing == (old,)
        served.append(before)

    served: list[str | None] = []
    # The first removal is of v1, the next of v2: one of them is the version that stays.
    a.stop_at("remove", meanwhile if end is Phase.ROLLED_BACK else lambda: a.stop_at("remove", meanwhile))
    rig.until(lambda _: bool(served), seconds=300)
    made.up(b)
    rig.second()
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    assert rotation.hold is None
    roll_back(made)
    rig.until_phase(Phase.ROLLED_BACK)
    assert rig.backend.place("t0").readers_get() == served[0]
    assert rig.backend.place("t0").copies() == {}


def test_a_table_is_changed_by_one_replica_at_a_time() -> None:
    """While another replica holds the lease of the key table, nothing is sent there; afterwards it is."""
    made = fleet()
    a, _ = made.replicas
    begun(made, Phase.INTRODUCE)
    made.up(a)
    (lease,) = made.rig.store.claim(["authority/fake-key-table"], "b", ttl=timedelta(days=1))
    for _ in range(10):
        made.rig.second()
    assert "install" not in a.sent
    rotation = made.rig.store.live_of(NAME)
    assert rotation is not None
    (install,) = [one for one in made.rig.store.journal(rotation.id).values() if one.effect.kind == "install"]
    assert install.outcome is not None
    assert install.outcome.state is IntentState.NOT_SENT
    assert "fake-key-table" in install.outcome.message
    made.rig.store.release(lease)
    made.rig.until_phase(Phase.COMPLETED)
    assert made.rig.refused == {}


def test_a_table_whose_lease_was_lost_is_not_changed() -> None:
    """A replica that stands still while it holds the table's lease, until another has it, changes nothing there."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.INTRODUCE)
    made.up(a)
    taken: list[object] = []

    def meanwhile() -> None:
        made.rig.clock.advance(LEASE)
        taken.extend(made.rig.store.claim(["authority/fake-key-table"], "b", ttl=LEASE))

    # The value to install is fetched under the lease.
    made.rig.until(lambda _: "stage" in a.sent)
    a.stop_at("bindings", lambda: a.stop_at("holds", lambda: a.stop_at("holds", meanwhile)))
    for _ in range(3):
        made.rig.second()
    assert taken
    assert "install" not in a.sent
    made.up(b, a)
    made.rig.until_phase(Phase.COMPLETED, seconds=300)


def test_a_due_rotation_is_started_once() -> None:
    """Two replicas find the same credential due; one of them stands still before it begins, until the other's rotation is
    over: there is one rotation, not two."""
    made = fleet(Rig(schedule=Schedule(every=timedelta(days=1))), warm=1)
    a, b = made.replicas
    credential = made.rig.store.credential(NAME)
    assert credential is not None
    assert credential.due_at is not None
    made.rig.clock.advance(credential.due_at - made.rig.clock.now())

    def meanwhile() -> None:
        made.outlast(b)
        made.rig.until_phase(Phase.COMPLETED)

    a.stop_at("begin", meanwhile)
    a.runtime.tick()
    assert a.stopped
    made.up(a, b)
    for _ in range(5):
        made.rig.second()
    started = [entry for entry in made.rig.store.history(NAME) if entry.kind == "started"]
    assert [entry.by for entry in started] == ["schedule"]
    assert made.rig.refused == {}


def test_a_message_is_delivered_by_one_replica() -> None:
    """While one replica delivers, another that ticks delivers nothing; each message arrives once."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.INTRODUCE)
    made.up(a)
    for _ in range(10):
        a.stop_at("deliver", b.runtime.tick)
        made.rig.second()
    made.rig.until_phase(Phase.COMPLETED)
    assert "deliver" in a.sent
    assert "deliver" not in b.sent
    topics = [(payload["topic"], payload["text"]) for payload in made.rig.notifier.payloads]
    assert len(set(topics)) == len(topics)


class Log:
    """A polled source of numbered lines; the cursor is how many were read."""

    kind = SourceKind.AUTHENTICATION
    sees_failures = True
    resolution = SECOND
    lag = SECOND

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.lines: list[UsageReport] = []

    def write(self) -> None:
        self.lines.append(
            UsageReport(
                key_id=self.rig.first_key_id,
                client="web",
                start=self.rig.clock.now(),
                successes=1,
                failures=0,
                matched=True,
                identified=True,
            )
        )

    def poll(self, cursor: str | None, *, now: object) -> UsageBatch:
        return UsageBatch(reports=self.lines[int(cursor or 0) :], watermark=None, cursor=str(len(self.lines)))

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing is held."""


def polled() -> tuple[Rig, Log]:
    rig = Rig()
    log = Log(rig)
    source = replace(rig.registry.sources["gateway"], poll=log)
    rig.registry = replace(rig.registry, sources={"gateway": source})
    rig.reporting = False
    return rig, log


def test_a_source_is_polled_by_one_replica_at_a_time() -> None:
    """What a source tells counts once, however many replicas tick, and whoever dies."""
    rig, log = polled()
    made = fleet(rig, warm=1)
    _, b = made.replicas
    for _ in range(5):
        log.write()
        rig.second()
    made.outlast(b)
    log.write()
    rig.second()
    rows = rig.store.usage(NAME, start=rig.clock.now() - timedelta(days=1), end=rig.clock.now())
    assert sum(row.successes for row in rows) == 6


def test_a_poll_that_was_overtaken_counts_nothing() -> None:
    """A replica that stands still between poll and record, while another polls from the same cursor, adds nothing."""
    rig, log = polled()
    made = fleet(rig, warm=1)
    a, b = made.replicas
    made.up(a)
    log.write()
    a.stop_at("add_usage", lambda: made.outlast(b))
    rig.second()
    assert a.stopped
    made.up(b)
    log.write()
    rig.second()
    rows = rig.store.usage(NAME, start=rig.clock.now() - timedelta(days=1), end=rig.clock.now())
    assert sum(row.successes for row in rows) == 2
    assert rig.store.sources()["gateway"].cursor == "2"


def test_a_blind_source_is_told_of_once_by_however_many_replicas() -> None:
    """A source that fell silent is named by one replica; another that takes over, new as it is, neither says it again nor
    that it sees, until it does."""
    made = fleet()
    rig = made.rig
    rig.reporting = False

    def told() -> list[object]:
        return [payload["topic"] for payload in rig.notifier.payloads if str(payload["topic"]).startswith("source.")]

    for _ in range(90):
        rig.second()
    assert told() == ["source.blind"]
    trouble = rig.store.sources()["gateway"].trouble
    made.outlast(Replica(rig, "c"))
    for _ in range(90):
        rig.second()
    assert told() == ["source.blind"]
    assert rig.store.sources()["gateway"].trouble == trouble
    rig.reporting = True
    for _ in range(3):
        rig.second()
    assert told() == ["source.blind", "source.sees"]


def test_an_effect_that_was_half_sent_is_not_called_unsent() -> None:
    """A replica that loses its claim between two calls of one effect says that it was interrupted: something may be there
    that the world has to show."""
    made = fleet()
    a = made.replicas[0]
    made.up(a)
    a.runtime.start(NAME, by="ada", why="test")

    def meanwhile() -> None:
        made.rig.clock.advance(LEASE)
        made.rig.store.claim([f"credential/{NAME}"], "b", ttl=LEASE)

    a.stop_at("mint", meanwhile)
    a.runtime.tick()
    if not a.stopped:
        a.runtime.tick()
    assert a.stopped
    rotation = made.rig.store.live_of(NAME)
    assert rotation is not None
    (mint,) = [one for one in made.rig.store.journal(rotation.id).values() if one.effect.kind == "mint"]
    assert mint.outcome is not None
    assert (mint.outcome.state, mint.outcome.failure) == (IntentState.FAILED, FailureKind.TRANSIENT)
    assert "interrupted" in mint.outcome.message


def test_calls_that_may_take_long_are_made_under_longer_leases() -> None:
    """Where a backend may take longer than a lease usually lasts, claims last longer, and its calls are made."""
    rig = Rig()
    for target in rig.registry.credential(NAME).targets.values():
        target.timeout = 2 * LEASE
    made = fleet(rig)
    begun(made, Phase.INTRODUCE)
    rig.until_phase(Phase.COMPLETED)
    made.up(made.replicas[1])
    a, b = made.replicas
    before = len(b.sent)
    a.runtime.start(NAME, by="ada", why="test")
    a.runtime.tick()
    for _ in range(LEASE // SECOND + 5):
        rig.second()
    assert set(b.sent[before:]) <= {"deliver"}


def test_an_adoption_that_was_overtaken_binds_nothing() -> None:
    """A replica that stands still before it registers what it has read, while a hand changes it and another replica takes
    the credential into care, does not take the value of before for the one that is registered."""
    rig = Rig()
    made = fleet(rig, warm=0)
    a, b = made.replicas
    other = rig.authority.new_key("other")

    def meanwhile() -> None:
        for path in rig.targets:
            rig.backend.place(path).overwrite(other.value.reveal())
        rig.clock.advance(LEASE)
        b.runtime.tick()

    a.stop_at("register", meanwhile)
    a.runtime.tick()
    assert a.stopped
    known = rig.store.credential(NAME)
    assert known is not None
    assert known.versions[1].key_id == other.key_id
    assert {backend_id for _, backend_id in rig.store.bindings(NAME)} == {"2"}


def test_a_decision_of_a_replica_that_was_overtaken_is_not_committed() -> None:
    """Between the last look at the claim and the commit another replica takes over, and does nothing yet: the late
    decision is refused all the same."""
    made = fleet()
    a = made.replicas[0]
    begun(made, Phase.OVERLAP)
    made.up(a)
    before: list[object] = []

    def meanwhile() -> None:
        before.append(made.rig.store.live_of(NAME))
        made.rig.clock.advance(LEASE)
        made.rig.store.claim([f"credential/{NAME}"], "b", ttl=LEASE)

    a.stop_at("commit", meanwhile)
    made.rig.until(lambda _: a.stopped)
    assert [made.rig.store.live_of(NAME)] == before


def test_a_command_that_is_given_again_and_again_stops_no_tick() -> None:
    """A script that says `rollback` until it is done says it between each look and its commit: the tick that takes the
    first one up is not told that the rotation has moved."""
    made = fleet()
    a = made.replicas[0]
    begun(made, Phase.MONITOR)
    made.up(a)
    roll_back(made)
    for _ in range(3):
        a.stop_at("commit", lambda: roll_back(made))
        made.rig.second()
        assert a.stopped
        rotation = made.rig.store.live_of(NAME)
        if rotation is not None and rotation.phase is Phase.ROLLBACK:
            return
    pytest.fail("the rollback did not begin")


def test_a_due_start_of_a_replica_that_was_overtaken_is_not_made() -> None:
    """Between its claim and the start another replica takes over: who is late starts nothing."""
    made = fleet(Rig(schedule=Schedule(every=timedelta(days=1))), warm=1)
    a = made.replicas[0]
    made.rig.clock.advance(timedelta(days=1))

    def meanwhile() -> None:
        made.rig.clock.advance(LEASE)
        made.rig.store.claim([f"credential/{NAME}"], "b", ttl=LEASE)

    a.stop_at("begin", meanwhile)
    a.runtime.tick()
    assert a.stopped
    assert made.rig.store.live_of(NAME) is None


def test_a_message_that_was_delivered_meanwhile_is_not_delivered_again() -> None:
    """Between seeing that there are messages and claiming them, another replica delivers them and is gone again."""
    made = fleet()
    a, b = made.replicas
    begun(made, Phase.OVERLAP)
    made.up(a)

    def meanwhile() -> None:
        b.runtime.tick()
        b.runtime.resign()

    made.rig.store.enqueue([message("news")], ["ops"], now=made.rig.clock.now())
    a.runtime.resign()
    a.stop_at("outbox", lambda: a.stop_at("claim", meanwhile))
    a.runtime.tick()
    assert a.stopped
    assert [payload["topic"] for payload in made.rig.notifier.payloads].count(message().topic) == 1
    assert "deliver" in b.sent
