"""Usage sources that stop, lose data, answer nonsense or disagree, and what becomes of a rotation meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.runtime.rig import NAME, QUICK, SECOND, Heard, Rig

from keyturn.domain.model import Rotation
from keyturn.domain.observations import SourceKind
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.ports.records import Told, UsageRow
from keyturn.ports.usage import StoreRead, UsageBatch, UsageReport
from keyturn.runtime.registry import WiredSource
from keyturn.testing.fakes import FakeUsageSource, Fault

PATIENT = replace(QUICK, silence_floor=30 * SECOND, silence_few=30 * SECOND, silence_unseen=30 * SECOND)
"""Long enough to be interrupted half way."""


def warmed(rig: Rig) -> Rig:
    """With a history in which every client was seen."""
    rig.warm_up()
    return rig


def seconds(rig: Rig, count: int) -> None:
    for _ in range(count):
        rig.second()


def phase(rig: Rig) -> Phase:
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    return rotation.phase


def blind_then_back(
    policy: Policy, reached: Callable[[Rotation], bool], after: Callable[[Rotation], bool]
) -> tuple[int, int]:
    """How many seconds pass from one point to the other, without trouble and with a source that is killed in between for
    ten minutes and then tells what it has seen."""
    lengths = []
    for killed in (False, True):
        run = warmed(Rig(policy=policy))
        run.runtime.start(NAME, by="ada", why="test")
        run.until(reached)
        seconds(run, 2)
        before = run.clock.now()
        if killed:
            run.reporting = False
            seconds(run, 600)
            rotation = run.store.latest_of(NAME)
            assert rotation is not None
            assert not after(rotation), "went on without knowing"
            run.reporting = True
        run.until(after)
        lengths.append(round((run.clock.now() - before).total_seconds()))
        assert run.refused == {}
    return lengths[0], lengths[1]


def test_source_killed_in_monitor_blocks_it_and_then_the_clock_goes_on() -> None:
    """Nothing is retired while the source is away; what it tells when it is back counts, as if it had never been away."""
    plain, killed = blind_then_back(PATIENT, lambda r: r.phase is Phase.MONITOR, lambda r: r.phase is Phase.RETIRE)
    assert 20 < plain < 40
    assert 600 <= killed <= 602


def test_source_killed_in_the_soak_blocks_it_and_then_the_clock_goes_on() -> None:
    """Nothing is destroyed while the source is away; the soak is not begun again when it is back."""
    policy = replace(QUICK, soak=30 * SECOND)
    plain, killed = blind_then_back(policy, lambda r: r.soak is not None, lambda r: r.phase is Phase.DESTROY)
    assert 20 < plain < 40
    assert 600 <= killed <= 602


def test_source_killed_between_waves_blocks_the_next_and_then_the_clock_goes_on() -> None:
    """The second wave is not promoted while the first is not watched; it follows at once when it is known to be well."""
    policy = replace(QUICK, wave_size=1, bake=20 * SECOND, minimum_overlap=20 * SECOND)
    plain, killed = blind_then_back(policy, lambda r: len(r.promoted) == 1, lambda r: len(r.promoted) == 2)
    assert 15 < plain < 30
    assert 600 <= killed <= 603


def silent_after(hole: int, edge: Edge | None = None) -> int:
    """Seconds from MONITOR to RETIRE when the source loses that many seconds in between."""
    rig = Rig(policy=PATIENT)
    if edge is not None:
        edge.beside(rig)
    warmed(rig)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    before = rig.clock.now()
    seconds(rig, 10)
    if hole:
        rig.reporting = False
        seconds(rig, hole)
        rig.lose()
        rig.reporting = True
    rig.until_phase(Phase.RETIRE)
    return round((rig.clock.now() - before).total_seconds())


def test_hole_no_longer_than_a_clients_pauses_stops_the_clock() -> None:
    """What was lost is not counted as silence; what was known before it is (EVIDENCE.md §3)."""
    # The rig's clients pause for a second between two uses.
    assert silent_after(1) == silent_after(0) + 1


def test_hole_longer_than_a_clients_pauses_starts_the_clock_anew() -> None:
    """A client that never paused so long may have used the old version in it."""
    plain, broken = silent_after(0), silent_after(5)
    assert 10 + 5 + 30 <= broken <= 10 + 5 + 32
    assert broken >= plain + 10


def soak_with(hole: int, edge: Edge | None = None) -> int:
    """Seconds that the soak takes when the source loses that many of them."""
    rig = Rig(policy=replace(QUICK, soak=20 * SECOND))
    if edge is not None:
        edge.beside(rig)
    warmed(rig)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until(lambda r: r.soak is not None)
    before = rig.clock.now()
    if hole:
        rig.reporting = False
        seconds(rig, hole)
        rig.lose()
        rig.reporting = True
    rig.until_phase(Phase.DESTROY)
    return round((rig.clock.now() - before).total_seconds())


def test_hole_in_the_soak_prolongs_it() -> None:
    """The soak is as long as it should be, without what nobody saw of it."""
    assert soak_with(hole=7) == soak_with(hole=0) + 7


# Holes that another source covers


class Edge:
    """A second source beside a rig's, which tells of each second what the first one does, or should."""

    def __init__(self, *, hides: Collection[str] = (), loses: bool = False, **said: Any) -> None:
        told: dict[str, Any] = {
            "kind": SourceKind.AUTHENTICATION,
            "sees_failures": True,
            "sees_all": True,
            "resolution": SECOND,
        }
        self._wired = WiredSource(name="edge", poll=None, **(told | said))
        self._hides = hides
        self._loses = loses

    def beside(self, rig: Rig) -> None:
        """Make it one of the credential's sources."""
        rig.registry = replace(
            rig.registry,
            sources={"gateway": replace(rig.registry.sources["gateway"], sees_all=True), "edge": self._wired},
            credentials={NAME: replace(rig.registry.credentials[NAME], sources=("gateway", "edge"))},
        )
        rig.restart()
        rig.before_tick = lambda: self._tell(rig)

    def _tell(self, rig: Rig) -> None:
        now = rig.clock.now()
        if self._loses and not rig.reporting:
            return
        reports = [one for one in rig.last if one.client not in self._hides]
        rig.runtime.ingest.push(
            "edge", reports, watermark=now, id=None, complete_from=now - SECOND if self._loses else None
        )


