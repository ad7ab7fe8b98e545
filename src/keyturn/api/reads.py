"""What can be looked at."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from keyturn.api.access import TheDaemon, Viewer
from keyturn.api.headline import headline
from keyturn.api.problems import ApiProblem
from keyturn.api.seen_views import seen_view
from keyturn.api.views import (
    HistoryView,
    StatusView,
    SummaryView,
    history_view,
    rotation_view,
    summary_view,
    verdict_view,
    version_view,
)
from keyturn.app.daemon import Daemon
from keyturn.app.rotating import rotating
from keyturn.domain.errors import KeyturnError, Refused, Transient

router = APIRouter(prefix="/v1/credentials", tags=["credentials"])


def check_name(daemon: Daemon, name: str) -> None:
    """Raises 404 naming what there is."""
    try:
        daemon.registry.credential(name)
    except Refused as error:
        raise ApiProblem(HTTPStatus.NOT_FOUND, str(error)) from None


@router.get("")
def list_credentials(daemon: TheDaemon, caller: Viewer) -> list[SummaryView]:
    """Every configured credential, from what is remembered: nothing outside is asked."""
    del caller
    current, due_dates = daemon.store.current(), daemon.store.due_dates()
    known = rotating(daemon.store)

    def trouble(name: str) -> str | None:
        met = daemon.runtime.trouble(name)
        return known.unreadable.get(name) if met is None else str(met)

    return [
        summary_view(name, current.get(name), known.live.get(name), due_dates.get(name), trouble(name))
        for name in daemon.registry.credentials
    ]


@router.get("/{name}/status")
def show_status(name: str, daemon: TheDaemon, caller: Viewer) -> StatusView:
    """How one credential stands now, read afresh, and what blocks its rotation."""
    del caller
    check_name(daemon, name)
    try:
        status = daemon.runtime.status(name)
    except Transient:
        raise
    except KeyturnError as error:
        # Nothing is remembered yet, or what is cannot be read; the message says why.
        said = str(error) if isinstance(error, Refused) else f"{name}: nothing can be done for it: {error}"
        return StatusView(name=name, headline=said, due_at=None, versions=[], rotation=None, verdict=None, seen=None)
    marks = {} if status.rotation is None else status.rotation.marks
    return StatusView(
        name=name,
        headline=headline(status, daemon.clock.now()),
        due_at=status.credential.due_at,
        versions=[
            version_view(version, marks.get(serial)) for serial, version in sorted(status.credential.versions.items())
        ],
        rotation=None if status.rotation is None else rotation_view(status.rotation),
        verdict=None if status.verdict is None else verdict_view(status.verdict),
        seen=None if status.seen is None else seen_view(status.seen),
    )


@router.get("/{name}/history")
def show_history(
    name: str, daemon: TheDaemon, caller: Viewer, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> list[HistoryView]:
    """The newest lines of the trail, oldest first."""
    del caller
    check_name(daemon, name)
    return [history_view(entry) for entry in daemon.store.history(name, limit=limit)]
