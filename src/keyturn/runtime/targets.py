"""What is at one rotation's targets: what readers get, and the copies that are kept there, told by token and by value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from keyturn.domain.errors import Absent, Failure, Invalid
from keyturn.domain.model import Rotation, Version
from keyturn.domain.observations import Obstacle, Serving, ServingKind, TargetSeen
from keyturn.ports.backend import Target
from keyturn.ports.executor import Executor
from keyturn.ports.store import Store
from keyturn.runtime.registry import WiredCredential
from keyturn.runtime.retries import AtOnce
from keyturn.runtime.values import copy_token, identify, is_another, named_serial

log = structlog.get_logger(__name__)

UNREADABLE = TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Looks at them."""

    store: Store
    executor: Executor
    fingerprint_key: bytes
    at_once: AtOnce

    def look(self, rotation: Rotation, wired: WiredCredential, known: Mapping[int, Version]) -> dict[str, TargetSeen]:
        """Every target of the rotation, by name; `known`: all versions of its credential."""
        bindings = self.store.bindings(rotation.credential)
        adopted = self._adopted(rotation, wired)
        seen = self.executor.run(
            [self._look_at(rotation, wired, name, bindings, known, adopted) for name in rotation.targets]
        )
        return dict(zip(rotation.targets, seen, strict=True))

    def found(
        self, rotation: Rotation, wired: WiredCredential, seen: Mapping[str, TargetSeen]
    ) -> dict[int, tuple[str, str]]:
        """What copies tell of versions whose making was never recorded: a mint that came late, or of another rotation."""
        unknown = {serial for serial, version in rotation.versions.items() if version.key_id is None}
        found: dict[int, tuple[str, str]] = {}
        for name, target in seen.items() if unknown else ():
            for serial in sorted(unknown & (target.copies or frozenset()) - set(found)):
                try:
                    value = wired.targets[name].fetch(copy_token(rotation, serial))
                    found[serial] = wired.issuer.key_id(value), value.fingerprint(self.fingerprint_key)
                except Failure as error:
                    log.debug("copy unreadable", credential=rotation.credential, version=serial, error=error.message)
        return found

    def hold_another(
        self, rotation: Rotation, wired: WiredCredential, serial: int, seen: Mapping[str, TargetSeen]
    ) -> bool:
        """Whether every copy of a version that was seen is read, and is another value: of a mint whose answer was lost, or
        of another's hand. What is read as absent may be on its way."""
        tokens = {
            name: copy_token(rotation, serial) if serial in target.copies else target.left.get(serial)
            for name, target in seen.items()
            if target.copies is not None
        }
        try:
            others = [
                is_another(wired.targets[name], token, rotation, serial, self.fingerprint_key)
                for name, token in tokens.items()
                if token is not None
            ]
        except Failure as error:
            log.debug("copy unreadable", credential=rotation.credential, version=serial, error=error.message)
            return False
        return len(tokens) == len(seen) and bool(others) and all(others)

    def _adopted(self, rotation: Rotation, wired: WiredCredential) -> dict[str, int]:
        """The fingerprint of what is to be adopted, while it still is where it was found and no version has it yet: other
        targets may have it from the same hand."""
        adopting, target = rotation.adopting, None
        if adopting is not None and rotation.versions[rotation.incoming].fingerprint is None:
            target = wired.targets.get(adopting.target)
        if adopting is None or target is None:
            return {}
        try:
            backend_id, value = self.at_once.run(f"{wired.name}/{adopting.target}/read", target.read)
        except Failure as error:
            log.debug("value to adopt unreadable", credential=wired.name, target=adopting.target, error=error.message)
            return {}
        return {value.fingerprint(self.fingerprint_key): rotation.incoming} if backend_id == adopting.id else {}

    def _look_at(
        self,
        rotation: Rotation,
        wired: WiredCredential,
        name: str,
        bindings: Mapping[tuple[str, str], int],
        known: Mapping[int, Version],
        adopted: Mapping[str, int],
    ) -> Callable[[], TargetSeen]:
        target = wired.targets.get(name)

        def look() -> TargetSeen:
            if target is None:
                return UNREADABLE
            try:
                view = self.at_once.run(f"{rotation.credential}/{name}/view", target.view)
                copies, left, unnamed = _copies(rotation, known, view.copies)
                # One whose token names no version may be one all the same, under another serial since a store was restored.
                ours = {**_fingerprints(known), **adopted} if unnamed else {}
                told = {token: self._copied(target, token, ours) for token in unnamed}
                left |= {serial: token for token, serial in told.items() if serial is not None}
                unknown = [token for token, serial in told.items() if serial is None]
                foreign = tuple(Obstacle(what=f.what, id=f.id, since=f.since) for f in view.foreign)
                return TargetSeen(
                    serving=self._recognise(rotation, name, target, view.serving, bindings, known, adopted),
                    copies=copies,
                    left=left,
                    obstacles=foreign + tuple(Obstacle(what="no version knows", id=t, since=None) for t in unknown),
                    marked=frozenset(s for s, v in rotation.versions.items() if v.key_id in view.marked),
                )
            except Failure as error:
                log.warning("target unreadable", credential=rotation.credential, target=name, error=error.message)
                return UNREADABLE

        return look

    def _copied(self, target: Target, token: str, ours: Mapping[str, int]) -> int | None:
        """Which version of ours a copy is; None for any other value, and for what is no text."""
        try:
            return identify(target.fetch(token), ours, self.fingerprint_key)
        except Invalid:
            return None

    def _recognise(
        self,
        rotation: Rotation,
        name: str,
        target: Target,
        backend_id: str | None,
        bindings: Mapping[tuple[str, str], int],
        known: Mapping[int, Version],
        adopted: Mapping[str, int],
    ) -> Serving:
        """Which version of ours a backend's id is: by what was remembered, else by the value's fingerprint."""
        if backend_id is None:
            return Serving(kind=ServingKind.MISSING)
        serial = bindings.get((name, backend_id))
        if serial is None:
            try:
                backend_id, value = self.at_once.run(f"{rotation.credential}/{name}/read", target.read)
            except (Absent, Invalid):
                # By another's hand readers get what is no credential: no text, or a document without the field.
                return Serving(kind=ServingKind.FOREIGN, id=backend_id)
            serial = identify(value, _fingerprints(known), self.fingerprint_key)
            if serial is None:
                # Not remembered: whether it is a version of ours is only decided when its mint is on record.
                serial = identify(value, adopted, self.fingerprint_key)
                kind = ServingKind.FOREIGN if serial is None else ServingKind.OURS
                return Serving(kind=kind, serial=serial, id=backend_id)
            self.store.bind(rotation.credential, name, backend_id, serial)
        return Serving(kind=ServingKind.OURS, serial=serial, id=backend_id)


def _copies(
    rotation: Rotation, known: Mapping[int, Version], tokens: Collection[str]
) -> tuple[frozenset[int], dict[int, str], list[str]]:
    """The serials of the rotation's copies, by serial those that another has left, and the tokens of ours that name no
    version of the credential: what is left of a store that was lost, or of another keyturn's work."""
    own: set[int] = set()
    left: dict[int, str] = {}
    unknown: list[str] = []
    for token in sorted(tokens):
        serial = named_serial(rotation.credential, token)
        if serial is None:
            continue
        if serial not in known:
            unknown.append(token)
        elif token == copy_token(rotation, serial):
            own.add(serial)
        else:
            left[serial] = token
    return frozenset(own), left, unknown


def _fingerprints(known: Mapping[int, Version]) -> dict[str, int]:
    return {version.fingerprint: serial for serial, version in known.items() if version.fingerprint is not None}
