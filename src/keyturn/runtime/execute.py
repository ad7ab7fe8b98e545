"""Carries one effect out against the world, and says how it went. Idempotent: what was half done is finished."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import Absent, Conflict, Failure, StaleRevision, Transient
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance
from keyturn.ports.backend import Target
from keyturn.ports.clock import Clock
from keyturn.ports.store import IntentState, Outcome, Store
from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.retries import AtOnce, Wait, backoff, delay
from keyturn.runtime.values import copy_token, promote_token, value_of

log = structlog.get_logger(__name__)

TABLE_LEASE = timedelta(seconds=60)
"""Longer than any call it covers: a plugin's own timeouts end well before it does."""
FIRST_RETRY = timedelta(milliseconds=500)
LAST_RETRY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a mint made, by public facts alone."""

    key_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """Runs effects of committed decisions."""

    store: Store
    registry: Registry
    clock: Clock
    owner: str
    fingerprint_key: bytes
    at_once: AtOnce
    turns: dict[str, threading.Lock] = field(default_factory=dict)
    """The lease is the process's; threads of it take turns."""

    def run(self, effect: Effect, rotation: Rotation, attempt: int) -> Outcome:
        """Carry `effect` out and record the outcome by its id.

        Before the call, the rotation is read again: when a command has moved it meanwhile, nothing is sent.
        """
        outcome = self._attempt(effect, rotation, attempt)
        # An outcome that is not recorded is found out again by looking; but the database may be back in a moment.
        self.at_once.run(effect.id, lambda: self.store.record(effect.id, attempt, outcome))
        log.info(
            "effect",
            credential=rotation.credential,
            effect=effect.id,
            attempt=attempt,
            state=outcome.state,
            failure=outcome.failure,
            message=outcome.message or None,
        )
        return outcome

    def _attempt(self, effect: Effect, rotation: Rotation, attempt: int) -> Outcome:
        wired = self.registry.credential(rotation.credential)
        try:
            self._still_current(rotation)
            made = self._perform(effect, rotation, wired)
        except StaleRevision as error:
            return Outcome(state=IntentState.NOT_SENT, at=self.clock.now(), message=str(error))
        except Failure as error:
            return Outcome(
                state=IntentState.FAILED,
                at=self.clock.now(),
                failure=error.kind,
                message=error.message,
                retry_at=self.clock.now() + delay(error, attempt, _waits(effect)),
            )
        return Outcome(
            state=IntentState.SUCCEEDED,
            at=self.clock.now(),
            key_id=made.key_id if made is not None else None,
            fingerprint=made.fingerprint if made is not None else None,
        )

    def _still_current(self, rotation: Rotation) -> None:
        stored = self.store.rotation(rotation.id)
        if stored is None or stored.revision != rotation.revision:
            raise StaleRevision(f"{rotation.credential} has moved since this was decided")

    def _perform(self, effect: Effect, rotation: Rotation, wired: WiredCredential) -> Made | None:
        key_id = rotation.versions[effect.serial].key_id
        match effect.kind:
            case EffectKind.MINT:
                return self._mint(effect, rotation, wired)
            case EffectKind.KEEP:
                token = copy_token(rotation.credential, effect.serial)
                self._target(effect, wired).keep(token, serving=effect.expected or "")
            case EffectKind.STAGE:
                value = value_of(rotation, effect.serial, wired.targets.values(), self.fingerprint_key)
                self._target(effect, wired).stage(copy_token(rotation.credential, effect.serial), value)
            case EffectKind.PROMOTE:
                self._promote(effect, rotation, wired)
            case EffectKind.REMOVE:
                self._remove(effect, rotation, wired)
            case EffectKind.MARK:
                self._target(effect, wired).mark(key_id or "")
            case EffectKind.PROVE_DEAD:
                self._prove_dead(effect, rotation, wired)
            case EffectKind.INSTALL | EffectKind.ENABLE | EffectKind.DISABLE | EffectKind.REVOKE:
                if key_id is None:
                    raise Absent(f"v{effect.serial} of {rotation.credential} was never minted")
                with self._lease(wired):
                    self._still_current(rotation)
                    self._at_authority(effect, rotation, wired, key_id)
        return None

    def _mint(self, effect: Effect, rotation: Rotation, wired: WiredCredential) -> Made:
        """Staged first, so that a rerun finds the value again instead of making another. One that is adopted is kept as it
        is found."""
        target = self._target(effect, wired)
        token = copy_token(rotation.credential, effect.serial)
        if effect.expected is not None:
            target.keep(token, serving=effect.expected)
        try:
            value = target.fetch(token)
        except Absent:
            minted = wired.issuer.mint(token)
            try:
                target.stage(token, minted.value)
                value = minted.value
            except Conflict:
                value = target.fetch(token)
        return Made(key_id=wired.issuer.key_id(value), fingerprint=value.fingerprint(self.fingerprint_key))

    def _promote(self, effect: Effect, rotation: Rotation, wired: WiredCredential) -> None:
        backend_id = self._target(effect, wired).promote(
            copy_token(rotation.credential, effect.serial), expected=effect.expected, token=promote_token(effect.id)
        )
        self.store.bind(rotation.credential, effect.target or "", backend_id, effect.serial)

    def _remove(self, effect: Effect, rotation: Rotation, wired: WiredCredential) -> None:
        bindings = self.store.bindings(rotation.credential)
        served = [
            backend_id
            for (target, backend_id), serial in bindings.items()
            if target == effect.target and serial == effect.serial
        ]
        self._target(effect, wired).remove(copy_token(rotation.credential, effect.serial), served=served)

    def _at_authority(self, effect: Effect, rotation: Rotation, wired: WiredCredential, key_id: str) -> None:
        issuer, verifiers = wired.issuer, effect.verifiers
        match effect.kind:
            case EffectKind.DISABLE:
                issuer.disable(key_id, verifiers)
                return
            case EffectKind.REVOKE:
                issuer.revoke(key_id, verifiers)
                return
            case EffectKind.ENABLE:
                with suppress(Absent):
                    issuer.enable(key_id, verifiers)
                    return
        # Also where a verifier that joined or was rebuilt has no entry left to enable.
        value = value_of(rotation, effect.serial, wired.targets.values(), self.fingerprint_key)
        issuer.install(key_id, value, verifiers)

    def _prove_dead(self, effect: Effect, rotation: Rotation, wired: WiredCredential) -> None:
        key_id = rotation.versions[effect.serial].key_id or ""
        value = value_of(rotation, effect.serial, wired.targets.values(), self.fingerprint_key)
        for verifier in effect.verifiers:
            found = wired.issuer.probe(verifier, key_id, value)
            if found not in (Acceptance.REFUSED, Acceptance.DISABLED):
                raise Transient(f"{verifier} does not refuse v{effect.serial} yet: {found}")

    def _target(self, effect: Effect, wired: WiredCredential) -> Target:
        target = wired.targets.get(effect.target or "")
        if target is None:
            raise Absent(f"{wired.name} has no target {effect.target!r} in the configuration any more")
        return target

    @contextmanager
    def _lease(self, wired: WiredCredential) -> Iterator[None]:
        """Hold the lease of what several credentials share at the authority, for one read-modify-write (promise P7)."""
        name = wired.issuer.lease
        if name is None:
            yield
            return
        with self.turns.setdefault(name, threading.Lock()):
            lease = self.store.acquire(f"authority/{name}", self.owner, ttl=TABLE_LEASE, now=self.clock.now())
            if lease is None:
                raise Transient(f"another writer holds the lease of {name}")
            try:
                yield
            finally:
                self.store.release(lease)


def _waits(effect: Effect) -> Wait:
    return backoff(effect.id, first=FIRST_RETRY, longest=LAST_RETRY)
