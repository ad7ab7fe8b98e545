"""A store that forgets: the contract in memory, for the simulator and for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keyturn.domain.effects import EffectKind, Message
from keyturn.domain.errors import Refused, StaleRevision
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.observations import Hole
from keyturn.domain.own_key import check_own_key
from keyturn.ports.records import (
    AccessToken,
    Acknowledgement,
    Commit,
    Credential,
    Dismissal,
    HistoryEntry,
    Intent,
    Lease,
    OutboxItem,
    Outcome,
    Pooled,
    SourceState,
    Told,
    UsageRow,
    Uses,
)
from keyturn.stores.chain import linked
from keyturn.stores.memory_journal import MemoryJournal
from keyturn.stores.memory_leases import MemoryLeases
from keyturn.stores.memory_outbox import MemoryOutbox
from keyturn.stores.memory_usage import MemoryUsage
from keyturn.stores.rules import check_marks, check_serial, check_successor, rolled_back


class MemoryStore:
    """Keeps everything in this process, behind one lock. `now` dates what the contract gives no time for."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._credentials: dict[str, Credential] = {}
        self._bindings: dict[str, dict[tuple[str, str], int]] = {}
        self._key_ids: dict[str, set[tuple[str, int]]] = {}
        self._rotations: dict[str, Rotation] = {}
        self._live: dict[str, str] = {}
        self._latest: dict[str, str] = {}
        self._journal = MemoryJournal()
        self._history: dict[str, list[HistoryEntry]] = {}
        self._usage = MemoryUsage()
        self._dismissals: dict[str, dict[str, Dismissal]] = {}
        self._acknowledgements: dict[str, dict[tuple[str, int], Acknowledgement]] = {}
        self._detectors: dict[str, str] = {}
        self._outbox = MemoryOutbox()
        self._leases = MemoryLeases()
        self._tokens: dict[str, AccessToken] = {}
        self._pins: dict[str, str] = {}

    # Credentials and versions

    def register(
        self,
        name: str,
        version: Version,
        *,
        due_at: datetime | None,
        others: Sequence[Version] = (),
        history: Sequence[HistoryEntry] = (),
        apart_from: Collection[str] = (),
    ) -> None:
        with self._lock:
            if name in self._credentials:
                return
            others_keys = sorted(self._key_ids.get(version.key_id or "", ()))
            check_own_key(
                name,
                version,
                [(one, self._credentials[one].versions[serial]) for one, serial in others_keys if one in apart_from],
            )
            known = {one.serial: one for one in (*others, version)}
            self._credentials[name] = Credential(
                name=name, versions={}, next_serial=max(known) + 1, due_at=due_at, rolled_back=0
            )
            self._put_versions(name, known)
            self._append(history)

    def restored(self, at: datetime) -> None:
        with self._lock:
            for name, credential in self._credentials.items():
                self._credentials[name] = replace(credential, restored_at=at)

    def unconfirmed(self) -> Sequence[str]:
        with self._lock:
            return sorted(name for name, one in self._credentials.items() if one.restored_at is not None)

    def found(self, name: str, versions: Sequence[Version]) -> None:
        with self._lock:
            known = self._registered(name)
            new = {one.serial: one for one in versions if one.serial not in known.versions}
            self._credentials[name] = replace(known, next_serial=max([known.next_serial, *(v + 1 for v in new)]))
            self._put_versions(name, new)

    def confirm(self, name: str) -> None:
        with self._lock:
            if name in self._credentials:
                self._credentials[name] = replace(self._credentials[name], restored_at=None)

    def credential(self, name: str) -> Credential | None:
        with self._lock:
            return self._credentials.get(name)

    def credentials(self) -> Mapping[str, Credential]:
        with self._lock:
            return dict(self._credentials)

    def due_dates(self) -> Mapping[str, datetime]:
        with self._lock:
            return {name: one.due_at for name, one in self._credentials.items() if one.due_at is not None}

    def current(self) -> Mapping[str, int]:
        with self._lock:
            versions = [(name, v) for name, one in self._credentials.items() for _, v in sorted(one.versions.items())]
        return {name: version.serial for name, version in versions if version.state is VersionState.CURRENT}

    def set_due(self, name: str, due_at: datetime | None) -> None:
        with self._lock:
            if name in self._credentials:
                self._credentials[name] = replace(self._credentials[name], due_at=due_at)

    def set_check(self, name: str, check_at: datetime | None) -> None:
        with self._lock:
            if name in self._credentials:
                self._credentials[name] = replace(self._credentials[name], check_at=check_at)

    def to_check(self, now: datetime) -> Sequence[str]:
        with self._lock:
            idle = [one for name, one in self._credentials.items() if name not in self._live]
        return [
            name for _, name in sorted((one.check_at, one.name) for one in idle if one.check_at and one.check_at <= now)
        ]

    def due(self, now: datetime) -> Sequence[str]:
        with self._lock:
            due = [(one.due_at, name) for name, one in self._credentials.items() if one.due_at and one.due_at <= now]
        return [name for _, name in sorted(due)]

    def key_ids(self, key_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        with self._lock:
            return {key_id: sorted(self._key_ids[key_id]) for key_id in key_ids if self._key_ids.get(key_id)}

    def bind(self, credential: str, target: str, backend_id: str, serial: int) -> None:
        with self._lock:
            self._registered(credential)
            self._bindings.setdefault(credential, {})[target, backend_id] = serial

    def bindings(self, credential: str) -> Mapping[tuple[str, str], int]:
        with self._lock:
            return dict(self._bindings.get(credential, {}))

    # Rotations

    def begin(self, rotation: Rotation, entry: HistoryEntry, *, claim: Lease | None = None) -> None:
        with self._lock:
            self._leases.fence(claim)
            name = rotation.credential
            known = self._registered(name)
            if name in self._live:
                raise Refused(f"a rotation of {name} is under way: {self._live[name]}")
            self._check_beginning(rotation, known.versions)
            self._begin(rotation, [entry])

    def live(self) -> Sequence[Rotation]:
        with self._lock:
            return [self._rotations[one] for one in self._live.values()]

    def rotating(self) -> Sequence[str]:
        with self._lock:
            return list(self._live)

    def rotation(self, id: str) -> Rotation | None:
        with self._lock:
            return self._rotations.get(id)

    def revision(self, id: str) -> int | None:
        found = self.rotation(id)
        return None if found is None else found.revision

    def live_of(self, credential: str) -> Rotation | None:
        with self._lock:
            found = self._live.get(credential)
            return None if found is None else self._rotations[found]

    def latest_of(self, credential: str) -> Rotation | None:
        with self._lock:
            found = self._latest.get(credential)
            return None if found is None else self._rotations[found]

    def commit(self, commit: Commit) -> Rotation:
        with self._lock:
            self._leases.fence(commit.claim)
            before = self._rotations.get(commit.rotation.id)
            resting = commit.rotation.credential not in self._live
            moving = before is not None and (before.live or (resting and before.phase is commit.rotation.phase))
            if before is None or not moving or before.revision != commit.rotation.revision:
                raise StaleRevision(
                    f"rotation {commit.rotation.id} has moved since revision {commit.rotation.revision}: read it again"
                )
            after = replace(commit.rotation, revision=before.revision + 1)
            known = self._credentials[after.credential]
            check_marks(after.credential, known.versions, after.versions)
            if commit.successor is not None:
                check_successor(after, commit.successor)
                self._check_beginning(commit.successor, {**known.versions, **after.versions})
            now = self._now()
            self._rotations[after.id] = after
            self._put_versions(after.credential, after.versions)
            self._journal.open(after, commit.intents, now)
            self._outbox.queue(commit.messages, commit.notifiers, now)
            self._append(commit.history)
            if not before.live:
                self._credentials[after.credential] = replace(
                    self._credentials[after.credential], check_at=commit.check_at
                )
            elif not after.live:
                del self._live[after.credential]
                self._detectors.pop(after.id, None)
                ended = self._credentials[after.credential]
                self._credentials[after.credential] = replace(
                    ended,
                    due_at=commit.due_at,
                    check_at=commit.check_at,
                    rolled_back=rolled_back(ended.rolled_back, after.phase),
                )
            if commit.successor is not None:
                self._begin(commit.successor, [commit.successor_entry] if commit.successor_entry else [])
            return after

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        with self._lock:
            self._journal.record(effect_id, attempt, outcome)

    def journal(self, rotation: str) -> Mapping[str, Intent]:
        with self._lock:
            return self._journal.of(rotation)

    def open_intents(self, credential: str) -> Sequence[Intent]:
        with self._lock:
            return self._journal.open_of(credential)

    def mints(self) -> Sequence[Intent]:
        with self._lock:
            return self._journal.mints()

    def uncertain(self, credential: str) -> frozenset[tuple[EffectKind, int]]:
        with self._lock:
            ended = [one.id for one in self._rotations.values() if one.credential == credential and not one.live]
            return self._journal.uncertain(ended, self._now())

    def history(self, credential: str, *, limit: int = 1000) -> Sequence[HistoryEntry]:
        with self._lock:
            entries = self._history.get(credential, [])
            return entries[max(0, len(entries) - limit) :]

    # Usage

    def sources(self) -> Mapping[str, SourceState]:
        with self._lock:
            return self._usage.sources()

    def add_usage(
        self, told: Sequence[Told], *, received_at: datetime, claim: Lease | None = None
    ) -> Sequence[bool | Refused]:
        with self._lock:
            self._leases.fence(claim)
            answers = [self._usage.add(one, received_at) for one in told]
            for one, answer in zip(told, answers, strict=True):
                for message, notifiers in one.alerts if answer is True else ():
                    self._outbox.queue([message], notifiers, received_at)
            return answers

    def forget_batches(self, before: datetime) -> None:
        with self._lock:
            self._usage.forget_batches(before)

    def usage(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None = None
    ) -> Sequence[UsageRow]:
        with self._lock:
            return self._usage.rows(credential, start=start, end=end, sources=sources)

    def uses(self, credential: str) -> Mapping[tuple[str, int, str], Uses]:
        with self._lock:
            return self._usage.uses(credential)

    def forget_uses(self, credential: str, before: datetime) -> None:
        with self._lock:
            known = self._credentials[credential].versions.values()
            self._usage.forget_uses(credential, {v.serial for v in known if v.state is VersionState.DESTROYED}, before)

    def pooled(self, credential: str) -> Mapping[tuple[int, str], Pooled]:
        with self._lock:
            return self._usage.pooled(credential)

    def holes(self, source: str) -> Sequence[Hole]:
        with self._lock:
            return self._usage.holes(source)

    def set_blind(self, source: str, since: datetime | None, trouble: str) -> None:
        with self._lock:
            self._usage.set_blind(source, since, trouble)

    def dismiss(self, dismissal: Dismissal, entry: HistoryEntry) -> None:
        with self._lock:
            self._dismissals.setdefault(entry.credential, {})[dismissal.client] = dismissal
            self._append([entry])

    def dismissals(self, credential: str) -> Mapping[str, Dismissal]:
        with self._lock:
            return dict(self._dismissals.get(credential, {}))

    def acknowledge(self, acknowledgement: Acknowledgement, entry: HistoryEntry) -> None:
        with self._lock:
            said = self._acknowledgements.setdefault(entry.credential, {})
            said[acknowledgement.client, acknowledgement.serial] = acknowledgement
            self._append([entry])

    def acknowledgements(self, credential: str) -> Mapping[tuple[str, int], Acknowledgement]:
        with self._lock:
            return dict(self._acknowledgements.get(credential, {}))

    def with_usage(self) -> Sequence[str]:
        with self._lock:
            return self._usage.credentials()

    def roll_up(self, credential: str, before: datetime) -> bool:
        with self._lock:
            return self._usage.roll_up(credential, before)

    def forget_slots(self, credential: str, before: datetime) -> None:
        with self._lock:
            self._usage.forget_slots(credential, before)

    def use_starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        with self._lock:
            return self._usage.starts(credential, client, end=end)

    def detector(self, rotation: str) -> str | None:
        with self._lock:
            return self._detectors.get(rotation)

    def save_detector(self, rotation: str, state: str) -> None:
        with self._lock:
            self._detectors[rotation] = state

    def forget_detectors(self) -> None:
        with self._lock:
            self._detectors = {one: self._detectors[one] for one in self._live.values() if one in self._detectors}

    # Outbox

    def enqueue(self, messages: Sequence[Message], notifiers: Sequence[str], *, now: datetime) -> None:
        with self._lock:
            self._outbox.queue(messages, notifiers, now)

    def outbox(self, now: datetime, *, limit: int = 100, without: frozenset[str] = frozenset()) -> Sequence[OutboxItem]:
        with self._lock:
            return self._outbox.due(now, limit, without)

    def delivered(self, item: int, *, at: datetime) -> None:
        with self._lock:
            self._outbox.close(item, at)

    def undelivered(self, item: int, *, retry_at: datetime | None, error: str) -> None:  # noqa: ARG002
        with self._lock:
            if retry_at is None:
                self._outbox.close(item, self._now())
            else:
                self._outbox.retry(item, retry_at)

    def forget_messages(self, before: datetime) -> bool:
        with self._lock:
            return self._outbox.forget(before)

    # Leases and access

    def claim(self, names: Sequence[str], owner: str, *, ttl: timedelta) -> Sequence[Lease]:
        with self._lock:
            return self._leases.claim(names, owner, ttl, self._now())

    def holds(self, lease: Lease) -> bool:
        with self._lock:
            return self._leases.holds(lease)

    def release(self, lease: Lease) -> None:
        with self._lock:
            self._leases.release(lease)

    def resign(self, owner: str) -> None:
        with self._lock:
            self._leases.resign(owner)

    def tokens(self) -> Sequence[AccessToken]:
        with self._lock:
            return [self._tokens[name] for name in sorted(self._tokens)]

    def add_token(self, token: AccessToken) -> None:
        with self._lock:
            self._tokens[token.name] = token

    def pin(self, name: str, digest: str) -> str:
        with self._lock:
            return self._pins.setdefault(name, digest)

    def close(self) -> None:
        """Nothing to give back: what it holds goes with it."""

    # Inside the lock

    def _registered(self, name: str) -> Credential:
        if name not in self._credentials:
            raise Refused(f"no credential {name} is registered")
        return self._credentials[name]

    def _check_beginning(self, rotation: Rotation, known: Mapping[int, Version]) -> None:
        if rotation.id in self._rotations:
            raise Refused(f"there was a rotation {rotation.id} already; give each an id of its own")
        check_serial(rotation, self._credentials[rotation.credential].next_serial)
        check_marks(rotation.credential, known, rotation.versions)

    def _begin(self, rotation: Rotation, entries: Sequence[HistoryEntry]) -> None:
        name = rotation.credential
        known = self._credentials[name]
        self._credentials[name] = replace(known, next_serial=rotation.incoming + 1, due_at=None, check_at=None)
        self._put_versions(name, rotation.versions)
        self._rotations[rotation.id] = rotation
        self._live[name] = self._latest[name] = rotation.id
        self._append(entries)

    def _put_versions(self, name: str, versions: Mapping[int, Version]) -> None:
        known = self._credentials[name]
        changed = {serial: version for serial, version in versions.items() if known.versions.get(serial) != version}
        if changed:
            self._credentials[name] = replace(known, versions={**known.versions, **changed})
        for serial, version in changed.items():
            before = known.versions.get(serial)
            if before is not None and before.key_id is not None:
                self._key_ids[before.key_id].discard((name, serial))
            if version.key_id is not None:
                self._key_ids.setdefault(version.key_id, set()).add((name, serial))

    def _append(self, entries: Sequence[HistoryEntry]) -> None:
        for entry in entries:
            lines = self._history.setdefault(entry.credential, [])
            lines.append(linked(lines[-1].digest if lines else "", entry))
