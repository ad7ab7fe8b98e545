"""Reads the world afresh for one rotation: targets, verifiers, usage, journal. Whatever cannot be read is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from keyturn.domain.errors import Absent, Denied, Failure, Transient
from keyturn.domain.model import Rotation, Version, VersionState
from keyturn.domain.observations import (
    Acceptance,
    EffectSeen,
    Entry,
    Observations,
    Obstacle,
    TargetSeen,
    UsageSeen,
    VerifierSeen,
)
from keyturn.domain.phases import Phase
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.executor import Executor
from keyturn.ports.issuer import ValueOrigin
from keyturn.ports.records import Intent, IntentState
from keyturn.ports.store import Store
from keyturn.runtime.claims import Claim
from keyturn.runtime.evidence import Silences, observe_usage
from keyturn.runtime.looking import renewing
from keyturn.runtime.orphans import Orphans, sort_out
from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.retries import AtOnce
from keyturn.runtime.targets import Targets
from keyturn.runtime.values import value_of

log = structlog.get_logger(__name__)

ALIVE = (Entry.ACTIVE, Entry.DISABLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Makes the observations of one tick."""

    store: Store
    registry: Registry
    executor: Executor
    fingerprint_key: bytes
    silences: Silences
    at_once: AtOnce
    targets: Targets

    def observe(self, rotation: Rotation, claim: Claim | None = None) -> Observations:
        """Everything that can be known of the rotation's world now. Under a claim, which is renewed meanwhile, it raises
        `StaleRevision` once another replica has that."""
        wired = self.registry.credential(rotation.credential)
        if claim is not None:
            wired = renewing(wired, claim.renew)
        credential = self.store.credential(rotation.credential)
        known = {**(credential.versions if credential is not None else {}), **rotation.versions}
        seen = self.targets.look(rotation, wired, known)
        values, lost = self._values(rotation, wired, seen)
        verifiers = self._ask_verifiers(rotation, wired, known, values)
        orphans = self._orphans(rotation, wired)
        return Observations(
            targets=seen,
            lost=lost,
            compromised=frozenset(
                serial
                for serial, version in known.items()
                if version.compromised_at is not None and serial not in rotation.versions
            ),
            verifiers=verifiers,
            # Nothing that is done between rotations rests on use.
            usage=UsageSeen() if rotation.phase.is_end else observe_usage(self.silences, self.registry, rotation),
            effects={name: effect_seen(intent) for name, intent in self.store.journal(rotation.id).items()},
            late=self.store.uncertain(rotation.credential),
            found=self.targets.found(rotation, wired, seen),
            strangers=tuple(
                Obstacle(what="no version knows the key", id=one.key_id, since=one.created_at)
                for one in orphans.strangers
            ),
            orphans=tuple(
                Obstacle(what="nobody has the secret of our own key", id=one.key_id, since=one.created_at)
                for one in orphans.ours
            ),
            room=self._room(wired, orphans),
        )

    def _values(
        self, rotation: Rotation, wired: WiredCredential, targets: Mapping[str, TargetSeen]
    ) -> tuple[dict[int, SecretValue], frozenset[int]]:
        """What can be presented, and the versions of which every copy that is there holds another value."""
        # What this look could not read is not asked again for each version: a cut waits for every answer that is late.
        asked = [
            target for name, target in wired.targets.items() if name not in targets or targets[name].copies is not None
        ]
        values: dict[int, SecretValue] = {}
        lost = set()
        for serial, version in rotation.versions.items():
            if version.key_id is None or _nowhere(serial, targets):
                continue
            try:
                values[serial] = value_of(rotation, serial, asked, self.fingerprint_key)
            except (Absent, Transient, Denied) as error:
                log.debug("value unreadable", credential=rotation.credential, version=serial, error=error.message)
                if isinstance(error, Absent) and self.targets.hold_another(rotation, wired, serial, targets):
                    lost.add(serial)
        return values, frozenset(lost)

    def _ask_verifiers(
        self,
        rotation: Rotation,
        wired: WiredCredential,
        known: Mapping[int, Version],
        values: Mapping[int, SecretValue],
    ) -> dict[str, VerifierSeen]:
        try:
            names = sorted(self.at_once.run(f"{rotation.credential}/verifiers", wired.issuer.verifiers))
        except Failure as error:
            log.warning("authority unreachable", credential=rotation.credential, error=error.message)
            return {}
        minted = {serial: v.key_id for serial, v in rotation.versions.items() if v.key_id is not None}
        buried = _buried(rotation, known)

        def ask(verifier: str) -> Callable[[], VerifierSeen]:
            return lambda: self._ask(wired, verifier, minted, values, buried)

        return dict(zip(names, self.executor.run([ask(name) for name in names]), strict=True))

    def _ask(
        self,
        wired: WiredCredential,
        verifier: str,
        minted: Mapping[int, str],
        values: Mapping[int, SecretValue],
        buried: Mapping[str, int],
    ) -> VerifierSeen:
        acceptance = {}
        risen: frozenset[int] = frozenset()
        for serial, value in values.items():
            acceptance[serial] = self._tried(wired, verifier, minted[serial], value)
        try:
            listed = self.at_once.run(f"{wired.name}/{verifier}/entries", lambda: wired.issuer.entries(verifier))
            entries = {serial: listed.get(key_id, Entry.ABSENT) for serial, key_id in minted.items()}
            risen = frozenset(serial for key_id, serial in buried.items() if listed.get(key_id) in ALIVE)
        except Failure as error:
            log.warning("listing failed", credential=wired.name, verifier=verifier, error=error.message)
            entries = {}
        return VerifierSeen(acceptance=acceptance, entries=entries, risen=risen)

    def _tried(self, wired: WiredCredential, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        """What the verifier says to a version. One lost answer is no verdict: in an emergency whoever cannot be reached is
        left out."""

        def answered() -> Acceptance:
            found = wired.issuer.probe(verifier, key_id, value)
            if found is Acceptance.UNREACHABLE:
                raise Transient(f"{verifier} cannot be reached")
            return found

        try:
            return self.at_once.run(f"{wired.name}/{verifier}/probe", answered)
        except Failure as error:
            log.warning("probe failed", credential=wired.name, verifier=verifier, error=error.message)
            return Acceptance.UNREACHABLE

    def _orphans(self, rotation: Rotation, wired: WiredCredential) -> Orphans:
        """What the authority holds that nobody knows, looked for before anything is minted, and between rotations where a
        mint that comes late leaves a key. Where it cannot be asked the mint itself will ask again."""
        unminted = rotation.phase is Phase.INTRODUCE and rotation.versions[rotation.incoming].key_id is None
        if not (unminted or (rotation.phase.is_end and wired.issuer.origin is ValueOrigin.AUTHORITY)):
            return Orphans()
        try:
            issued = self.at_once.run(f"{wired.name}/issued", wired.issuer.issued)
            return sort_out(self.store, wired.name, issued)
        except Failure as error:
            log.warning("issued keys unknown", credential=wired.name, error=error.message)
            return Orphans()

    def _room(self, wired: WiredCredential, orphans: Orphans) -> int | None:
        try:
            room = self.at_once.run(f"{wired.name}/room", wired.issuer.room)
        except Failure as error:
            log.warning("room unknown", credential=wired.name, error=error.message)
            return None
        # The mint takes our own orphans away first.
        return None if room is None else room + len(orphans.ours)


def _nowhere(serial: int, targets: Mapping[str, TargetSeen]) -> bool:
    """Whether the targets that were just looked at hold no value of a version."""
    return not any(
        target.copies is None or serial in target.copies or serial in target.left or target.serving.serial == serial
        for target in targets.values()
    )


def _buried(rotation: Rotation, known: Mapping[int, Version]) -> dict[str, int]:
    """By key id, the versions that earlier rotations destroyed."""
    return {
        version.key_id: serial
        for serial, version in known.items()
        if version.state is VersionState.DESTROYED and version.key_id is not None and serial not in rotation.versions
    }


def effect_seen(intent: Intent) -> EffectSeen:
    """The journal's word on one effect, as decisions use it."""
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
        at=outcome.at,
        failure=outcome.failure,
        message=outcome.message,
        retry_at=outcome.retry_at,
        key_id=outcome.key_id,
        fingerprint=outcome.fingerprint,
    )
