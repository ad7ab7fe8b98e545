"""The token that requests carry: where it comes from, and how it is kept alive.

Nothing here runs by itself. A token is renewed by the first request after two thirds of its life; one that has died
unnoticed is found out by a 403.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.domain.errors import ConfigError, Denied, Failure, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault.connection import Answer, Connection, Deadline, failure_of
from keyturn.plugins.vault.options import AppRoleOptions, VaultOptions
from keyturn.ports.plugin import Surroundings

RENEW_AFTER = 2 / 3
"""The part of its life after which a token is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A token in use, with times of the monotonic clock; None: it does not end, or we may not ask when."""

    token: SecretValue
    life: float | None
    renewable: bool
    renew_at: float | None


class Login(ABC):
    """Gives out a live token."""

    def __init__(self, connection: Connection, surroundings: Surroundings) -> None:
        self._connection = connection
        self._surroundings = surroundings
        self._held: Held | None = None
        self._lock = threading.Lock()

    def token(self, deadline: Deadline) -> SecretValue:
        """The token for the next request, obtained or renewed first if that is due."""
        with self._lock:
            if self._held is None:
                self._held = self._obtain(deadline)
            elif self._held.renew_at is not None and self._surroundings.clock.monotonic() >= self._held.renew_at:
                self._held = self._renew(self._held, deadline)
            return self._held.token

    def replace(self, refused: SecretValue, deadline: Deadline) -> SecretValue | None:
        """Another token after a 403 with `refused`, if it was refused for being dead; None: the token lives, and it is
        the policy that says no."""
        with self._lock:
            if self._held is not None and self._held.token != refused:
                return self._held.token
            asked = self._connection.send("get", "auth/token/lookup-self", token=refused, deadline=deadline)
            if asked.status == 200:
                return None
            if asked.status != 403:
                raise failure_of(asked, where="vault: auth/token/lookup-self")
            self._held = None
            self._held = self._obtain(deadline)
            return self._held.token

    @abstractmethod
    def _obtain(self, deadline: Deadline) -> Held:
        """A token from its source."""

    @abstractmethod
    def close(self, deadline: Deadline) -> None:
        """Give back what is ours."""

    def _renew(self, held: Held, deadline: Deadline) -> Held:
        """The same token with a new lease of life, or another one where it cannot live on."""
        if not held.renewable:
            return self._obtain(deadline)
        try:
            answer = self._connection.send("post", "auth/token/renew-self", {}, token=held.token, deadline=deadline)
        except Transient:
            return self._later(held)
        if answer.status == 200:
            renewed = self._hold(held.token, answer.body.get("auth"))
            # Close to its maximal life a token is renewed for ever shorter spans.
            if renewed.life is None or held.life is None or renewed.life > held.life / 2:
                return Held(token=renewed.token, life=held.life, renewable=renewed.renewable, renew_at=renewed.renew_at)
            return self._obtain(deadline)
        if answer.status in {400, 403}:
            return self._obtain(deadline)
        return self._later(held)

    def _later(self, held: Held) -> Held:
        """The token lives a while still: the request at hand need not wait for a renewal that does not go through."""
        pause = (held.life or 0) / 20
        at = self._surroundings.clock.monotonic() + pause
        return Held(token=held.token, life=held.life, renewable=held.renewable, renew_at=at)

    def _hold(self, token: SecretValue, auth: object) -> Held:
        said: Mapping[str, Any] = auth if isinstance(auth, Mapping) else {}
        seconds = said.get("lease_duration", said.get("ttl"))
        life = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
        renew_at = None if life is None else self._surroundings.clock.monotonic() + life * RENEW_AFTER
        return Held(token=token, life=life, renewable=bool(said.get("renewable")), renew_at=renew_at)

    def _resolve(self, reference: str) -> SecretValue:
        try:
            return self._surroundings.resolve(reference)
        except ConfigError as error:
            # It may be mounted or set in a moment, and then nobody needs to have come.
            raise Transient(f"vault: no credentials to log in with: {error}") from None


class TokenLogin(Login):
    """A token that somebody else made: renewed while that is possible, read anew from its reference when it died."""

    def __init__(self, connection: Connection, surroundings: Surroundings, reference: str) -> None:
        super().__init__(connection, surroundings)
        self._reference = reference

    def _obtain(self, deadline: Deadline) -> Held:
        token = self._resolve(self._reference)
        asked = self._connection.send("get", "auth/token/lookup-self", token=token, deadline=deadline)
        if asked.status == 200:
            return self._hold(token, asked.data)
        if asked.status != 403:
            raise failure_of(asked, where="vault: auth/token/lookup-self")
        # Dead, or without the default policy: only a request that matters can tell.
        return Held(token=token, life=None, renewable=False, renew_at=None)

    def close(self, deadline: Deadline) -> None:
        """The token belongs to whoever made it."""
        del deadline


class AppRoleLogin(Login):
    """Tokens of our own, by role id and secret id."""

    def __init__(self, connection: Connection, surroundings: Surroundings, options: AppRoleOptions) -> None:
        super().__init__(connection, surroundings)
        self._options = options

    def _obtain(self, deadline: Deadline) -> Held:
        secret_id = self._resolve(self._options.secret_id)
        body = {"role_id": self._options.role_id, "secret_id": secret_id.reveal()}
        path = f"auth/{self._options.mount}/login"
        answer = self._connection.send("post", path, body, token=None, deadline=deadline)
        auth = answer.body.get("auth")
        if answer.status != 200 or not isinstance(auth, Mapping):
            raise _login_failure(answer, path)
        return self._hold(SecretValue(str(auth.get("client_token"))), auth)

    def close(self, deadline: Deadline) -> None:
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            self._connection.send("post", "auth/token/revoke-self", {}, token=held.token, deadline=deadline)


def _login_failure(answer: Answer, path: str) -> Failure:
    if answer.status == 400 and not answer.complains_of("upgrading"):
        # What KV answers to a failed check-and-set, AppRole answers to a wrong secret id.
        return Denied(f"vault: {path}: role id or secret id refused (HTTP 400); make a new secret id")
    if answer.status in {403, 404}:
        # A login needs no permission; 403 is how a client without a token hears that nothing is there.
        mend = "enable AppRole there or set `auth.approle.mount`"
        return Denied(f"vault: {path}: no such auth method (HTTP {answer.status}); {mend}")
    return failure_of(answer, where=f"vault: {path}")


def make_login(options: VaultOptions, connection: Connection, surroundings: Surroundings) -> Login:
    """The login that the options ask for."""
    if options.auth.approle is not None:
        return AppRoleLogin(connection, surroundings, options.auth.approle)
    if options.auth.token is None:
        raise ConfigError("vault: auth: give exactly one of `token` and `approle`")
    return TokenLogin(connection, surroundings, options.auth.token)
