"""A KV version 2 mount of Vault or OpenBao as a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyturn.domain.errors import ConfigError
from keyturn.plugins.options import read_options
from keyturn.plugins.vault.kv import Kv
from keyturn.plugins.vault.options import TargetOptions, VaultOptions
from keyturn.plugins.vault.preflight import find_problems
from keyturn.plugins.vault.target import VaultTarget
from keyturn.ports.plugin import Surroundings


class VaultBackend:
    """The backend `vault-kv2`."""

    def __init__(self, name: str, options: Mapping[str, object], surroundings: Surroundings) -> None:
        self._name = name
        self._options = read_options(VaultOptions, options, where=f"backends.{name}")
        self._clock = surroundings.clock
        self._kv = Kv(self._options, surroundings)
        self._targets: dict[tuple[str, str], VaultTarget] = {}

    def __repr__(self) -> str:
        return f"VaultBackend({self._name!r}, {self._options.address!r})"

    def target(self, options: object) -> VaultTarget:
        read = read_options(TargetOptions, options, where=f"target at {self._name}")
        prefix = self._options.prefix
        if f"{read.path}/".startswith(f"{prefix}/"):
            raise ConfigError(f"target at {self._name}.path: {read.path} lies under keyturn's own prefix {prefix}")
        target = VaultTarget(self._kv, read, prefix=prefix, clock=self._clock)
        self._targets[read.path, read.field] = target
        return target

    def check(self) -> Sequence[str]:
        problems = find_problems(self._kv, self._options, tuple(self._targets.values()))
        return tuple(f"{self._name}: {problem}" for problem in problems)

    def close(self) -> None:
        self._kv.close()
