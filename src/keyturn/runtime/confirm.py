"""Takes a credential into care by a person's word, where memory and world may differ: a store that was restored from a
backup, or one that was lost whole. Looking changes nothing; what was seen is confirmed by its code, and by no other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from keyturn.domain.differences import differences
from keyturn.domain.effects import Message
from keyturn.domain.errors import Failure, Refused, Transient
from keyturn.domain.model import Adopting, Rotation, Version, VersionState
from keyturn.domain.observations import Entry, Observations, ServingKind
from keyturn.domain.situation import Situation
from keyturn.domain.succession import taken_in, with_keys
from keyturn.ports.clock import Clock
from keyturn.ports.records import Commit, Credential, HistoryEntry
from keyturn.ports.store import Store
from keyturn.runtime.adopt import LEFT, check_apart, plan_rotation, remember, started
from keyturn.runtime.gather import Gather
from keyturn.runtime.registry import WiredCredential
from keyturn.runtime.survey import Rebuilt, rebuild, survey, unremembered
from keyturn.runtime.trail import commanded

log = structlog.get_logger(__name__)

REPORT_EVERY = timedelta(minutes=1)
"""How often what a backup remembers is compared with the world, until somebody confirms it: no more often than that."""
REPORTS_A_TICK = 8
"""So many are compared in one tick; of hundreds whose backend is slow each has its turn, and no tick waits for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What was found of a credential, and what follows when that is confirmed."""

    name: str
    found: tuple[str, ...]
    """A line each; nothing where everything is as the store remembers it."""
    code: str
    """Stands for just this: what is confirmed must be what was shown."""
    follows: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The world beside what a backup remembers."""

    rotation: Rotation
    """The one under way, or the one that would start."""
    live: bool
    seen: Observations
    differences: tuple[str, ...]
    """What the rotation does not explain."""
    found: tuple[Version, ...]
    """Versions that no rotation of the store leads to an end."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What is different, a line each."""
        return (*self.differences, *map(_line, self.found))

    @property
    def unfinished(self) -> bool:
        """Whether a rotation has to bring something to its end: of a version that is dead the mark alone may be left."""
        left = [one for one in self.found if one.fingerprint is not None or one.state is not VersionState.DESTROYED]
        return bool(self.differences or left)

    @property
    def adoption(self) -> Adoption:
        """What people are shown of it."""
        if not self.lines:
            follows = "everything is as the store remembers it: the credential is taken up again"
        elif not self.unfinished:
            follows = "that is remembered, and the credential is taken up again"
        elif self.live:
            follows = f"{self.rotation.id} gives way to a rotation that takes over every version from what is there"
        else:
            follows = "a rotation starts that brings everything to what is there"
        return _adoption(self.rotation.credential, self.lines, follows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Looks, and takes what is confirmed into the store."""

    store: Store
    gather: Gather
    clock: Clock
    fingerprint_key: bytes
    looked: dict[str, datetime] = field(default_factory=dict)
    """When a credential had its last turn to be compared for the report, here or at the replica that has claimed it."""

    def to_report(self, restored: Sequence[str]) -> list[str]:
        """Of these credentials the few whose turn it is: those that have waited longest, and longest of all whoever never
        had any."""
        now, never = self.clock.now(), datetime.min.replace(tzinfo=UTC)
        waiting = [name for name in restored if now - self.looked.get(name, never) >= REPORT_EVERY]
        turn = sorted(waiting, key=lambda name: self.looked.get(name, never))[:REPORTS_A_TICK]
        self.looked.update(dict.fromkeys(turn, now))
        return turn

    def report(self, wired: WiredCredential) -> None:
        """Tell what has changed since the backup, and again whenever that has changed; once that it cannot be told, and why.
        Raises as `look` does."""
        try:
            adoption = self.look(wired)
        except Failure as error:
            known = self.store.credential(wired.name)
            since = known.restored_at.isoformat() if known is not None and known.restored_at is not None else ""
            self._tell(wired, f"unseen/{since}", f"what has changed cannot be told now: {error}")
            raise
        found = "; ".join(adoption.found) or "no difference"
        log.warning("restored and not confirmed", credential=wired.name, found=found, code=adoption.code)
        self._tell(wired, adoption.code, found)

    def _tell(self, wired: WiredCredential, what: str, found: str) -> None:
        message = Message(
            id=f"{wired.name}/restored/{what}",
            topic="credential.restored",
            text=f"{wired.name}: its store is from a backup, and nothing is done for it until `keyturn adopt {wired.name}` "
            f"is confirmed: {found}",
            details=(("credential", wired.name),),
        )
        self.store.enqueue([message], wired.notifiers, now=self.clock.now())

    def look(self, wired: WiredCredential, code: str | None = None) -> Adoption:
        """What would be adopted. Raises `Refused` when there is nothing to adopt, when another credential has the key, or
        when the code that is given stands for another world, and `Transient` or `Denied` when something cannot be read."""
        known = self.store.credential(wired.name)
        adoption = self._rebuild(wired)[0] if known is None else self._compare(wired, known).adoption
        if code is not None:
            _check(adoption, code)
        return adoption

    def confirm(self, wired: WiredCredential, code: str, *, by: str, why: str) -> Adoption:
        """Adopt what was shown under this code. Raises `Refused` when the world has become another since."""
        now, known = self.clock.now(), self.store.credential(wired.name)
        if known is None:
            adoption, rebuilt = self._rebuild(wired)
            _check(adoption, code)
            entry = _entry(adoption, None, by=by, why=why, now=now)
            remember(self.store, self.gather.registry, wired, rebuilt, now, [entry])
            return adoption
        compared = self._compare(wired, known)
        adoption = compared.adoption
        _check(adoption, code)
        self.store.found(wired.name, compared.found)
        if compared.unfinished:
            self._go_by_the_world(wired, compared, by=by, why=why, now=now)
        elif (rotation := self.store.latest_of(wired.name)) is not None:
            entry = _entry(adoption, rotation, by=by, why=why, now=now)
            self.store.commit(Commit(rotation=rotation, history=[entry], check_at=now))
        self.store.confirm(wired.name)
        if self.store.live_of(wired.name) is None:
            self.store.set_check(wired.name, now)
        return adoption

    def _rebuild(self, wired: WiredCredential) -> tuple[Adoption, Rebuilt]:
        """What the world shows of a credential that no store remembers."""
        found = survey(wired, self.fingerprint_key)
        if found.unasked:
            raise Transient(f"{', '.join(found.unasked)} cannot be asked now: nothing is known of what is accepted")
        rebuilt = rebuild(found, self.clock.now())
        check_apart(self.store, self.gather.registry, wired.name, rebuilt.current)
        follows = f"v{rebuilt.current.serial} is taken into care as what readers get; nothing outside is changed"
        return _adoption(wired.name, tuple(rebuilt.lines(found)), follows), rebuilt

    def _compare(self, wired: WiredCredential, known: Credential) -> Compared:
        """The world beside what a restored store remembers."""
        if known.restored_at is None:
            raise Refused(f"{wired.name} is in care and its store was not restored: see `keyturn status {wired.name}`")
        now = self.clock.now()
        live = self.store.live_of(wired.name)
        rotation = live or plan_rotation(self.store, wired, by="keyturn", now=now, unconfirmed=True)
        rotation = wired.at_its_targets(rotation, now)
        seen = self.gather.observe(rotation)
        if seen.found:
            # Its own copy tells what the rotation has made since: readers who get that get no stranger's value.
            rotation = with_keys(rotation, seen.found)
            seen = self.gather.observe(rotation)
        return Compared(
            rotation=rotation,
            live=live is not None,
            seen=seen,
            differences=tuple(differences(Situation(rotation=rotation, seen=seen, now=now))),
            # A confirmation that was interrupted has remembered some already, and nothing else of them.
            found=(*_left(known, live), *unremembered(wired, known, live, self.fingerprint_key, now)),
        )

    def _go_by_the_world(self, wired: WiredCredential, compared: Compared, *, by: str, why: str, now: datetime) -> None:
        rotation, seen = compared.rotation, compared.seen
        adopting = _foreign(rotation, seen)
        said = f"{by}: restored from a backup, and the world has moved: {why}"
        if compared.live:
            entry = _entry(compared.adoption, rotation, by=by, why=why, now=now)
            given_up = replace(rotation, abandoned=said, accepted=adopting, hold=None, halted=None, pause=None)
            self.store.commit(Commit(rotation=taken_in(given_up, compared.found, now), history=[entry]))
            return
        planned = plan_rotation(self.store, wired, by=by, now=now, unconfirmed=True, adopting=adopting)
        # What the authority has not any more is no way back, whatever the backup says.
        gone = frozenset(serial for serial in planned.outgoing if _gone(seen, serial))
        self.store.begin(replace(planned, revoked=gone), started(planned, why=said, now=now))


def _check(adoption: Adoption, code: str) -> None:
    if adoption.code != code:
        name = adoption.name
        raise Refused(f"{name} is not as it was when {code} stood for it: look at `keyturn adopt {name}` again")


def _entry(adoption: Adoption, rotation: Rotation | None, *, by: str, why: str, now: datetime) -> HistoryEntry:
    evidence = {"found": list(adoption.found)}
    return commanded(adoption.name, rotation, f"adopt: {why}", by=by, now=now, evidence=evidence)


def _adoption(name: str, found: Sequence[str], follows: str) -> Adoption:
    code = hashlib.sha256("\n".join((name, *found, follows)).encode()).hexdigest()[:10]
    return Adoption(name=name, found=tuple(found), code=code, follows=follows)


def _left(known: Credential, live: Rotation | None) -> list[Version]:
    """What the store remembers as alive, or disabled, beside what readers get and what the live rotation has."""
    apart = [
        version for serial, version in sorted(known.versions.items()) if live is None or serial not in live.versions
    ]
    return [version for version in apart if version.key_id is not None and version.state in LEFT]


def _line(version: Version) -> str:
    listed = "dead" if version.state is VersionState.DESTROYED else "alive"
    mark = ", and it is marked compromised" if version.compromised_at is not None else ""
    return f"v{version.serial} ({version.key_id}) was made by a rotation that the store does not know: it is {listed}{mark}"


def _gone(seen: Observations, serial: int) -> bool:
    """Whether a version is revoked somewhere, or nowhere to be found."""
    entries = {verifier.entries.get(serial, Entry.UNKNOWN) for verifier in seen.verifiers.values()}
    return Entry.REVOKED in entries or entries == {Entry.ABSENT}


def _foreign(rotation: Rotation, seen: Observations) -> Adopting | None:
    """What readers get that the store does not know, to be the next version: at the first target that has any."""
    for target in rotation.targets:
        serving = seen.targets[target].serving
        if serving.kind is ServingKind.FOREIGN and serving.id is not None:
            return Adopting(target=target, id=serving.id)
    return None
