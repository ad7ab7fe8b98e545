"""Errors as RFC 9457 problem details: one clear message with the mend, never a traceback."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyturn.domain.errors import Failure, KeyturnError, Refused, StaleRevision, Transient
from keyturn.logs import place_of

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(BaseModel):
    """What every error answer holds."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str
    """What is wrong, and the mend."""


class ApiProblem(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer itself."""
    details = ProblemDetails(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(details.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def install(api: FastAPI) -> None:
    """Answer every error this way."""
    api.add_exception_handler(ApiProblem, _api_problem)
    api.add_exception_handler(KeyturnError, _keyturn_error)
    api.add_exception_handler(RequestValidationError, _malformed)
    api.add_exception_handler(HTTPException, _http)


def _api_problem(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, ApiProblem)  # noqa: S101 - as registered
    return problem(error.status, error.detail, error.headers)


def _keyturn_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Refused | StaleRevision):
        return problem(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, Transient):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
    if isinstance(error, Failure):
        # Neither the caller nor keyturn is wrong: a place outside refuses, or is not as it must be.
        return problem(HTTPStatus.BAD_GATEWAY, str(error))
    return _internal(request.scope, error, str(error))


def _malformed(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    found = []
    for item in error.errors():
        # The first part says body, query or path; the input itself is never repeated.
        where = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
        found.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(found))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    details = {
        HTTPStatus.NOT_FOUND: f"there is no {request.url.path} here; /v1/openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} knows no {request.method}; see the Allow header",
    }
    return problem(error.status_code, details.get(HTTPStatus(error.status_code), error.detail), error.headers)


def _internal(scope: Scope, error: BaseException, said: str = "") -> JSONResponse:
    cause = secrets.token_hex(8)
    log.error("request met a defect", cause=cause, method=scope["method"], path=scope["path"], **place_of(error))
    detail = f"{said}; " if said else "something went wrong in keyturn; "
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{detail}the log has it under cause {cause}")


class Contained:
    """Stands around the application: an unexpected exception becomes an answer and a line in the log, and goes no
    further, where a server would print it with its values."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the last place to say what happened
            answer = _internal(scope, error)
            if not begun:
                await answer(scope, receive, send)
