"""Makes of stored usage what a decision needs: clients, silence required, the detector's word."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.domain.evidence import Bucket, Culprit, FailureDetector, Finding, required_silence
from keyturn.domain.model import Rotation
from keyturn.domain.observations import ClientSeen, SourceSeen, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.ports.records import SourceState, UsageRow, Uses
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredCredential

BASELINE = timedelta(days=3)
"""How much of the past the detector learns from."""
WATCHED = frozenset({Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE})


def observe_usage(silences: Silences, registry: Registry, rotation: Rotation) -> UsageSeen:
    """What the usage sources have told of a rotation's versions."""
    store, wired = silences.store, registry.credential(rotation.credential)
    states = store.sources()
    sources = {
        name: SourceSeen(
            kind=registry.sources[name].kind,
            sees_failures=registry.sources[name].sees_failures,
            watermark=states[name].watermark if name in states else None,
        )
        for name in wired.sources
    }
    starts = [states[name].since for name in wired.sources if name in states]
    known = [start for start in starts if start is not None]
    uses = store.uses(rotation.credential)
    seen = UsageSeen(
        sources=sources,
        since=max(known) if known and len(known) == len(wired.sources) else None,
        clients=_clients(silences, wired, rotation, uses),
    )
    if rotation.phase not in WATCHED or seen.failure_watermark is None:
        return seen
    return replace(seen, finding=_finding(store, registry, wired, rotation, states, seen.failure_watermark))


def _clients(
    silences: Silences, wired: WiredCredential, rotation: Rotation, uses: Mapping[tuple[str, int], Uses]
) -> dict[str, ClientSeen]:
    names = sorted(wired.clients | {client for client, _ in uses})
    clients = {}
    for name in names:
        own = {serial: use for (client, serial), use in uses.items() if client == name}
        clients[name] = ClientSeen(
            last_use={serial: use.last_use for serial, use in own.items()},
            last_success={s: use.last_success for s, use in own.items() if use.last_success is not None},
            last_refusal={s: use.last_refusal for s, use in own.items() if use.last_refusal is not None},
            required_silence=silences.required(rotation, name, len(names)),
        )
    return clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Silences:
    """How long each client must be silent. The history before a rotation does not change while it runs, so each client's
    is read and judged once."""

    store: Store
    judged: dict[tuple[str, str, int], timedelta] = field(default_factory=dict)

    def required(self, rotation: Rotation, client: str, clients: int) -> timedelta:
        """The silence required of one of so many clients, by its uses before the rotation."""
        key = (rotation.id, client, clients)
        if key not in self.judged:
            starts = self.store.use_starts(rotation.credential, client, end=rotation.started_at)
            self.judged[key] = required_silence(
                [start.timestamp() for start in starts],
                now=rotation.started_at.timestamp(),
                clients=clients,
                floor=rotation.policy.silence_floor,
                unseen=rotation.policy.silence_unseen,
                few=rotation.policy.silence_few,
            )
        return self.judged[key]

    def forget_all_but(self, live: Collection[str]) -> None:
        """Let go of rotations that have ended."""
        for key in [key for key in self.judged if key[0] not in live]:
            self.judged.pop(key, None)


def _finding(
    store: Store,
    registry: Registry,
    wired: WiredCredential,
    rotation: Rotation,
    states: Mapping[str, SourceState],
    watermark: datetime,
) -> Finding | None:
    """The detector's word on the last complete bucket; its state is saved beside how far it has read."""
    length = max(registry.sources[name].resolution for name in wired.sources if registry.sources[name].sees_failures)
    saved = store.detector(rotation.id)
    resumed = None if saved is None else _resumed(saved)
    if resumed is None:
        since = max(
            [state.since for state in states.values() if state.since is not None] + [rotation.started_at - BASELINE]
        )
        past = _rows(store, rotation, _ceil(since, length), _floor(rotation.started_at, length))
        detector = FailureDetector.from_baseline(
            _buckets(past, rotation, length, _ceil(since, length), _floor(rotation.started_at, length)),
            planned_overlap=max(rotation.policy.minimum_overlap, length),
        )
        position, finding = _floor(rotation.started_at, length), None
    else:
        detector, position, finding = resumed
    end = _floor(watermark, length)
    if end <= position:
        return finding
    for bucket in _buckets(_rows(store, rotation, position, end), rotation, length, position, end):
        finding = detector.update(bucket)
    document = {
        "state": detector.state(),
        "position": end.isoformat(),
        "finding": None if finding is None else asdict(finding),
    }
    store.save_detector(rotation.id, json.dumps(document))
    return finding


def _resumed(saved: str) -> tuple[FailureDetector, datetime, Finding | None] | None:
    """The detector, how far it has read, and its last word; None for a state that another release wrote: the same buckets
    read again from the rotation's start give the same."""
    document = json.loads(saved)
    try:
        detector = FailureDetector.from_state(document["state"])
    except ValueError:
        return None
    return detector, datetime.fromisoformat(document["position"]), _read_finding(document["finding"])


def _read_finding(document: dict[str, Any] | None) -> Finding | None:
    if document is None:
        return None
    return Finding(**{**document, "culprits": tuple(Culprit(**culprit) for culprit in document["culprits"])})


def _rows(store: Store, rotation: Rotation, start: datetime, end: datetime) -> list[UsageRow]:
    return list(store.usage(rotation.credential, start=start, end=end)) if start < end else []


def _buckets(
    rows: Iterable[UsageRow], rotation: Rotation, length: timedelta, start: datetime, end: datetime
) -> Iterator[Bucket]:
    """Every bucket from start to end, without gaps; an idle one is empty."""
    arms: dict[datetime, tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]] = defaultdict(lambda: ({}, {}))
    for row in rows:
        old, new = arms[_floor(row.start, length)]
        arm = new if row.serial == rotation.incoming else old
        successes, failures = arm.get(row.client, (0, 0))
        arm[row.client] = (successes + row.successes, failures + row.failures)
    disabled = min(rotation.disabled_at.values(), default=None)
    while start < end:
        old, new = arms.get(start, ({}, {}))
        bucket = Bucket((start - rotation.started_at).total_seconds(), length.total_seconds(), old, new)
        # Refusals that we caused say nothing of the authority's health (EVIDENCE.md §1).
        yield bucket.without_old() if disabled is not None and start + length > disabled else bucket
        start += length


def _floor(moment: datetime, length: timedelta) -> datetime:
    seconds = length.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, tz=moment.tzinfo)


def _ceil(moment: datetime, length: timedelta) -> datetime:
    floor = _floor(moment, length)
    return floor if floor == moment else floor + length
