"""Who uses which version of a credential, for people to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.domain.model import VersionState
from keyturn.domain.observations import UNMAPPED, ClientSeen
from keyturn.domain.situation import Situation
from keyturn.ports.records import Acknowledgement, Dismissal, Pooled, SourceState, UsageRow, Uses
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.runtime.status import Status

RETIRED = frozenset({VersionState.DISABLED, VersionState.DESTROYED})
POINTS = 60
"""Columns of the crossover, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionUse:
    """One client's use of one version."""

    serial: int
    state: VersionState | None
    first_use: datetime
    last_use: datetime
    last_success: datetime | None
    last_refusal: datetime | None
    successes: int
    failures: int
    """In the window."""
    per_minute: float
    """Of both, over the window."""
    told_by: tuple[str, ...]
    """Which sources say so."""
    silent_for: timedelta | None
    """How long it is known to be silent on this version, as a rotation counts it; None where none is live, or nothing is
    known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientUse:
    """One client."""

    client: str
    declared: bool
    required_silence: timedelta | None
    """Before the old version may be retired; None where no rotation is live."""
    dismissal: Dismissal | None
    acknowledgement: Acknowledgement | None
    """Of the version that the newest rotation introduces."""
    versions: tuple[VersionUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """How many uses of each version, step by step: from old to new."""

    start: datetime
    step: timedelta
    uses: Mapping[int, Sequence[int]]
    """By serial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Everything that is known of a credential's use."""

    credential: str
    window: timedelta
    sources: Mapping[str, tuple[WiredSource, SourceState]]
    clients: Sequence[ClientUse]
    pooled: Mapping[tuple[int, str], Pooled]
    crossover: Crossover
    stands_out: Sequence[str]
    """What somebody should look at, in words."""


def usage_report(store: Store, registry: Registry, status: Status, *, now: datetime, window: timedelta) -> UsageReport:
    """What the store holds of a credential's use, beside what its rotation makes of it."""
    name = status.credential.name
    wired = registry.credential(name)
    states = store.sources()
    sources = {one: (registry.sources[one], states.get(one, SourceState(name=one))) for one in wired.sources}
    rows = store.usage(name, start=now - window, end=now + timedelta(days=1))
    clients = tuple(_clients(store, wired, status, rows, now, window))
    pooled = store.pooled(name)
    return UsageReport(
        credential=name,
        window=window,
        sources=sources,
        clients=clients,
        pooled=pooled,
        crossover=_crossover(rows, now, window),
        stands_out=tuple(_stands_out(wired, status, clients, pooled, sources)),
    )


def _clients(
    store: Store, wired: WiredCredential, status: Status, rows: Sequence[UsageRow], now: datetime, window: timedelta
) -> Iterator[ClientUse]:
    by_client: dict[str, dict[int, dict[str, Uses]]] = {name: {} for name in wired.clients}
    for (client, serial, source), use in store.uses(wired.name).items():
        by_client.setdefault(client, {}).setdefault(serial, {})[source] = use
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        counts[row.client, row.serial][0] += row.successes
        counts[row.client, row.serial][1] += row.failures
    dismissals, acknowledgements = store.dismissals(wired.name), store.acknowledgements(wired.name)
    for client, versions in sorted(by_client.items()):
        seen = None if status.seen is None else status.seen.usage.clients.get(client)
        yield ClientUse(
            client=client,
            declared=client in wired.clients,
            required_silence=None if seen is None else seen.required_silence,
            dismissal=dismissals.get(client),
            acknowledgement=None
            if status.rotation is None
            else acknowledgements.get((client, status.rotation.incoming)),
            versions=tuple(
                _version(status, seen, serial, told, counts[client, serial], now, window)
                for serial, told in sorted(versions.items())
            ),
        )


