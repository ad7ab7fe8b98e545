"""Mutants that do what the machine does, each with the reason why."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

EQUIVALENT: Mapping[str, str] = {
    "added edge *": "without the edge the ruling would raise KeyError, and neither the explorer nor any scenario meets that",
}
"""By name, or pattern of names."""


def reason(name: str) -> str | None:
    """Why a mutant is no other machine, if it is none."""
    return next((why for pattern, why in EQUIVALENT.items() if fnmatchcase(name, pattern)), None)
