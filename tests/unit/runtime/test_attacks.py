"""Whoever sends refused presentations, or holds a source's token, moves nothing beyond what DESIGN §6 allows; and each is
seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.runtime.rig import NAME, SECOND, Heard, Rig

from keyturn.domain.errors import Refused
from keyturn.domain.phases import Phase
from keyturn.ports.usage import UsageReport
from keyturn.runtime import crowd
from keyturn.runtime.usage import NotCovered

OLD, NEW = 1, 2


def warmed() -> Rig:
    """With a history in which every client was seen."""
    rig = Rig()
    rig.warm_up()
    return rig


def garbage(rig: Rig, serial: int, *, count: int = 1000, client: str = "unmapped") -> UsageReport | None:
    """Refused presentations of a version's public key id: no verifier matched the value, and nobody knows who it was."""
    rotation = rig.store.latest_of(NAME)
    version = None if rotation is None else rotation.versions.get(serial)
    if version is None or version.key_id is None:
        return None
    return UsageReport(
        key_id=version.key_id,
        client=client,
        start=rig.clock.now() - SECOND,
        successes=0,
        failures=count,
        matched=False,
        identified=False,
    )


def attacked(rig: Rig, *serials: int, client: str = "unmapped") -> Callable[[], None]:
    """Before each tick, a flood that the gateway reports as it saw it."""

    def flood() -> None:
        reports = [report for serial in serials if (report := garbage(rig, serial, client=client)) is not None]
        rig.runtime.ingest.push("gateway", reports, watermark=None, id=None)

    return flood


def length(rig: Rig) -> int:
    """How many seconds a rotation takes from its start to its end."""
    rig.runtime.start(NAME, by="ada", why="test")
    before = rig.clock.now()
    rig.until_phase(Phase.COMPLETED)
    return round((rig.clock.now() - before).total_seconds())


def alerts(rig: Rig, topic: str) -> list[str]:
    notifier = rig.registry.notifiers["ops"]
    assert isinstance(notifier, Heard)
    return [str(payload["text"]) for payload in notifier.payloads if payload["topic"] == topic]


@pytest.mark.parametrize("client", ["unmapped", "client-0"])
@pytest.mark.parametrize("serials", [(NEW,), (OLD,), (OLD, NEW)])
def test_flood_of_garbage_with_known_key_ids_changes_nothing(serials: tuple[int, ...], client: str) -> None:
    """Whichever version's public id it bears, and whatever name it claims: the rotation ends as it would have, in the same
    time; nothing is rolled back, brought back or awaited, and people are told once a day."""
    rig = warmed()
    rig.before_tick = attacked(rig, *serials, client=client)
    undisturbed = length(warmed())
    assert length(rig) == undisturbed
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    assert rotation.retreats == 0
    assert rig.refused == {}
    told = alerts(rig, "unauthenticated")
    assert {line.split("presentations of ")[1].split("'")[0] for line in told} == {f"v{serial}" for serial in serials}
    assert len(told) == len(serials)
    pools = rig.store.pooled(NAME)
    assert {serial for serial, _ in pools} == set(serials)
    assert rig.runtime.ingest.counts["gateway", "unauthenticated"] == sum(pool.count for pool in pools.values())


def test_flood_does_not_hide_a_version_that_fails() -> None:
    """Garbage under both key ids leaves the detector as sharp as it was: a verifier that loses the new key is found."""
    rig = warmed()
    rig.before_tick = attacked(rig, OLD, NEW)
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.MONITOR)
    key_id = rotation.versions[NEW].key_id
    assert key_id is not None
    rig.authority.nodes["one"].lose(key_id)
    rig.until_phase(Phase.ROLLED_BACK)


def test_flood_of_refusals_by_a_known_client_retreats_for_a_real_holder_alone() -> None:
    """In the soak, one refused presentation of the whole value brings the old version back; a thousand of its public id do
    not, though they claim a known client's name."""
    for matched, phase in ((False, Phase.COMPLETED), (True, Phase.MONITOR)):
        rig = warmed()
        rig.runtime.start(NAME, by="ada", why="test")
        rig.until(lambda r: r.soak is not None)
        report = garbage(rig, OLD, client="client-0")
        assert report is not None
        forged = UsageReport(
            key_id=report.key_id,
            client="client-0",
            start=report.start,
            successes=0,
            failures=1 if matched else 1000,
            matched=matched,
            identified=False,
        )
        rig.runtime.ingest.push("gateway", [forged], watermark=None, id=None)
        rig.until_phase(phase)


