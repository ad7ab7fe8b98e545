"""What can be found without rotating: whom keyturn needs and cannot reach, and what evidence cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.config import Config
from keyturn.domain.errors import KeyturnError
from keyturn.domain.policy import Policy
from keyturn.ports.executor import Executor
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredCredential

WEEK = timedelta(days=7)
SAFE_FLOOR = timedelta(days=8)
"""The least silence for an identity that is one workload: a weekly job's, and a day (EVIDENCE.md §3)."""
ENOUGH = 12
"""Presentations after which a version that fails one client fully is found, without any history (EVIDENCE.md §1)."""
LOOKED_BACK = timedelta(days=3)
LEAST_KNOWN = timedelta(hours=1)
"""Before that nothing can be said of how often clients come."""
LOOPBACK = ("127.", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check-up."""

    subject: str
    """What it is about: `backend main`, `credential payments`."""
    message: str
    """What is found, and the mend."""
    serious: bool = True
    """Whether a rotation could not work; otherwise it is to be known."""


def outside(registry: Registry, executor: Executor | None = None) -> list[Finding]:
    """What each backend, authority and polled usage source says is missing: asked all at once by an executor, one after
    another without."""
    asked: list[tuple[str, str, Callable[[], Sequence[str]]]] = [
        *(("backend", name, backend.check) for name, backend in registry.backends.items()),
        *(("issuer", name, authority.check) for name, authority in registry.authorities.items()),
        *(("source", name, source.poll.check) for name, source in registry.sources.items() if source.poll is not None),
    ]
    calls = [_asking(kind, name, check) for kind, name, check in asked]
    answers = [call() for call in calls] if executor is None else executor.run(calls)
    return [finding for answer in answers for finding in answer]


def _asking(kind: str, name: str, check: Callable[[], Sequence[str]]) -> Callable[[], list[Finding]]:
    def ask() -> list[Finding]:
        try:
            lines = check()
        except KeyturnError as error:
            lines = [str(error)]
        # Plugins name themselves in their messages, as the subject does already.
        return [Finding(subject=f"{kind} {name}", message=line.removeprefix(f"{name}: ")) for line in lines]

    return ask


def inside(config: Config, registry: Registry) -> list[Finding]:
    """What the configuration itself cannot do."""
    credentials = registry.credentials.values()
    found = [finding for one in credentials for finding in (*_evidence(one, registry), *_risks(one))]
    if not config.host.startswith(LOOPBACK):
        found.append(
            Finding(
                subject="http",
                message=f"listens on {config.host} without TLS: tokens cross the network in clear; "
                "listen on 127.0.0.1 and put a TLS proxy in front",
                serious=False,
            )
        )
    return found


def quiet(store: Store, registry: Registry, now: datetime) -> list[Finding]:
    """What the history tells: credentials whose clients present them too seldom for a failing version to be found before
    the old one is left behind."""
    return [finding for name in registry.credentials for finding in _quiet(store, registry, name, now)]


def _quiet(store: Store, registry: Registry, name: str, now: datetime) -> Iterator[Finding]:
    wired = registry.credential(name)
    seeing = [one for one in wired.sources if registry.sources[one].sees_failures]
    states = store.sources()
    starts = [states[one].since for one in seeing if one in states]
    known = [since for since in starts if since is not None]
    if not known or now - max(known) < LEAST_KNOWN:
        return
    span = min(now - max(known), LOOKED_BACK)
    uses: Counter[str] = Counter(dict.fromkeys(wired.clients, 0))
    for row in store.usage(name, start=now - span, end=now, sources=seeing):
        uses[row.client] += row.successes + row.failures
    overlap = wired.policy.minimum_overlap
    few = sorted(client for client, count in uses.items() if count * (overlap / span) < ENOUGH)
    if not few:
        return
    who = "every client presents it" if len(few) == len(uses) else f"{', '.join(few)} present it"
    judged = "no new version of it" if len(few) == len(uses) else "no new version"
    yield Finding(
        subject=f"credential {name}",
        message=f"too quiet to be judged: {who} fewer than {ENOUGH} times within the minimum overlap of {overlap}: evidence "
        f"cannot roll it back, {judged} is seen to fail there in time; lengthen minimum_overlap, or run a canary, a client "
        f"that reads it and presents it every {overlap / ENOUGH}",
        serious=False,
    )


def _risks(credential: WiredCredential) -> Iterator[Finding]:
    """What a policy takes upon itself that waits for less silence than was shown to be safe."""
    policy, standard = credential.policy, Policy()
    lower = {
        "silence_floor": policy.silence_floor < SAFE_FLOOR,
        "silence_few": policy.silence_few < standard.silence_few,
        "silence_unseen": policy.silence_unseen < standard.silence_unseen,
        "unseen_share": policy.unseen_share > standard.unseen_share,
    }
    names = [name for name, taken in lower.items() if taken]
    if not names:
        return
    least = min(policy.silence_floor, policy.silence_few, policy.silence_unseen)
    missed = max(0.0, 1 - least / WEEK)
    risk = (
        f"a job that runs once a week is not waited for with a chance of {missed:.0%}"
        if missed
        else "a job that runs less often than that is not waited for"
    )
    yield Finding(
        subject=f"credential {credential.name}",
        message=f"{', '.join(names)}: its old version is disabled after as little as {least} of silence: {risk}; "
        "right for one busy workload that is known, and otherwise leave them out",
        serious=False,
    )


def _evidence(credential: WiredCredential, registry: Registry) -> Iterator[Finding]:
    subject = f"credential {credential.name}"
    if not credential.sources:
        yield Finding(
            subject=subject,
            message="has no usage source: silence can never be known, so its old version is never retired; "
            "name one under `sources:`",
        )
        return
    blind = [name for name in credential.sources if not registry.sources[name].sees_failures]
    if len(blind) == len(credential.sources):
        yield Finding(
            subject=subject,
            message=f"no usage source of it sees failures ({', '.join(blind)}): evidence cannot roll it back; "
            "add one that does, such as an access log",
            serious=False,
        )
    if not credential.clients:
        yield Finding(
            subject=subject,
            message="declares no clients: only those seen in the history are waited for; list them under `clients:`",
            serious=False,
        )
    if not credential.notifiers:
        yield Finding(
            subject=subject,
            message="tells nobody: holds and alerts page through `notify:` alone",
            serious=False,
        )
