"""What backends and authority tell of a credential that no store remembers. Nothing is changed, and values are let go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

from keyturn.domain.errors import Absent, Failure, Refused, Transient
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.observations import Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target, TargetView
from keyturn.ports.records import Credential
from keyturn.runtime.registry import WiredCredential
from keyturn.runtime.values import copy_token, named_serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A value by what may be remembered of it."""

    key_id: str
    fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One credential, as its targets and its authority show it."""

    served: Mapping[str, tuple[str, Known]]
    """By target: the backend's id of what readers get, and what it is."""
    copies: Mapping[Known, int]
    """What is left of a rotation that nobody remembers, with the serial that our tokens name."""
    marked: frozenset[str]
    """Public key ids that are marked compromised beside the secret."""
    entries: Mapping[str, frozenset[Entry]]
    """By key id: what the verifiers list it as; a key that one of them lacks is absent there."""
    strangers: tuple[str, ...] = ()
    """Keys that the authority holds for this credential, and that are at no target."""
    unasked: tuple[str, ...] = ()
    """Verifiers that could not be asked."""

    @property
    def plain(self) -> bool:
        """Whether it looks as a credential does that keyturn has never had: one value everywhere, and nothing of ours."""
        return not self.copies and len({known for _, known in self.served.values()}) == 1


def survey(wired: WiredCredential, fingerprint_key: bytes) -> Survey:
    """Look at everything. Raises `Refused` when a target is empty, `Transient` or `Denied` when one cannot be read, and
    `Invalid` for a value that is none of the issuer's. A verifier that cannot be asked is named: what it lists is not
    known."""
    served: dict[str, tuple[str, Known]] = {}
    copies: dict[Known, int] = {}
    marked: set[str] = set()
    for name, target in wired.targets.items():
        view = target.view()
        marked |= view.marked
        try:
            backend_id, value = target.read()
        except Absent:
            raise Refused(
                f"target {name} of {wired.name} holds nothing: put the credential's present value there first"
            ) from None
        served[name] = backend_id, _known(wired, value, fingerprint_key)
        copies |= _copies(wired, target, view, fingerprint_key)
    names = {known.key_id for _, known in served.values()} | {known.key_id for known in copies} | marked
    entries, unasked = _entries(wired, names)
    return Survey(
        served=served,
        copies=copies,
        marked=frozenset(marked),
        entries=entries,
        strangers=() if unasked else _strangers(wired, names),
        unasked=unasked,
    )


def unremembered(
    wired: WiredCredential, credential: Credential, live: Rotation | None, fingerprint_key: bytes, now: datetime
) -> tuple[Version, ...]:
    """Versions that our copies and the marks beside the secret tell of, and that a store from a backup does not know: of a
    rotation that began later. What readers get is not among them: differences name it. Raises `Transient` or `Denied` where
    something cannot be read."""
    own = {copy_token(live, serial) for serial in live.versions} if live is not None else set()
    served: set[str] = set()
    copies: dict[Known, int] = {}
    marked: set[str] = set()
    for target in wired.targets.values():
        view = target.view()
        marked |= view.marked
        copies |= _copies(wired, target, replace(view, copies=view.copies - own), fingerprint_key)
        with suppress(Absent):
            served.add(wired.issuer.key_id(target.read()[1]))
    remembered = {version.key_id for version in credential.versions.values()} | served
    found = {known: serial for known, serial in copies.items() if known.key_id not in remembered}
    remembered |= {known.key_id for known in found}
    only_marked = [Known(key_id=key_id, fingerprint=None) for key_id in sorted(marked - remembered)]
    entries, unasked = _entries(wired, {known.key_id for known in (*found, *only_marked)})
    if unasked and entries:
        raise Transient(f"{', '.join(unasked)} cannot be asked now: nothing is known of what is accepted")
    taken = {serial for serial, version in credential.versions.items() if version.key_id is not None}
    serials = _numbered(found, taken)
    free = count(max([credential.next_serial - 1, *serials.values()]) + 1)
    serials |= {known: next(free) for known in only_marked}
    return tuple(_version(known, serial, entries, marked, now) for known, serial in serials.items())


def _known(wired: WiredCredential, value: SecretValue, fingerprint_key: bytes) -> Known:
    return Known(key_id=wired.issuer.key_id(value), fingerprint=value.fingerprint(fingerprint_key))


def _copies(wired: WiredCredential, target: Target, view: TargetView, fingerprint_key: bytes) -> dict[Known, int]:
    named = {token: named_serial(wired.name, token) for token in sorted(view.copies)}
    return {
        _known(wired, target.fetch(token), fingerprint_key): serial
        for token, serial in named.items()
        if serial is not None
    }