def _version(
    status: Status,
    seen: ClientSeen | None,
    serial: int,
    told: Mapping[str, Uses],
    counts: Sequence[int],
    now: datetime,
    window: timedelta,
) -> VersionUse:
    known = status.credential.versions.get(serial)
    last_use = max(use.last_use for use in told.values())
    return VersionUse(
        serial=serial,
        state=None if known is None else known.state,
        first_use=min(use.first_use for use in told.values()),
        last_use=last_use,
        last_success=max((use.last_success for use in told.values() if use.last_success is not None), default=None),
        last_refusal=max((use.last_refusal for use in told.values() if use.last_refusal is not None), default=None),
        successes=counts[0],
        failures=counts[1],
        per_minute=sum(counts) / (window / timedelta(minutes=1)),
        told_by=tuple(sorted(told)),
        silent_for=_silent_for(status, seen, serial, last_use, now),
    )


def _silent_for(
    status: Status, seen: ClientSeen | None, serial: int, last_use: datetime, now: datetime
) -> timedelta | None:
    rotation, world = status.rotation, status.seen
    if rotation is None or world is None or seen is None or serial not in rotation.versions:
        return None
    watermark, since = world.usage.watermark, world.usage.since
    if watermark is None or since is None:
        return None
    situation = Situation(rotation=rotation, seen=world, now=now)
    promoted = situation.last_promote()
    start = max(since, last_use, promoted.at if promoted is not None else since)
    return max(timedelta(0), situation.silence(seen, start, watermark))


def _crossover(rows: Sequence[UsageRow], now: datetime, window: timedelta) -> Crossover:
    step, start = window / POINTS, now - window
    uses: dict[int, list[int]] = defaultdict(lambda: [0] * POINTS)
    for row in rows:
        column = int((row.start - start) / step)
        if 0 <= column < POINTS:
            uses[row.serial][column] += row.successes + row.failures
    return Crossover(start=start, step=step, uses=dict(sorted(uses.items())))


def _stands_out(
    wired: WiredCredential,
    status: Status,
    clients: Sequence[ClientUse],
    pooled: Mapping[tuple[int, str], Pooled],
    sources: Mapping[str, tuple[WiredSource, SourceState]],
) -> Iterator[str]:
    for name, (_, state) in sources.items():
        if state.blind_since is not None:
            yield f"source {name} is blind since {_time(state.blind_since)}: {state.trouble}"
    for client in clients:
        if client.client == UNMAPPED and client.versions:
            yield "unmapped: uses that no rule of the sources maps to a client; map them, so that they can be told apart"
        elif not client.declared and wired.clients:
            yield f"{client.client}: is not among the declared clients"
        for version in client.versions:
            if version.state in RETIRED and _used_since(status, version):
                yield f"{client.client}: last used v{version.serial}, which is {version.state}, at {_time(version.last_use)}"
            if client.dismissal is not None and version.last_use > client.dismissal.at:
                yield f"{client.client}: was declared gone by {client.dismissal.by}, and has used v{version.serial} since"
            if (moved := client.acknowledgement) is not None and _proven_wrong(status, moved, version):
                yield f"{client.client}: has moved to v{moved.serial}, said {moved.by}, and has used v{version.serial} since"
    for (serial, source), pool in sorted(pooled.items()):
        yield (
            f"{pool.count} refused presentations of v{serial}'s key id prove nothing about who sent them "
            f"(last {_time(pool.last)}, seen by {source})"
        )


def _used_since(status: Status, version: VersionUse) -> bool:
    """Whether a version was used after it was retired; when that was is known of the newest rotation's. Of any other a use
    that was refused is one, and so is any since the newest rotation began."""
    rotation = status.rotation
    if rotation is None:
        return version.last_refusal == version.last_use
    retired = rotation.disabled_at.get(version.serial)
    if retired is not None:
        return version.last_use > retired
    before = version.serial not in rotation.versions and version.last_use > rotation.started_at
    return before or version.last_refusal == version.last_use


def _proven_wrong(status: Status, moved: Acknowledgement, version: VersionUse) -> bool:
    outgoing = () if status.rotation is None else status.rotation.outgoing
    return version.serial in outgoing and version.last_use > moved.at


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
