"""Who calls, and what they may: bearer tokens, of which only digests are kept."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from keyturn.api.problems import ApiProblem
from keyturn.app.daemon import Daemon
from keyturn.app.state import OPERATOR, SOURCE, VIEWER, digest
from keyturn.ports.records import AccessToken

_bearer = HTTPBearer(auto_error=False, description="A token from the daemon's state folder, `tokens/`.")


def daemon_of(request: Request) -> Daemon:
    """The daemon behind the application."""
    daemon: Daemon = request.app.state.daemon
    return daemon


TheDaemon = Annotated[Daemon, Depends(daemon_of)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose token was presented."""

    name: str
    role: str
    source: str | None

    def named(self, by: str | None) -> str:
        """Whom to put on record: who they say they are, and whose token they hold."""
        return f"{by} ({self.name})" if by else self.name


def find_token(presented: str, known: list[AccessToken]) -> AccessToken | None:
    """The token that was presented. Every digest is compared, whichever fits: time tells nothing."""
    given = digest(presented)
    found = None
    for token in known:
        if hmac.compare_digest(token.digest.encode(), given.encode()):
            found = token
    return found


def _caller(daemon: TheDaemon, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
    challenge = {"WWW-Authenticate": "Bearer"}
    if given is None:
        raise ApiProblem(
            HTTPStatus.UNAUTHORIZED,
            "no token: send `Authorization: Bearer TOKEN`; the daemon made tokens under tokens/ in its state folder",
            headers=challenge,
        )
    token = find_token(given.credentials, list(daemon.store.tokens()))
    if token is None:
        raise ApiProblem(
            HTTPStatus.UNAUTHORIZED,
            "the token is not known: read it again from tokens/ in the daemon's state folder",
            headers=challenge,
        )
    return Caller(name=token.name, role=token.role, source=token.source)


def _requiring(*roles: str) -> Callable[[Caller], Caller]:
    def check(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if caller.role not in roles:
            raise ApiProblem(
                HTTPStatus.FORBIDDEN,
                f"the token {caller.name!r} is a {caller.role}'s, and this needs {' or '.join(roles)}: use that token",
            )
        return caller

    return check


Viewer = Annotated[Caller, Depends(_requiring(OPERATOR, VIEWER))]
Operator = Annotated[Caller, Depends(_requiring(OPERATOR))]
Reporter = Annotated[Caller, Depends(_requiring(SOURCE))]
