"""Puts the HTTP application together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from keyturn.api import adoptions, clients, commands, emergencies, hands, health, reads, usage
from keyturn.api.limits import BoundedBody
from keyturn.api.meters import Meters
from keyturn.api.problems import MEDIA_TYPE, Contained, ProblemDetails, install
from keyturn.app.daemon import Daemon

ANSWERS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What is wrong, and the mend (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        "model": ProblemDetails,
    }
}


def create_api(daemon: Daemon) -> FastAPI:
    """The application in front of one daemon."""
    api = FastAPI(
        title="keyturn",
        summary="Rotates credentials with nobody noticing.",
        version=version("keyturn"),
        # No pages that load scripts from elsewhere, and no call without a token: see /v1/openapi.json.
        openapi_url=None,
        responses=ANSWERS,
    )
    api.state.daemon = daemon
    api.state.meters = Meters(daemon.config, daemon.runtime.ingest.counts)
    api.include_router(clients.findings)
    for part in (reads, clients, commands, adoptions, emergencies, hands, usage, health):
        api.include_router(part.router)
    install(api)
    # The last one added stands outermost.
    api.add_middleware(BoundedBody)
    api.add_middleware(Contained)
    return api
