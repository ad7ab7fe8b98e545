"""Replaces parts of the product for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Replacement = tuple[object, str, Any]
"""Whose attribute, its name, and what stands there meanwhile."""


def patched(*replacements: Replacement) -> Callable[[], AbstractContextManager[None]]:
    """A sabotage that replaces these attributes."""

    @contextmanager
    def sabotage() -> Iterator[None]:
        before = [(owner, name, vars(owner)[name]) for owner, name, _ in replacements]
        try:
            for owner, name, replacement in replacements:
                setattr(owner, name, replacement)
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)

    return sabotage