def test_hole_that_another_source_covers_is_none() -> None:
    """What one source lost, another has that sees all: the clocks go on."""
    assert silent_after(5, Edge()) == silent_after(0, Edge())
    assert soak_with(7, Edge()) == soak_with(0, Edge())


@pytest.mark.parametrize(
    "edge",
    [
        Edge(sees_all=False),
        Edge(kind=SourceKind.CLIENT_REPORT),
        Edge(sees_failures=False),
        Edge(loses=True),
        Edge(hides=["client-2"]),
    ],
    ids=["a part", "less directly", "no failures", "lost that time too", "never saw one of the clients"],
)
def test_hole_that_no_other_source_covers_counts(edge: Edge) -> None:
    """Another source that might have missed a use, or that lost the same time, fills no hole."""
    assert silent_after(5, edge) >= silent_after(0, edge) + 10
    assert soak_with(7, edge) >= soak_with(0, edge) + 7


def test_blind_source_is_named_and_told_of_once() -> None:
    """However long it stays away, and whoever restarts meanwhile: one alert, one all-clear, and the status names it; the
    next time is another time."""
    rig = warmed(Rig(policy=PATIENT))
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    for _ in range(2):
        rig.reporting = False
        seconds(rig, 100)
        rig.restart()
        seconds(rig, 100)
        status = rig.runtime.status(NAME)
        assert status.seen is not None
        source = status.seen.usage.sources["gateway"]
        assert source.blind_since == source.watermark
        assert status.verdict is not None
        assert "gateway is blind since" in status.verdict.detail
        assert "see that it runs" in status.verdict.detail
        rig.reporting = True
        seconds(rig, 3)
        assert rig.store.sources()["gateway"].blind_since is None
    topics = [payload["topic"] for payload in heard(rig, "source.")]
    assert topics == ["source.blind", "source.sees"] * 2


def test_short_delay_is_no_blindness() -> None:
    """A source that is a little behind is nobody's alarm."""
    rig = warmed(Rig())
    rig.reporting = False
    seconds(rig, 55)
    rig.reporting = True
    seconds(rig, 100)
    assert heard(rig, "source.") == []


