"""Which plugins are installed, by their entry points. Looking does not load any."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points

PUSH = "push"
"""The one usage source that is no plugin: it has nothing to poll, it is told over HTTP."""

GROUPS: Mapping[str, str] = {
    "backends": "keyturn.backends",
    "issuers": "keyturn.issuers",
    "sources": "keyturn.usage_sources",
    "notifiers": "keyturn.notifiers",
}
"""Section of the configuration → entry point group."""


def installed(section: str) -> dict[str, EntryPoint]:
    """Every plugin that a section of the configuration may name as its `type`."""
    return {point.name: point for point in _found(tuple(sys.path))[section]}


@lru_cache(maxsize=1)
def _found(path: tuple[str, ...]) -> Mapping[str, EntryPoints]:  # noqa: ARG001 - where the path has changed, look anew
    """By section. One look for all, since each reads the metadata of everything that is installed."""
    points = entry_points()
    return {section: points.select(group=group) for section, group in GROUPS.items()}
