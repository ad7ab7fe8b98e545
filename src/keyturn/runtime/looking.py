"""Asking one thing after another: of what does not answer it takes longer than a lease lasts, which is renewed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from keyturn.runtime.registry import WiredCredential

P = TypeVar("P")


def renewing(wired: WiredCredential, renew: Callable[[], None]) -> WiredCredential:
    """The same credential, before each of whose calls the claims that they are made under are renewed: what `renew` raises
    when one is lost ends the look."""
    targets = {name: _renewing(target, renew) for name, target in wired.targets.items()}
    return replace(wired, issuer=_renewing(wired.issuer, renew), targets=targets)


def _renewing(plugin: P, renew: Callable[[], None]) -> P:
    return cast(P, _Renewing(plugin, renew))


class _Renewing:
    def __init__(self, plugin: object, renew: Callable[[], None]) -> None:
        self._plugin = plugin
        self._renew = renew

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plugin, name)
        return self._renewed(found) if callable(found) else found

    def _renewed(self, method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            self._renew()
            return method(*arguments, **named)

        return call
