"""What probes and Prometheus ask, and the description of the API itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from keyturn.api.access import TheDaemon, Viewer
from keyturn.api.problems import ApiProblem

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/livez")
async def livez() -> Health:  # needs no thread: it answers also while all of them wait
    """The process answers. Needs no token."""
    return Health()


@router.get("/readyz")
def readyz(daemon: TheDaemon) -> Health:
    """The clock ticks and the store can be read; 503 says what is wrong. Needs no token."""
    wrong = daemon.unready()
    if wrong is not None:
        raise ApiProblem(HTTPStatus.SERVICE_UNAVAILABLE, wrong)
    return Health()


@router.get("/metrics", response_class=Response)
def metrics(daemon: TheDaemon, caller: Viewer) -> Response:
    """Prometheus' text format; give Prometheus the viewer's token (`authorization: {credentials_file: …}`)."""
    del caller
    return Response(generate_latest(daemon.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/openapi.json", include_in_schema=False)
def openapi(request: Request, caller: Viewer) -> dict[str, Any]:
    """The description of this API."""
    del caller
    description: dict[str, Any] = request.app.openapi()
    return description
