"""Makes of stored usage what a decision needs: clients, silence required, the detector's word."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from keyturn.domain.evidence import Bucket, Culprit, FailureDetector, Finding, required_silence, unseen_share
from keyturn.domain.model import Rotation
from keyturn.domain.observations import UNSEEN, ClientSeen, SourceKind, SourceSeen, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.ports.records import Acknowledgement, SourceState, UsageRow
from keyturn.ports.store import Store
from keyturn.runtime.holes import Holes, joined
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.runtime.words import Words

BASELINE = timedelta(days=3)
"""How much of the past the detector learns from."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
            blind_since=states[name].blind_since if name in states else None,
            trouble=states[name].trouble if name in states else "",
        )
        for name in wired.sources
    }
    starts = [states[name].since for name in wired.sources if name in states]
    known = [start for start in starts if start is not None]
    words = Words({name: source.kind for name, source in sources.items()}, store.uses(rotation.credential))
    pooled = store.pooled(rotation.credential)
    holes = Holes(
        [registry.sources[name] for name in wired.sources], states, {name: store.holes(name) for name in wired.sources}
    )
    acknowledgements = store.acknowledgements(rotation.credential)
    clients, uses = _clients(silences, registry, wired, rotation, words, holes, acknowledgements)
    lost = [*holes.of(frozenset()), *(hole for client in clients.values() for hole in client.lost)]
    seen = UsageSeen(
        sources=sources,
        since=max(known) if known and len(known) == len(wired.sources) else None,
        clients=clients,
        unauthenticated=sum(pool.count for (serial, _), pool in pooled.items() if serial in rotation.versions),
        lost=joined((hole.start, hole.end) for hole in lost),
        unseen=0.0 if (UNSEEN, rotation.incoming) in acknowledgements else unseen_share(uses),
    )
    if rotation.phase not in WATCHED or seen.failure_watermark is None:
        return seen
    finding = _finding(silences.detectors, store, registry, wired, rotation, states, words, seen.failure_watermark)
    return seen if finding is None else replace(seen, finding=finding)


def _clients(
    silences: Silences,
    registry: Registry,
    wired: WiredCredential,
    rotation: Rotation,
    words: Words,
    holes: Holes,
    acknowledgements: Mapping[tuple[str, int], Acknowledgement],
) -> tuple[dict[str, ClientSeen], list[int]]:
    """What is known of each client, and how often each was seen before the rotation."""
    names = sorted(wired.clients | words.clients)
    dismissals = silences.store.dismissals(rotation.credential)
    # A use's time is its bucket's end, which may lie a little after the word that its client is gone, or has moved.
    bucket = max((registry.sources[name].resolution for name in wired.sources), default=timedelta(0))
    clients, uses = {}, []
    for name in names:
        last_use, last_success, last_refusal = words.newest(name)
        judged = silences.of(rotation, name, len(names))
        uses.append(judged.uses)
        gone, moved = dismissals.get(name), acknowledgements.get((name, rotation.incoming))
        on_old = max((last_use[serial] for serial in rotation.outgoing if serial in last_use), default=None)
        clients[name] = ClientSeen(
            last_use=last_use,
            last_success=last_success,
            last_refusal=last_refusal,
            required_silence=judged.required,
            largest_gap=judged.pause,
            lost=holes.of(words.told_by(name)),
            acknowledged=moved is not None and (on_old is None or on_old <= moved.at + bucket),
            dismissed=gone is not None and max(last_use.values(), default=gone.at) <= gone.at + bucket,
        )
    return clients, uses


