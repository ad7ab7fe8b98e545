"""What no single field can know: references, policies and schedules that do not go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from keyturn.config.document import Document
from keyturn.config.faults import suggest
from keyturn.config.plugin_types import GROUPS, PUSH, installed
from keyturn.config.policies import PolicyOptions, ScheduleOptions
from keyturn.config.problems import KeyPath, Problem
from keyturn.config.schema import ConfigFile, CredentialEntry
from keyturn.domain.errors import ConfigError
from keyturn.domain.policy import Policy
from keyturn.domain.schedule import Schedule
from keyturn.runtime.due import next_due, zone_of

LONGEST = timedelta(days=36500)
SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
"""Any will do: a cron expression names no year."""


def find_problems(file: ConfigFile, document: Document) -> list[Problem]:
    """Everything that makes a well-formed file meaningless or unsafe."""
    found = [*_types(file), *_policies(file)]
    for name, credential in file.credentials.items():
        where: KeyPath = ("credentials", name)
        found += _references(file, credential, where)
        found += _repetitions(credential, where)
        found += _times(file, credential, where)
    found += _shared_places(file)
    return [document.problem(path, message) for path, message in found]


Found = Iterator[tuple[KeyPath, str]]


def _types(file: ConfigFile) -> Found:
    for section in GROUPS:
        types = installed(section)
        known = [*types, PUSH] if section == "sources" else list(types)
        for name, entry in getattr(file, section).items():
            if entry.type not in known:
                yield (section, name, "type"), f"there is no plugin {entry.type!r}; {suggest(entry.type, known)}"


def _policies(file: ConfigFile) -> Found:
    for name, options in file.policies.items():
        for line in options.policy().problems():
            yield _policy_place(("policies", name), line)


def _policy_place(where: KeyPath, line: str) -> tuple[KeyPath, str]:
    """The policy names a field first where it can: the problem then points there."""
    head, colon, rest = line.partition(": ")
    if colon and head.startswith("deadlines."):
        return (*where, *head.split(".")), rest
    field = line.split(" ", 1)[0]
    return ((*where, field), line) if field in PolicyOptions.model_fields else (where, line)


def _references(file: ConfigFile, credential: CredentialEntry, where: KeyPath) -> Found:
    def unknown(path: KeyPath, given: str, section: str, kind: str) -> Found:
        known: Mapping[str, object] = getattr(file, section)
        if given not in known:
            yield (*where, *path), f"there is no {kind} {given!r} under {section}; {suggest(given, known)}"

    yield from unknown(("issuer",), credential.issuer.use, "issuers", "issuer")
    for number, target in enumerate(credential.targets):
        yield from unknown(("targets", number, "backend"), target.backend, "backends", "backend")
    for number, source in enumerate(credential.sources):
        yield from unknown(("sources", number), source, "sources", "usage source")
    for number, notifier in enumerate(credential.notify):
        yield from unknown(("notify", number), notifier, "notifiers", "notifier")
    if isinstance(credential.policy, str):
        yield from unknown(("policy",), credential.policy, "policies", "policy")


def target_names(credential: CredentialEntry) -> list[str]:
    """A target that has no name of its own goes by its backend's."""
    return [target.name or target.backend for target in credential.targets]


def _repetitions(credential: CredentialEntry, where: KeyPath) -> Found:
    for name, count in Counter(target_names(credential)).items():
        if count > 1:
            yield (*where, "targets"), f"{count} targets are called {name!r}: give each a `name:` of its own"
    lists: Mapping[str, Sequence[str]] = {
        "sources": credential.sources,
        "clients": credential.clients,
        "notify": credential.notify,
    }
    for key, given in lists.items():
        for name, count in Counter(given).items():
            if count > 1:
                yield (*where, key), f"{name!r} is there {count} times: once is enough"


def _times(file: ConfigFile, credential: CredentialEntry, where: KeyPath) -> Found:
    policy = policy_of(file, credential)
    sound = policy is not None and not policy.problems()
    if policy is not None and not isinstance(credential.policy, str):
        for line in policy.problems():
            yield _policy_place((*where, "policy"), line)
    if credential.schedule is None:
        return
    place = (*where, "schedule")
    broken = list(_schedule(credential.schedule, place))
    yield from broken
    every = credential.schedule.every
    if policy is not None and sound and not broken and every is not None:
        yield from _too_often(every, policy, len(credential.targets), (*place, "every"))


def _too_often(every: timedelta, policy: Policy, targets: int, place: KeyPath) -> Found:
    predicted = policy.predicted_length(targets)
    if every < predicted:
        yield place, f"every {every} is shorter than one rotation takes, {predicted}: raise it or shorten the policy"


def policy_of(file: ConfigFile, credential: CredentialEntry) -> Policy | None:
    """A credential's policy; None when it names one that does not exist."""
    options = file.policies.get(credential.policy) if isinstance(credential.policy, str) else credential.policy
    return None if options is None else options.policy()


def _schedule(options: ScheduleOptions, place: KeyPath) -> Found:
    if (options.every is None) == (options.cron is None):
        yield place, "needs either `every` or `cron`, and not both"
    if options.every is not None and options.every > LONGEST:
        yield (*place, "every"), f"should be at most {LONGEST.days}d: what is due later than that is never due"
    if options.starting is not None and options.every is None:
        yield (*place, "starting"), "goes with `every` only: a cron expression says itself when it starts"
    # The runtime reads zone and expression the same way, so that what passes here works there.
    asked = Schedule(cron=options.cron, timezone=options.timezone)
    try:
        zone_of(asked)
    except ConfigError as error:
        yield (*place, "timezone"), str(error)
        return
    if options.cron is not None:
        try:
            if next_due(asked, SOME_DAY, SOME_DAY) is None:
                yield (*place, "cron"), f"cron {options.cron!r} never fires: none of its months has such a day"
        except ConfigError as error:
            yield (*place, "cron"), str(error)
    if options.starting is not None:
        try:
            options.schedule()
        except OverflowError:
            yield (*place, "starting"), "is at an end of the calendar, and no time in UTC: write the day that is meant"


def _shared_places(file: ConfigFile) -> Found:
    """Two targets at one place would overwrite each other."""
    seen: dict[str, str] = {}
    for name, credential in file.credentials.items():
        for number, target in enumerate(credential.targets):
            place = repr((target.backend, sorted((target.model_extra or {}).items())))
            path: KeyPath = ("credentials", name, "targets", number)
            if place in seen:
                yield path, f"is the same place as {seen[place]}: each place belongs to one target"
            seen.setdefault(place, ".".join(str(part) for part in path))
