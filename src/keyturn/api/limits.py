"""Bounds the size of what is sent: the body is read before the token is looked at."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyturn.api.problems import problem

USAGE_PATH = "/v1/usage"
USAGE_LIMIT = 8 * 1024 * 1024
COMMAND_LIMIT = 64 * 1024


class BoundedBody:
    """Refuses longer bodies with 413: at once by their declared length, otherwise as soon as they have grown too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = USAGE_LIMIT if scope["path"] == USAGE_PATH else COMMAND_LIMIT
        detail = f"the body is longer than {limit} bytes: send it in parts"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)
            return
        taken = 0

        async def receiving() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return message

        await self._app(scope, receiving, send)