class Judged(NamedTuple):
    """What one client's uses before a rotation say."""

    among: int
    """How many clients it was judged among."""
    required: timedelta
    """The silence required of it."""
    pause: timedelta
    """The longest between two of its uses."""
    uses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silences:
    """How long each client must be silent. The history before a rotation does not change while it runs, so each client's
    is read and judged once, and again when there are more or fewer clients."""

    store: Store
    judged: dict[tuple[str, str], Judged] = field(default_factory=dict)
    """By rotation and client."""
    detectors: dict[str, Resumed] = field(default_factory=dict)
    """By rotation: its detector as this process saved it last."""

    def of(self, rotation: Rotation, client: str, clients: int) -> Judged:
        """What the uses of one of so many clients before the rotation say."""
        key = (rotation.id, client)
        judged = self.judged.get(key)
        if judged is None or judged.among != clients:
            starts = self.store.use_starts(rotation.credential, client, end=rotation.started_at)
            required = required_silence(
                [start.timestamp() for start in starts],
                now=rotation.started_at.timestamp(),
                clients=clients,
                floor=rotation.policy.silence_floor,
                unseen=rotation.policy.silence_unseen,
                few=rotation.policy.silence_few,
            )
            pause = max((after - before for before, after in pairwise(starts)), default=timedelta(0))
            judged = self.judged[key] = Judged(among=clients, required=required, pause=pause, uses=len(starts))
        return judged

    def forget_all_but(self, live: Collection[str]) -> None:
        """Let go of rotations that have ended."""
        # Each list is made in one step: whoever answers a person looks at rotations meanwhile, and judges.
        for key in [key for key in list(self.judged) if key[0] not in live]:
            self.judged.pop(key, None)
        for rotation in [rotation for rotation in list(self.detectors) if rotation not in live]:
            self.detectors.pop(rotation, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A detector that goes on from where it was saved."""

    saved: str
    """What stands in the store for it: whoever finds another text there reads that."""
    detector: FailureDetector
    position: datetime
    """How far it has read."""
    finding: Finding | None
    """Its last word."""


def _finding(
    detectors: dict[str, Resumed],
    store: Store,
    registry: Registry,
    wired: WiredCredential,
    rotation: Rotation,
    states: Mapping[str, SourceState],
    words: Words,
    watermark: datetime,
) -> Finding | None:
    """The detector's word on the last complete bucket; its state is saved beside how far it has read."""
    seeing = {
        name: source for name, source in registry.sources.items() if name in wired.sources and source.sees_failures
    }
    length = max(source.resolution for source in seeing.values())
    end = _floor(watermark, length)
    saved = store.detector(rotation.id)
    # Taken out while it is changed: one that could not be saved is read from the store again.
    resumed = detectors.pop(rotation.id, None)
    if resumed is None or resumed.saved != saved:
        resumed = None if saved is None else _resumed(saved)
    began = _floor(rotation.started_at, length)
    position, finding = (began, None) if resumed is None else (resumed.position, resumed.finding)
    if end <= position:
        if resumed is not None:
            detectors[rotation.id] = resumed
        return finding
    told = partial(_rows, store, rotation, seeing, words.of(seeing))
    if resumed is None:
        knowing = [states[name].since for name in seeing if name in states]
        since = max([rotation.started_at - BASELINE, *(start for start in knowing if start is not None)])
        past = told(_ceil(since, length), began)
        detector = FailureDetector.from_baseline(
            _buckets(past, rotation, length, _ceil(since, length), began),
            planned_overlap=max(rotation.policy.minimum_overlap, length),
        )
    else:
        detector = resumed.detector
    for bucket in _buckets(told(position, end), rotation, length, position, end):
        finding = detector.update(bucket)
    document = {
        "state": detector.state(),
        "position": end.isoformat(),
        "finding": None if finding is None else asdict(finding),
    }
    saved = json.dumps(document)
    store.save_detector(rotation.id, saved)
    detectors[rotation.id] = Resumed(saved=saved, detector=detector, position=end, finding=finding)
    return finding


def _resumed(saved: str) -> Resumed | None:
    """The detector, how far it has read, and its last word; None for a state that another release wrote: the same buckets
    read again from the rotation's start give the same."""
    document = json.loads(saved)
    try:
        detector = FailureDetector.from_state(document["state"])
    except ValueError:
        return None
    return Resumed(
        saved=saved,
        detector=detector,
        position=datetime.fromisoformat(document["position"]),
        finding=_read_finding(document["finding"]),
    )


def _read_finding(document: dict[str, Any] | None) -> Finding | None:
    if document is None:
        return None
    return Finding(**{**document, "culprits": tuple(Culprit(**culprit) for culprit in document["culprits"])})


def _rows(
    store: Store,
    rotation: Rotation,
    seeing: Mapping[str, WiredSource],
    words: Words,
    start: datetime,
    end: datetime,
) -> list[UsageRow]:
    """What the detector is told: of each client by the strongest kind of source that knows it, so that no weaker one's
    word on the same requests counts beside it."""
    rows: list[UsageRow] = []
    for kind in SourceKind if start < end else ():
        sources = [name for name, source in seeing.items() if source.kind is kind]
        if sources:
            told = store.usage(rotation.credential, start=start, end=end, sources=sources)
            rows += [row for row in told if words.decides(kind, row.client)]
    return rows


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
    return moment - (moment - EPOCH) % length


def _ceil(moment: datetime, length: timedelta) -> datetime:
    floor = _floor(moment, length)
    return floor if floor == moment else floor + length
