"""Plugins as the runtime calls them: what one raises that it must not is a failure of its place, like an answer that never
came. So everything that bears a place without an answer bears a broken plugin: the others' cut, a deadline, a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from keyturn.domain.errors import Failure, KeyturnError, Transient
from keyturn.logs import place_of
from keyturn.runtime.registry import Registry, WiredCredential

if TYPE_CHECKING:
    from keyturn.runtime.contained import Met

P = TypeVar("P")


def guarded(registry: Registry, met: Met) -> Registry:
    """The same registry, of which every issuer, target and notifier raises a `Failure` or nothing."""

    def wire(wired: WiredCredential) -> WiredCredential:
        targets = {name: guard(target, met) for name, target in wired.targets.items()}
        return replace(wired, issuer=guard(wired.issuer, met), targets=targets)

    return replace(
        registry,
        credentials={name: wire(wired) for name, wired in registry.credentials.items()},
        notifiers={name: guard(notifier, met) for name, notifier in registry.notifiers.items()},
    )


def guard(plugin: P, met: Met) -> P:
    """The plugin, whose calls raise `Transient` for what is no `Failure`: nothing is known of their outcome."""
    return cast(P, _Guarded(plugin, met))


class _Guarded:
    def __init__(self, plugin: object, met: Met) -> None:
        self._plugin = plugin
        self._met = met

    def __repr__(self) -> str:
        return repr(self._plugin)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plugin, name)
        if not callable(found):
            return found
        method = self._guarded(found)
        setattr(self, name, method)  # looked up once: each tick makes many calls
        return method

    def _guarded(self, method: Callable[..., object]) -> Callable[..., object]:
        @wraps(method)
        def call(*arguments: object, **named: object) -> object:
            try:
                return method(*arguments, **named)
            except Failure:
                raise
            except KeyturnError as error:
                broken = str(error)  # an option's file that is empty now, say: our errors hold no values
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and must not stop the others
                self._met(error)
                broken = brokenness(error)
            # Not from that error: its frames hold what the plugin was given.
            raise Transient(broken)

        return call


def brokenness(error: Exception) -> str:
    """What is said of a plugin that raised this: the kind and the place, and nothing of what it says itself."""
    place = place_of(error).get("raised_at", "nowhere")
    return f"the plugin broke ({type(error).__name__} at {place}): report it to its author"
