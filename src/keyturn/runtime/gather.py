"""Reads the world afresh for one rotation: targets, verifiers, usage, journal. Whatever cannot be read is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from keyturn.domain.errors import Absent, Denied, Failure, Transient
from keyturn.domain.model import Rotation
from keyturn.domain.observations import (
    Acceptance,
    EffectSeen,
    Entry,
    Observations,
    Obstacle,
    Serving,
    ServingKind,
    TargetSeen,
    VerifierSeen,
)
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.ports.executor import Executor
from keyturn.ports.records import Intent, IntentState
from keyturn.ports.store import Store
from keyturn.runtime.evidence import Silences, observe_usage
from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.retries import AtOnce
from keyturn.runtime.values import copied_serial, copy_token, identify, value_of

log = structlog.get_logger(__name__)

UNREADABLE = TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Makes the observations of one tick."""

    store: Store
    registry: Registry
    executor: Executor
    fingerprint_key: bytes
    silences: Silences
    at_once: AtOnce

    def observe(self, rotation: Rotation) -> Observations:
        """Everything that can be known of the rotation's world now."""
        wired = self.registry.credential(rotation.credential)
        bindings = self.store.bindings(rotation.credential)
        targets = self.executor.run([self._look_at(rotation, wired, name, bindings) for name in rotation.targets])
        verifiers = self._ask_verifiers(rotation, wired)
        seen = dict(zip(rotation.targets, targets, strict=True))
        return Observations(
            targets=seen,
            verifiers=verifiers,
            usage=observe_usage(self.silences, self.registry, rotation),
            effects={name: _seen(intent) for name, intent in self.store.journal(rotation.id).items()},
            late=self.store.uncertain(rotation.credential),
            found=self._found(rotation, wired, seen),
            room=self._room(wired),
        )

    def _found(
        self, rotation: Rotation, wired: WiredCredential, seen: Mapping[str, TargetSeen]
    ) -> dict[int, tuple[str, str]]:
        """What copies tell of versions whose making was never recorded: a mint that came late, or of another rotation."""
        unknown = {serial for serial, version in rotation.versions.items() if version.key_id is None}
        found: dict[int, tuple[str, str]] = {}
        for name, target in seen.items():
            for serial in sorted(unknown & (target.copies or frozenset()) - set(found)):
                try:
                    value = wired.targets[name].fetch(copy_token(rotation.credential, serial))
                    found[serial] = wired.issuer.key_id(value), value.fingerprint(self.fingerprint_key)
                except Failure as error:
                    log.debug("copy unreadable", credential=rotation.credential, version=serial, error=error.message)
        return found

    def _look_at(
        self, rotation: Rotation, wired: WiredCredential, name: str, bindings: Mapping[tuple[str, str], int]
    ) -> Callable[[], TargetSeen]:
        target = wired.targets.get(name)

        def look() -> TargetSeen:
            if target is None:
                return UNREADABLE
            try:
                view = self.at_once.run(f"{rotation.credential}/{name}/view", target.view)
                copies = {copied_serial(rotation.credential, token) for token in view.copies}
                return TargetSeen(
                    serving=self._recognise(rotation, name, target, view.serving, bindings),
                    copies=frozenset(serial for serial in copies if serial is not None),
                    obstacles=tuple(Obstacle(what=f.what, id=f.id, since=f.since) for f in view.foreign),
                    marked=frozenset(s for s, v in rotation.versions.items() if v.key_id in view.marked),
                )
            except Failure as error:
                log.warning("target unreadable", credential=rotation.credential, target=name, error=error.message)
                return UNREADABLE

        return look

    def _recognise(
        self,
        rotation: Rotation,
        name: str,
        target: Target,
        backend_id: str | None,
        bindings: Mapping[tuple[str, str], int],
    ) -> Serving:
        """Which version of ours a backend's id is: by what was remembered, else by the value's fingerprint."""
        if backend_id is None:
            return Serving(kind=ServingKind.MISSING)
        serial = bindings.get((name, backend_id))
        if serial is None:
            credential = self.store.credential(rotation.credential)
            known = {} if credential is None else credential.versions
            fingerprints = {
                version.fingerprint: number
                for number, version in {**known, **rotation.versions}.items()
                if version.fingerprint is not None
            }
            try:
                backend_id, value = self.at_once.run(f"{rotation.credential}/{name}/read", target.read)
            except Absent:
                return Serving(kind=ServingKind.MISSING)
            serial = identify(value, fingerprints, self.fingerprint_key)
            if serial is None:
                return Serving(kind=ServingKind.FOREIGN, id=backend_id)
            self.store.bind(rotation.credential, name, backend_id, serial)
        return Serving(kind=ServingKind.OURS, serial=serial, id=backend_id)

    def _ask_verifiers(self, rotation: Rotation, wired: WiredCredential) -> dict[str, VerifierSeen]:
        try:
            names = sorted(self.at_once.run(f"{rotation.credential}/verifiers", wired.issuer.verifiers))
        except Failure as error:
            log.warning("authority unreachable", credential=rotation.credential, error=error.message)
            return {}
        minted = {serial: v.key_id for serial, v in rotation.versions.items() if v.key_id is not None}
        values: dict[int, SecretValue] = {}
        for serial in minted:
            try:
                values[serial] = value_of(rotation, serial, wired.targets.values(), self.fingerprint_key)
            except (Absent, Transient, Denied) as error:
                log.debug("value unreadable", credential=rotation.credential, version=serial, error=error.message)

        def ask(verifier: str) -> Callable[[], VerifierSeen]:
            return lambda: self._ask(wired, verifier, minted, values)

        return dict(zip(names, self.executor.run([ask(name) for name in names]), strict=True))

    def _ask(
        self, wired: WiredCredential, verifier: str, minted: Mapping[int, str], values: Mapping[int, SecretValue]
    ) -> VerifierSeen:
        acceptance = {}
        for serial, value in values.items():
            try:
                acceptance[serial] = wired.issuer.probe(verifier, minted[serial], value)
            except Failure as error:
                log.warning("probe failed", credential=wired.name, verifier=verifier, error=error.message)
                acceptance[serial] = Acceptance.UNREACHABLE
        try:
            listed = self.at_once.run(f"{wired.name}/{verifier}/entries", lambda: wired.issuer.entries(verifier))
            entries = {serial: listed.get(key_id, Entry.ABSENT) for serial, key_id in minted.items()}
        except Failure as error:
            log.warning("listing failed", credential=wired.name, verifier=verifier, error=error.message)
            entries = {}
        return VerifierSeen(acceptance=acceptance, entries=entries)

    def _room(self, wired: WiredCredential) -> int | None:
        try:
            return self.at_once.run(f"{wired.name}/room", wired.issuer.room)
        except Failure as error:
            log.warning("room unknown", credential=wired.name, error=error.message)
            return None


def _seen(intent: Intent) -> EffectSeen:
    outcome = intent.outcome
    effect = intent.effect
    if outcome is None:
        return EffectSeen(
            kind=effect.kind, serial=effect.serial, target=effect.target, attempts=intent.attempts, succeeded=False
        )
    return EffectSeen(
        kind=effect.kind,
        serial=effect.serial,
        target=effect.target,
        attempts=intent.attempts,
        succeeded=outcome.state is IntentState.SUCCEEDED,
        failure=outcome.failure,
        message=outcome.message,
        retry_at=outcome.retry_at,
        key_id=outcome.key_id,
        fingerprint=outcome.fingerprint,
    )
