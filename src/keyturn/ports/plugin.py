"""How a plugin is found and made: an entry point that names a factory.

    [project.entry-points."keyturn.backends"]
    vault-kv2 = "keyturn.plugins.vault:VaultBackend"

The groups are `keyturn.backends`, `keyturn.issuers` (whose factories return an `Authority`), `keyturn.usage_sources` and
`keyturn.notifiers`. A factory is called as `factory(name, options, surroundings)`: the name that the configuration gives
the instance, its options without `type`, and what a plugin may use of its host. It raises `ConfigError` for bad options
and does no I/O: what is unreachable is `check`'s word, not the start's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from keyturn.domain.secret_value import SecretValue
from keyturn.ports.clock import Clock

P = TypeVar("P", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a plugin may use of the daemon around it."""

    clock: Clock
    resolve: Callable[[str], SecretValue]
    """The secret behind a reference (`env:NAME`, `file:/path`), read anew at each call, so that it can be rotated too.
    Raises `ConfigError` naming the reference."""


class Factory(Protocol[P]):
    """Makes one configured instance of a plugin."""

    def __call__(self, name: str, options: Mapping[str, object], surroundings: Surroundings) -> P: ...
