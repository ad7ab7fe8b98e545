"""From a file to a `Config`, or to every problem it has."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from keyturn.config.checks import find_problems, policy_of, target_names
from keyturn.config.document import Document, read_document
from keyturn.config.faults import place, problems_of
from keyturn.config.model import Config, CredentialConfig, PluginConfig, PolledConfig, PushConfig, TargetConfig
from keyturn.config.problems import ConfigProblems, KeyPath, Problem
from keyturn.config.schema import ConfigFile, CredentialEntry, PluginEntry, PolledEntry, PushEntry
from keyturn.domain.errors import ConfigError
from keyturn.runtime.retention import Retention
from keyturn.stores.urls import SQLITE, objections


def load_config(path: Path) -> Config:
    """Read a configuration file. Raises `ConfigProblems` with everything that is wrong, several at once."""
    document = read_document(Path(os.path.abspath(path)))  # noqa: PTH100 - resolve() would follow a symlink to another folder
    file, problems = _validate(document)
    if file is None:
        raise ConfigProblems(problems)
    problems += find_problems(file, document)
    url, state_dir, faults = _places(file, document)
    problems += faults
    host, _, port = file.http.listen.rpartition(":")
    if problems:
        raise ConfigProblems(problems)
    return Config(
        document=document,
        store_url=url,
        store_password=file.store.password,
        state_dir=state_dir,
        host=host.strip("[]"),
        port=int(port),
        tick=file.tick,
        retention=Retention(
            buckets=file.retention.buckets, history=file.retention.history, messages=file.retention.messages
        ),
        backends=_plugins(file.backends),
        issuers=_plugins(file.issuers),
        sources={name: _source(name, entry) for name, entry in file.sources.items()},
        notifiers=_plugins(file.notifiers),
        credentials={name: _credential(name, entry, file) for name, entry in file.credentials.items()},
    )


def _validate(document: Document) -> tuple[ConfigFile | None, list[Problem]]:
    """The file by its schema. Unknown keys are taken out and it is read again, so that one typing error does not hide
    what the other checks find."""
    if not isinstance(document.data, dict):
        return None, [document.problem((), "should be a mapping with store, backends, credentials, …")]
    try:
        return ConfigFile.model_validate(document.data), []
    except ValidationError as error:
        problems = problems_of(error, document)
        unknown = [place(item["loc"]) for item in error.errors() if item["type"] == "extra_forbidden"]
    try:
        return ConfigFile.model_validate(_without(document.data, unknown)), problems
    except ValidationError:
        return None, problems


def _without(data: dict[str, Any], paths: Iterable[KeyPath]) -> dict[str, Any]:
    pruned = copy.deepcopy(data)
    for path in paths:
        inner: Any = pruned
        for part in path[:-1]:
            inner = inner[part]
        inner.pop(path[-1], None)
    return pruned


def _places(file: ConfigFile, document: Document) -> tuple[str, Path, list[Problem]]:
    """The store's URL with an absolute path, and the state folder."""
    folder, url = document.file.parent, file.store.url
    given = None if file.state_dir is None else (folder / Path(file.state_dir).expanduser()).resolve()
    problems = [document.problem(("store", "url"), said) for said in objections(url)]
    if url.startswith(SQLITE):
        database = (folder / url.removeprefix(SQLITE)).resolve()
        return f"{SQLITE}{database}", given or database.parent, problems
    if given is None and not problems:
        problems.append(
            document.problem(("state_dir",), "is missing: a PostgreSQL store has no folder to put keys and tokens in")
        )
    return url, given or folder, problems


def _plugins(entries: dict[str, PluginEntry]) -> dict[str, PluginConfig]:
    return {name: _plugin(name, entry) for name, entry in entries.items()}


def _plugin(name: str, entry: PluginEntry) -> PluginConfig:
    return PluginConfig(name=name, type=entry.type, options=entry.model_extra or {})


def _source(name: str, entry: PushEntry | PolledEntry) -> PushConfig | PolledConfig:
    if isinstance(entry, PolledEntry):
        return PolledConfig(name=name, type=entry.type, options=entry.model_extra or {}, sees_all=entry.sees_all)
    return PushConfig(
        name=name,
        kind=entry.kind,
        resolution=entry.resolution,
        sees_failures=entry.sees_failures,
        sees_all=entry.sees_all,
        lag=entry.lag,
        reports_per_second=entry.reports_per_second,
    )


def _credential(name: str, entry: CredentialEntry, file: ConfigFile) -> CredentialConfig:
    policy = policy_of(file, entry)
    if policy is None:
        raise ConfigError(f"credentials.{name}.policy names no policy")  # checked before
    return CredentialConfig(
        name=name,
        issuer=entry.issuer.use,
        issuer_options=entry.issuer.model_extra or {},
        targets=tuple(
            TargetConfig(name=called, backend=target.backend, options=target.model_extra or {})
            for called, target in zip(target_names(entry), entry.targets, strict=True)
        ),
        sources=tuple(entry.sources),
        clients=frozenset(entry.clients),
        notifiers=tuple(entry.notify),
        policy=policy,
        schedule=None if entry.schedule is None else entry.schedule.schedule(),
    )
