"""From a configuration to a registry of plugins. Nothing outside is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keyturn.app.clock import SystemClock
from keyturn.config import Config, ConfigProblems, CredentialConfig, PluginConfig, Problem, PushConfig, resolver
from keyturn.config.plugin_types import installed
from keyturn.config.problems import KeyPath
from keyturn.domain.errors import ConfigError, KeyturnError
from keyturn.ports.backend import Backend, Target
from keyturn.ports.clock import Clock
from keyturn.ports.issuer import Authority
from keyturn.ports.notifier import Notifier
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageSource
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource

MENDS = {
    "Extra inputs are not permitted": "unknown key: remove it",
    "Field required": "is missing: add it",
}
"""What pydantic says in plugins' options, as the rest of the configuration says it."""


def wire(config: Config, clock: Clock | None = None) -> Registry:
    """Load the plugins that the configuration names, and no others. Raises `ConfigProblems` with all they object to."""
    return _Wiring(config, clock or SystemClock()).registry()


def close(registry: Registry) -> None:
    """Give back what the plugins hold."""
    polled = [source.poll for source in registry.sources.values() if source.poll is not None]
    plugins: list[Backend | Authority | UsageSource | Notifier] = [
        *registry.backends.values(),
        *registry.authorities.values(),
        *registry.notifiers.values(),
        *polled,
    ]
    for plugin in plugins:
        plugin.close()


class _Wiring:
    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._surroundings = Surroundings(clock=clock, resolve=resolver(config.folder))
        self._problems: list[Problem] = []

    def registry(self) -> Registry:
        backends = self._plugins("backends", self._config.backends)
        authorities = self._plugins("issuers", self._config.issuers)
        notifiers = self._plugins("notifiers", self._config.notifiers)
        sources = self._sources()
        credentials = {}
        for name, credential in self._config.credentials.items():
            wired = self._credential(credential, backends, authorities)
            if wired is not None:
                credentials[name] = wired
        registry = Registry(
            credentials=credentials,
            sources=sources,
            notifiers=notifiers,
            backends=backends,
            authorities=authorities,
        )
        if self._problems:
            close(registry)
            raise ConfigProblems(self._problems)
        return registry

    def _plugins(self, section: str, configured: Mapping[str, PluginConfig]) -> dict[str, Any]:
        made = {}
        for name, plugin in configured.items():
            with self._noted((section, name)):
                made[name] = self._make(section, plugin)
        return made

    def _make(self, section: str, plugin: PluginConfig) -> Any:
        point = installed(section)[plugin.type]
        try:
            factory: Callable[..., Any] = point.load()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything while it is imported
            raise ConfigError(
                f"the plugin {plugin.type!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}; "
                "install what it needs, or remove it from the configuration"
            ) from None
        try:
            return factory(plugin.name, plugin.options, self._surroundings)
        except KeyturnError:
            raise
        except Exception as error:  # noqa: BLE001
            # The type alone: the message may hold what the options hold.
            raise ConfigError(
                f"the plugin {plugin.type!r} ({point.value}) broke while it was made: {type(error).__name__}; "
                "report it to its author"
            ) from None

    def _sources(self) -> dict[str, WiredSource]:
        wired = {}
        for name, source in self._config.sources.items():
            if isinstance(source, PushConfig):
                wired[name] = WiredSource(
                    name=name,
                    kind=source.kind,
                    sees_failures=source.sees_failures,
                    sees_all=source.sees_all,
                    resolution=source.resolution,
                    poll=None,
                    lag=source.lag,
                )
                continue
            with self._noted(("sources", name)):
                poll = self._make("sources", source)
                wired[name] = WiredSource(
                    name=name,
                    kind=poll.kind,
                    sees_failures=poll.sees_failures,
                    sees_all=source.sees_all,
                    resolution=poll.resolution,
                    poll=poll,
                    lag=poll.lag,
                )
        return wired

    def _credential(
        self, credential: CredentialConfig, backends: Mapping[str, Any], authorities: Mapping[str, Any]
    ) -> WiredCredential | None:
        where: KeyPath = ("credentials", credential.name)
        targets: dict[str, Target] = {}
        for number, target in enumerate(credential.targets):
            with self._noted((*where, "targets", number)):
                if target.backend in backends:
                    targets[target.name] = backends[target.backend].target(target.options)
        with self._noted((*where, "issuer")):
            if credential.issuer in authorities:
                return WiredCredential(
                    name=credential.name,
                    issuer=authorities[credential.issuer].credential(credential.issuer_options),
                    targets=targets,
                    policy=credential.policy,
                    schedule=credential.schedule,
                    sources=credential.sources,
                    clients=credential.clients,
                    notifiers=credential.notifiers,
                )
        return None

    @contextmanager
    def _noted(self, path: KeyPath) -> Iterator[None]:
        """Turns a plugin's objection into a problem with its line, and lets the others speak too."""
        try:
            yield
        except ConfigProblems as error:
            self._problems += error.problems
        except KeyturnError as error:
            self._problems += [self._problem(path, part) for part in str(error).split("; ")]

    def _problem(self, path: KeyPath, message: str) -> Problem:
        """A plugin names the key that it objects to, as `backends.main.address: …`: the problem then points there."""
        key, colon, rest = message.partition(": ")
        parts: KeyPath = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        if colon and parts[0] == path[-1]:  # it may know no more than the last part of its place
            parts = (*path[:-1], *parts)
        if colon and parts[: len(path)] == path:
            return self._config.document.problem(parts, MENDS.get(rest, rest))
        said = f"{key}: {MENDS[rest]}" if colon and rest in MENDS else message
        return self._config.document.problem(path, said)