def _numbered(copies: Mapping[Known, int], taken: Collection[int]) -> dict[Known, int]:
    """A serial for each: the one that its copy names, where no other has it."""
    serials: dict[Known, int] = {}
    last = max([*copies.values(), *taken], default=0)
    for known, serial in sorted(copies.items(), key=lambda one: (one[1], one[0].key_id)):
        used = {*taken, *serials.values()}
        serials[known] = serial if serial not in used else max(last, *used) + 1
    return serials


def _entries(wired: WiredCredential, key_ids: Collection[str]) -> tuple[dict[str, frozenset[Entry]], tuple[str, ...]]:
    """What the verifiers list each key as, and those that cannot be asked."""
    tables, unasked = _tables(wired)
    unknown = {Entry.UNKNOWN} if unasked or not tables else set()
    return {
        key_id: frozenset(table.get(key_id, Entry.ABSENT) for table in tables) | unknown for key_id in sorted(key_ids)
    }, unasked


def _version(
    known: Known, serial: int, entries: Mapping[str, frozenset[Entry]], marked: Collection[str], now: datetime
) -> Version:
    return Version(
        serial=serial,
        state=_state(entries[known.key_id]),
        key_id=known.key_id,
        fingerprint=known.fingerprint,
        compromised_at=now if known.key_id in marked else None,
    )


def _tables(wired: WiredCredential) -> tuple[list[Mapping[str, Entry]], tuple[str, ...]]:
    """What each verifier lists, and those that cannot be asked."""
    tables, unasked = [], []
    try:
        verifiers = wired.issuer.verifiers()
    except Failure:
        return [], ("the authority",)
    for verifier in verifiers:
        try:
            tables.append(wired.issuer.entries(verifier))
        except Failure:
            unasked.append(verifier)
    return tables, tuple(unasked)


def _strangers(wired: WiredCredential, known: set[str]) -> tuple[str, ...]:
    return tuple(one.key_id for one in wired.issuer.issued() if one.key_id not in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a store is to remember of a credential after a survey."""

    current: Version
    others: tuple[Version, ...]
    bindings: Mapping[tuple[str, str], int]

    def lines(self, found: Survey) -> Iterator[str]:
        """What was found, a line for each version and each stranger."""
        for version in sorted((self.current, *self.others), key=lambda one: one.serial):
            at = sorted({target for (target, _), serial in self.bindings.items() if serial == version.serial})
            listed = ", ".join(sorted(found.entries.get(version.key_id or "", frozenset({Entry.ABSENT}))))
            mark = ", marked compromised" if version.compromised_at is not None else ""
            readers = f"readers of {', '.join(at)} get it" if at else "no reader gets it"
            yield f"v{version.serial} ({version.key_id}): {version.state}{mark}; {readers}; the authority has it {listed}"
        for key_id in found.strangers:
            yield f"{key_id}: the authority holds it and no target does; it stops the next mint"


def rebuild(found: Survey, now: datetime) -> Rebuilt:
    """Name every version that a survey shows. What our copies name keeps its serial; keys of which only the mark is left
    come before what readers get, which is the newest. Of several that are served the one at most targets is current."""
    serials = _numbered(found.copies, ())
    taken = frozenset(serials.values())
    free = (number for number in count(1) if number not in taken)
    named = {known.key_id for known in (*serials, *(known for _, known in found.served.values()))}
    for key_id in sorted(found.marked - named):
        serials[Known(key_id=key_id, fingerprint=None)] = next(free)
    for _, known in found.served.values():
        serials.setdefault(known, max(serials.values(), default=0) + 1)
    readers = [serials[known] for _, known in found.served.values()]
    marked = {serial for known, serial in serials.items() if known.key_id in found.marked}

    def rank(serial: int) -> tuple[bool, int, int]:
        return serial not in marked, readers.count(serial), serial

    current = max(set(readers), key=rank)
    versions = {serial: _version(known, serial, found.entries, found.marked, now) for known, serial in serials.items()}
    return Rebuilt(
        current=replace(versions.pop(current), state=VersionState.CURRENT),
        others=tuple(versions[serial] for serial in sorted(versions)),
        bindings={(target, backend_id): serials[known] for target, (backend_id, known) in found.served.items()},
    )


def _state(listed: frozenset[Entry]) -> VersionState:
    """As alive as any verifier has it."""
    if listed <= {Entry.REVOKED, Entry.ABSENT}:
        return VersionState.DESTROYED
    return VersionState.PREVIOUS if listed & {Entry.ACTIVE, Entry.UNKNOWN} else VersionState.DISABLED