def test_client_that_claims_anothers_name_hastens_nothing() -> None:
    """Success on the new version under a laggard's name makes nobody forget that the laggard uses the old one."""
    rig = warmed()
    rig.clients[0].refreshes = False
    rig.runtime.start(NAME, by="mallory", why="test")
    rotation = rig.until_phase(Phase.MONITOR)

    def claims() -> None:
        report = UsageReport(
            key_id=rotation.versions[NEW].key_id,
            client="client-0",
            start=rig.clock.now() - SECOND,
            successes=50,
            failures=0,
            matched=True,
            identified=False,
        )
        rig.runtime.ingest.push("gateway", [report], watermark=None, id=None)

    rig.before_tick = claims
    for _ in range(100):
        rig.second()
    status = rig.runtime.status(NAME)
    assert status.rotation is not None
    assert status.rotation.phase is Phase.MONITOR
    assert status.verdict is not None
    assert "client-0" in status.verdict.detail
    assert rig.refused == {}


def test_replayed_batches_count_once() -> None:
    """A captured batch that is sent again and again is taken once: it neither adds failures nor brings uses back, and each
    repetition is counted."""
    rig = warmed()
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.MONITOR)
    captured = UsageReport(
        key_id=rotation.versions[NEW].key_id,
        client="client-0",
        start=rig.clock.now() + SECOND,
        successes=0,
        failures=1,
        matched=True,
        identified=True,
    )

    def replay() -> None:
        rig.runtime.ingest.push("gateway", [captured], watermark=None, id="captured", digest="d")

    rig.before_tick = replay
    rig.until_phase(Phase.COMPLETED)
    rows = rig.store.usage(NAME, start=captured.start, end=captured.start + SECOND)
    assert sum(row.failures for row in rows if row.serial == NEW) == 1
    assert rig.runtime.ingest.counts["gateway", "repeated batches"] > 5


def test_stolen_token_speaks_for_its_own_credentials_alone() -> None:
    """A report of a credential that the source does not cover is refused with the whole batch, and the credential's owners
    are told once a day that somebody tried."""
    rig = warmed()
    rig.registry = replace(rig.registry, sources={**rig.registry.sources, "stolen": rig.registry.sources["gateway"]})
    rig.restart()
    before = dict(rig.store.uses(NAME))
    for _ in range(3):
        report = UsageReport(
            key_id=rig.first_key_id,
            client="client-0",
            start=rig.clock.now(),
            successes=0,
            failures=1000,
            matched=True,
            identified=True,
        )
        with pytest.raises(NotCovered, match="may not speak for 'payments'"):
            rig.runtime.ingest.push("stolen", [report], watermark=rig.clock.now(), id=None)
    assert dict(rig.store.uses(NAME)) == before
    assert "stolen" not in rig.store.sources()
    rig.second()
    (told,) = alerts(rig, "source.overreach")
    assert "stolen" in told
    assert rig.runtime.ingest.counts["stolen", "refused"] == 3


def test_stolen_token_of_a_covering_source_cannot_set_its_watermark_ahead() -> None:
    """Silence that has not passed yet cannot be claimed: no watermark runs ahead of the clock, whoever says it."""
    rig = warmed()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    rig.reporting = False
    with pytest.raises(Refused, match="future"):
        rig.runtime.ingest.push("gateway", [], watermark=rig.clock.now() + timedelta(days=30), id=None)
    for _ in range(30):
        rig.second()
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    assert rotation.phase is Phase.MONITOR


@pytest.mark.parametrize("matched", [False, True])
def test_made_up_names_do_not_multiply(monkeypatch: pytest.MonkeyPatch, matched: bool) -> None:
    """Whoever makes up client names, with a key in hand or without, adds a bounded number of clients; every use still
    counts, and known clients keep their names."""
    monkeypatch.setattr(crowd, "MOST_CLIENTS", 10)
    rig = warmed()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    report = garbage(rig, OLD, count=1)
    assert report is not None
    now = rig.clock.now()
    flood = [replace(report, client=f"nobody-{number}", start=now, matched=matched) for number in range(1000)]
    rig.runtime.ingest.push("gateway", flood, watermark=None, id=None)
    rig.restart()
    rig.runtime.ingest.push(
        "gateway", [replace(one, client=f"{one.client}-too") for one in flood], watermark=None, id=None
    )
    known = {client for client, _, _ in rig.store.uses(NAME)}
    assert known >= {client.name for client in rig.clients}
    assert len(known) == (11 if matched else 4)
    rows = rig.store.usage(NAME, start=now, end=now + SECOND)
    made_up = [row for row in rows if row.client not in {client.name for client in rig.clients}]
    assert sum(row.failures + row.unauthenticated for row in made_up) == 2000
    strangers = {row.client for row in made_up}
    assert len(strangers) <= 2 * (crowd.MOST_STRANGERS + 1), "a restart forgets them"
    assert "nobody-0" in strangers, "a thief is named"
    assert ("unmapped" in known) is matched
