"""Which plugins are installed, by their entry points. Looking does not load any."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

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
    return {point.name: point for point in entry_points(group=GROUPS[section])}