def test_source_that_never_spoke_is_named() -> None:
    """It is not taken for one without anything to say; a start alone is no reason to alarm."""
    rig = Rig(reporting=False)
    seconds(rig, 55)
    assert heard(rig, "source.") == []
    seconds(rig, 30)
    (alert,) = heard(rig, "source.")
    assert "reports nothing: see that it runs" in str(alert["text"])


def heard(rig: Rig, prefix: str) -> list[dict[str, object]]:
    notifier = rig.registry.notifiers["ops"]
    assert isinstance(notifier, Heard)
    return [dict(payload) for payload in notifier.payloads if str(payload["topic"]).startswith(prefix)]


# Polled sources


class Polled:
    """A rig whose gateway is asked, and with a second source beside it."""

    def __init__(self, second: object, *, kind: SourceKind = SourceKind.AUTHENTICATION) -> None:
        self.rig = warmed(Rig(bears_defects=True))
        self.rig.registry = replace(
            self.rig.registry,
            sources={
                **self.rig.registry.sources,
                "second": WiredSource(
                    name="second",
                    kind=kind,
                    sees_failures=True,
                    resolution=SECOND,
                    poll=second,  # type: ignore[arg-type]
                ),
            },
            credentials={
                NAME: replace(self.rig.registry.credentials[NAME], sources=("gateway", "second")),
            },
        )
        self.rig.restart()

    def marks(self) -> dict[str, datetime | None]:
        return {name: state.watermark for name, state in self.rig.store.sources().items()}


class Says:
    """A source that answers what it is told to, or raises it."""

    def __init__(self, answer: Callable[[datetime], UsageBatch]) -> None:
        self.answer = answer

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        return self.answer(now)


def report(start: datetime, **changes: object) -> UsageReport:
    given: dict[str, object] = {
        "key_id": "k",
        "client": "c",
        "start": start,
        "successes": 1,
        "failures": 0,
        "matched": True,
        "identified": True,
    }
    return UsageReport(**(given | changes))  # type: ignore[arg-type]


def batch(now: datetime, *reports: UsageReport, watermark: datetime | None = None) -> UsageBatch:
    return UsageBatch(reports=reports, watermark=watermark or now, cursor="1")


def broken(now: datetime) -> UsageBatch:
    raise ZeroDivisionError("a defect of the plugin's")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda now: batch(now, watermark=now + timedelta(hours=1)), "a watermark that lies in the future"),
        (lambda now: batch(now, watermark=now.replace(tzinfo=None)), "a watermark that has no time zone"),
        (lambda now: batch(now, report(now + timedelta(hours=1))), "'c' whose start lies in the future"),
        (lambda now: batch(now, report(now.replace(microsecond=7))), "'c' that starts at"),
        (lambda now: batch(now, report(now, successes=-1)), "'c' with a negative count"),
        (broken, "the plugin broke (ZeroDivisionError at "),
    ],
)
def test_nonsense_moves_no_watermark(answer: Callable[[datetime], UsageBatch], said: str) -> None:
    """An answer that cannot be is dropped whole, the other sources are heard all the same, and the source is named."""
    polled = Polled(Says(answer))
    seconds(polled.rig, 70)
    marks = polled.marks()
    assert marks["gateway"] == polled.rig.clock.now()
    assert marks.get("second") is None
    (alert,) = heard(polled.rig, "source.blind")
    assert said in str(alert["text"])
    assert said in polled.rig.store.sources()["second"].trouble


def test_failing_poll_blocks_until_it_works() -> None:
    """A polled source that cannot be reached holds up what needs every source; when it works it goes on from its cursor."""
    source = FakeUsageSource(Rig().clock)
    polled = Polled(source)
    source.clock = polled.rig.clock
    source.faults.inject(Fault.LOST_REQUEST, times=None)
    polled.rig.runtime.start(NAME, by="ada", why="test")
    polled.rig.until_phase(Phase.OVERLAP)
    seconds(polled.rig, 100)
    assert phase(polled.rig) is Phase.OVERLAP
    source.faults.clear()
    polled.rig.until_phase(Phase.COMPLETED)
    assert [payload["topic"] for payload in heard(polled.rig, "source.")] == ["source.blind", "source.sees"]


# Sources that disagree


def told(rig: Rig, source: str, serial: int, client: str, *, successes: int = 0, failures: int = 0) -> None:
    start = rig.clock.now() - SECOND
    row = UsageRow(
        credential=NAME,
        serial=serial,
        client=client,
        start=start,
        length=SECOND,
        successes=successes,
        failures=failures,
    )
    rig.store.add_usage([Told(source=source, rows=[row], watermark=rig.clock.now())], received_at=rig.clock.now())


