"""Carries one effect out against the world, and says how it went. Idempotent: what was half done is finished."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import Absent, Conflict, Failure, FailureKind, Invalid, StaleRevision, Transient
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Acceptance
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.ports.clock import Clock
from keyturn.ports.issuer import ValueOrigin
from keyturn.ports.records import IntentState, Outcome
from keyturn.ports.store import Store
from keyturn.runtime.claims import Claim, Claims
from keyturn.runtime.looking import renewing
from keyturn.runtime.orphans import sort_out
from keyturn.runtime.registry import Registry, WiredCredential
from keyturn.runtime.retries import AtOnce, Wait, backoff, delay
from keyturn.runtime.sending import Sender
from keyturn.runtime.values import copy_token, is_another, mint_token, promote_token, second_token, value_of

log = structlog.get_logger(__name__)

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
    claims: Claims
    fingerprint_key: bytes
    at_once: AtOnce
    turns: dict[str, threading.Lock] = field(default_factory=dict)
    """Leases are the process's; threads of it take turns."""

    def run(self, effect: Effect, rotation: Rotation, attempt: int, claim: Claim) -> Outcome:
        """Carry `effect` out and record the outcome by its id.

        Before each call that changes anything, claim and rotation are read again: when a command has moved it
        meanwhile, or another replica has taken it over, nothing is sent.
        """
        outcome = self._attempt(effect, rotation, attempt, claim)
        # An outcome that is not recorded is found out again by looking; but the database may be back in a moment.
        self.at_once.run(effect.id, lambda: self.store.record(effect.id, attempt, outcome))
        if not claim.lasts(timedelta(0)):
            # Whoever slept between the last look and the call may have sent it long after the rotation's end, when nobody
            # looks closely any more: what it has changed is looked for at the next tick (promise P7).
            self.store.set_check(rotation.credential, self.clock.now())
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

    def _attempt(self, effect: Effect, rotation: Rotation, attempt: int, claim: Claim) -> Outcome:
        wired = self.registry.credential(rotation.credential)
        sender = Sender(store=self.store, rotation=rotation, claim=claim)
        try:
            made = self._perform(effect, rotation, wired, sender)
        except StaleRevision as error:
            if not sender.sent:
                return Outcome(state=IntentState.NOT_SENT, at=self.clock.now(), message=str(error))
            # Of several calls the first were made: whatever they left is looked for in the world.
            return Outcome(
                state=IntentState.FAILED,
                at=self.clock.now(),
                failure=FailureKind.TRANSIENT,
                message=f"interrupted: {error}",
            )
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

    def _perform(self, effect: Effect, rotation: Rotation, wired: WiredCredential, sender: Sender) -> Made | None:
        match effect.kind:
            case EffectKind.PROVE_DEAD:
                sender.check()
                self._prove_dead(effect, rotation, wired, sender)
            case EffectKind.INSTALL | EffectKind.ENABLE | EffectKind.DISABLE | EffectKind.REVOKE:
                key_id = self._key_id(effect.serial, rotation)
                if key_id is None:
                    raise Absent(f"v{effect.serial} of {rotation.credential} was never minted")
                with self._lease(wired, sender):
                    self._at_authority(effect, rotation, wired, key_id, sender)
            case _:
                return self._at_target(effect, rotation, wired, sender)
        return None

    def _key_id(self, serial: int, rotation: Rotation) -> str | None:
        """A version's public id; one that an earlier rotation destroyed is known by the store alone."""
        version = rotation.versions.get(serial)
        if version is None:
            credential = self.store.credential(rotation.credential)
            version = credential.versions.get(serial) if credential is not None else None
        return version.key_id if version is not None else None

    def _at_target(self, effect: Effect, rotation: Rotation, wired: WiredCredential, sender: Sender) -> Made | None:
        target = wired.targets.get(effect.target or "")
        if target is None:
            raise Absent(f"{wired.name} has no target {effect.target!r} in the configuration any more")
        token = copy_token(rotation, effect.serial)
        send = partial(sender.send, within=target.timeout)
        match effect.kind:
            case EffectKind.MINT:
                return self._mint(effect, rotation, wired, target, token, sender)
            case EffectKind.KEEP:
                send(lambda: target.keep(token, serving=effect.expected or ""))
            case EffectKind.STAGE:
                value = self._value(effect.serial, rotation, wired, sender)
                send(lambda: target.stage(token, value))
            case EffectKind.PROMOTE:
                promoted = promote_token(effect.id)
                copy = self._copy_of(effect.serial, rotation, wired, target, token, sender)
                backend_id = send(lambda: target.promote(copy, expected=effect.expected, token=promoted))
                self.store.bind(rotation.credential, effect.target or "", backend_id, effect.serial)
            case EffectKind.REMOVE:
                served = self._served(effect, rotation)
                send(lambda: target.remove(effect.expected or token, served=served))
            case EffectKind.MARK:
                key_id = rotation.versions[effect.serial].key_id
                send(lambda: target.mark(key_id or ""))
        return None

    def _value(self, serial: int, rotation: Rotation, wired: WiredCredential, sender: Sender) -> SecretValue:
        """A version's value. Where many targets do not answer, reading it takes longer than a claim lasts."""
        return value_of(rotation, serial, renewing(wired, sender.renew).targets.values(), self.fingerprint_key)

    def _copy_of(
        self, serial: int, rotation: Rotation, wired: WiredCredential, target: Target, token: str, sender: Sender
    ) -> str:
        """The token of a copy at a target that holds the version's value: readers are given no other (promise P1)."""
        if not is_another(target, token, rotation, serial, self.fingerprint_key):
            return token
        value = self._value(serial, rotation, wired, sender)
        sender.send(lambda: target.stage(second_token(token), value), within=target.timeout)
        return second_token(token)

    def _mint(
        self, effect: Effect, rotation: Rotation, wired: WiredCredential, target: Target, token: str, sender: Sender
    ) -> Made:
        """Staged at once, so that a rerun finds the value again instead of making another. One that is adopted is kept as
        it is found."""
        expected = effect.expected
        if expected is not None:
            with suppress(Absent):
                backend_id, found = target.read()
                if backend_id == expected:
                    # Before it is kept: a copy under our token would name it as the version.
                    self._check_new(wired.issuer.key_id(found), effect, rotation)
            sender.send(lambda: target.keep(token, serving=expected), within=target.timeout)
        try:
            value = target.fetch(token)
        except Absent:
            mark = mint_token(wired.name, effect.serial)
            if wired.issuer.origin is ValueOrigin.AUTHORITY:
                value = self._have_made(rotation, wired, target, token, mark, sender)
            else:
                value = self._make(wired, target, token, mark, sender)
        made = Made(key_id=wired.issuer.key_id(value), fingerprint=value.fingerprint(self.fingerprint_key))
        if expected is not None:
            self._check_new(made.key_id, effect, rotation)
        return made

    def _check_new(self, key_id: str, effect: Effect, rotation: Rotation) -> None:
        """Raises `Invalid` where what is to be adopted is a version already: taken for two, the one would be taken away from
        under the readers of the other. What is not configured has no readers that are cared for: it was renamed."""
        for name, serial in self.store.key_ids([key_id]).get(key_id, ()):
            if name in self.registry.credentials and (name, serial) != (rotation.credential, effect.serial):
                raise Invalid(
                    f"what readers of {effect.target} get is v{serial} of {name} already: one key is one version"
                )

    def _make(self, wired: WiredCredential, target: Target, token: str, mark: str, sender: Sender) -> SecretValue:
        """A value of our own: nobody else has it before it is staged."""
        minted = sender.send(lambda: wired.issuer.mint(mark), within=wired.issuer.timeout).value
        try:
            sender.send(lambda: target.stage(token, minted), within=target.timeout)
        except Conflict:
            return target.fetch(token)
        return minted

    def _have_made(
        self, rotation: Rotation, wired: WiredCredential, target: Target, token: str, mark: str, sender: Sender
    ) -> SecretValue:
        """A value that the authority makes: what an earlier try of ours has left there goes first, since nobody has its
        secret. What is not proven ours is left alone, and stops the mint."""
        issuer = wired.issuer
        send = partial(sender.send, within=issuer.timeout)
        with self._lease(wired, sender):
            orphans = sort_out(self.store, rotation.credential, issuer.issued())
            strange = [one.key_id for one in orphans.strangers if one.key_id not in rotation.passed]
            if strange:
                raise Conflict(f"no version knows {', '.join(strange)}, which the authority holds for {wired.name}")
            verifiers = issuer.verifiers()
            for one in orphans.ours:
                log.info("orphan revoked", credential=wired.name, key=one.key_id, made=str(one.created_at))
                send(partial(issuer.revoke, one.key_id, verifiers))
            minted = send(lambda: issuer.mint(mark))
            try:
                sender.send(lambda: target.stage(token, minted.value), within=target.timeout)
            except Conflict:
                # A replica that had lost its claim came first: its key is taken, unless it is gone already.
                other = target.fetch(token)
                if issuer.key_id(other) not in {one.key_id for one in orphans.ours}:
                    send(lambda: issuer.revoke(minted.key_id, verifiers))
                    return other
                sender.send(lambda: target.remove(token), within=target.timeout)
                sender.send(lambda: target.stage(token, minted.value), within=target.timeout)
        return minted.value

    def _served(self, effect: Effect, rotation: Rotation) -> list[str]:
        """Ids under which the target once gave the version to readers; none of the one that they are to go on getting."""
        if effect.serial == rotation.survivor:
            return []
        return [
            backend_id
            for (target, backend_id), serial in self.store.bindings(rotation.credential).items()
            if target == effect.target and serial == effect.serial
        ]

    def _at_authority(
        self, effect: Effect, rotation: Rotation, wired: WiredCredential, key_id: str, sender: Sender
    ) -> None:
        issuer, verifiers = wired.issuer, effect.verifiers
        send = partial(sender.send, within=issuer.timeout)
        match effect.kind:
            case EffectKind.DISABLE:
                send(lambda: issuer.disable(key_id, verifiers))
                return
            case EffectKind.REVOKE:
                send(lambda: issuer.revoke(key_id, verifiers))
                return
            case EffectKind.ENABLE:
                with suppress(Absent):
                    send(lambda: issuer.enable(key_id, verifiers))
                    return
        # Also where a verifier that joined or was rebuilt has no entry left to enable.
        value = self._value(effect.serial, rotation, wired, sender)
        send(lambda: issuer.install(key_id, value, verifiers))

    def _prove_dead(self, effect: Effect, rotation: Rotation, wired: WiredCredential, sender: Sender) -> None:
        key_id = rotation.versions[effect.serial].key_id or ""
        value = self._value(effect.serial, rotation, wired, sender)
        for verifier in effect.verifiers:
            found = wired.issuer.probe(verifier, key_id, value)
            if found not in (Acceptance.REFUSED, Acceptance.DISABLED):
                raise Transient(f"{verifier} does not refuse v{effect.serial} yet: {found}")

    @contextmanager
    def _lease(self, wired: WiredCredential, sender: Sender) -> Iterator[None]:
        """Hold the lease of what several credentials share at the authority, for one read-modify-write (promise P7)."""
        name = wired.issuer.lease
        if name is None:
            yield
            return
        with self.turns.setdefault(name, threading.Lock()):
            claim = self.claims.take_one(f"authority/{name}")
            if claim is None:
                raise StaleRevision(f"another replica holds the lease of {name}")
            try:
                with sender.under(claim):
                    yield
            finally:
                claim.release()


def _waits(effect: Effect) -> Wait:
    return backoff(effect.id, first=FIRST_RETRY, longest=LAST_RETRY)