def weaker(rig: Rig) -> Rig:
    """With a source of clients' own reports beside the gateway."""
    reports = WiredSource(
        name="reports", kind=SourceKind.CLIENT_REPORT, sees_failures=True, resolution=SECOND, poll=None
    )
    rig.registry = replace(
        rig.registry,
        sources={**rig.registry.sources, "reports": reports},
        credentials={NAME: replace(rig.registry.credentials[NAME], sources=("gateway", "reports"))},
    )
    rig.restart()
    return rig


def test_weaker_source_can_show_a_use() -> None:
    """Nothing is retired while a client says itself that it still uses the old version, whatever the gateway saw."""
    rig = weaker(warmed(Rig()))
    rig.before_tick = lambda: told(rig, "reports", 1, "client-0", successes=1)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    seconds(rig, 60)
    assert phase(rig) is Phase.MONITOR
    rig.before_tick = lambda: told(rig, "reports", 2, "client-0", successes=1)
    rig.until_phase(Phase.COMPLETED)


def test_stronger_source_says_how_it_went() -> None:
    """A client that calls its own uses of the new version failures, while the gateway lets it in, rolls nothing back; and
    one that claims success, while the gateway refuses it, hides nothing."""
    rig = weaker(warmed(Rig()))
    rig.before_tick = lambda: told(rig, "reports", 2, "client-0", failures=50)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    other = weaker(warmed(Rig()))
    other.before_tick = lambda: told(other, "reports", 2, "client-0", successes=1000)
    other.runtime.start(NAME, by="ada", why="test")
    rotation = other.until_phase(Phase.MONITOR)
    key_id = rotation.versions[2].key_id
    assert key_id is not None
    other.authority.nodes["one"].lose(key_id)
    other.until_phase(Phase.ROLLBACK)


def test_weaker_sources_refusal_is_a_use_and_no_reason_to_go_back() -> None:
    """In the soak a client says that its old version was refused, and the gateway, which knows the client, has seen nothing
    of it: nothing is brought back, and nothing is destroyed before that use is long enough ago."""
    rig = weaker(warmed(Rig(policy=PATIENT)))
    rig.before_tick = lambda: told(rig, "reports", 2, "client-1", successes=1)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until(lambda r: r.soak is not None)
    told(rig, "reports", 1, "client-0", failures=1)
    before = rig.clock.now()
    rotation = rig.until_phase(Phase.DESTROY)
    assert rotation.retreats == 0
    assert rig.clock.now() - before >= 30 * SECOND


def test_clients_own_report_counts_where_no_stronger_source_knows_it() -> None:
    """A client that no gateway sees is heard on how it went, too."""
    rig = weaker(warmed(Rig()))
    rig.before_tick = lambda: told(rig, "reports", 1, "remote", successes=20)
    seconds(rig, 10)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.until(lambda r: len(r.promoted) == 2)
    rig.before_tick = lambda: told(rig, "reports", 2, "remote", failures=20)
    rig.until_phase(Phase.ROLLBACK)


def test_store_reads_are_known_by_the_backends_own_ids() -> None:
    """A read is a use of the version that the backend gave out, by the bindings of its target; other secrets' and unknown
    versions are nobody's."""
    rig = warmed(Rig())
    source = FakeUsageSource(rig.clock)
    polled = Polled(source, kind=SourceKind.STORE_READ)
    rig = polled.rig
    source.clock = rig.clock
    bindings = {found: serial for (target, found), serial in rig.store.bindings(NAME).items() if target == "t0"}
    ((known, serial),) = bindings.items()
    start = rig.clock.now()
    answers = [
        report(start, key_id=None, read=StoreRead("t0", known), client="reader"),
        report(start, key_id=None, read=StoreRead("t0", "999"), client="stranger"),
        report(start, key_id=None, read=StoreRead("elsewhere", known), client="stranger"),
    ]
    source.poll = lambda cursor, *, now: UsageBatch(  # type: ignore[method-assign]
        reports=answers if cursor is None else [], watermark=now, cursor="1"
    )
    seconds(rig, 2)
    assert {key for key in rig.store.uses(NAME) if key[2] == "second"} == {("reader", serial, "second")}
