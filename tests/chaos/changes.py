"""Every change at OpenBao answers to one effect of the journal: one line for each that does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.audit import Audit, Sent
from tests.chaos.courses import Course
from tests.chaos.ground import COPIES, FIELD, Ground, Secret
from tests.chaos.ledger import Intent, Ledger

from keyturn.plugins.vault.target import COPY, MARK


def unexplained(ground: Ground, ledger: Ledger, courses: Mapping[str, Sequence[Course]]) -> Iterator[str]:
    """`courses`: by credential, how each of its rotations was to go."""
    audit = Audit.read(ground.openbao.audit_log)
    yield from (f"nobody ever asks for {other}" for other in audit.others)
    asked = {secret.name: ledger.effects(secret.name) for secret in ground.secrets}
    yield from _copies(ground, asked, audit)
    yield from _marks(ground, ledger, asked, audit)
    for secret in ground.secrets:
        yield from _promotes(ground, secret, asked[secret.name], courses.get(secret.name, ()), audit)
        yield from _destroys(secret, asked[secret.name], audit)


def _promotes(
    ground: Ground, secret: Secret, asked: Mapping[str, Intent], courses: Sequence[Course], audit: Audit
) -> Iterator[str]:
    """One version at OpenBao for each promote's effect id, by its audit log and by its own list."""
    promotes = [effect for effect in asked if "/promote/" in effect]
    if len(promotes) != (meant := sum(course.promotes for course in courses)):
        yield f"{secret.path}: {len(promotes)} promotes, where {meant} were meant"
    wanted = range(1, len(promotes) + 2)
    told = audit.written[secret.path]
    if not told.is_of(wanted):
        yield f"{secret.path}: the audit log shows versions {sorted(told.versions)}, for {len(promotes)} promotes"
    if sorted(map(int, ground.versions(secret))) != list(wanted):
        yield f"{secret.path}: OpenBao has versions {sorted(ground.versions(secret))}, for {len(promotes)} promotes"


def _destroys(secret: Secret, asked: Mapping[str, Intent], audit: Audit) -> Iterator[str]:
    """A version is destroyed by the removal of what it holds, and asked for no more often than that was tried."""
    holds = {1: "v1"}
    tries: Counter[str] = Counter()
    for effect, intent in asked.items():
        _, _, kind, serial, *rest = effect.split("/")
        if kind == "promote":
            holds[int(rest[-1]) + 1] = serial
        if kind == "remove":
            tries[serial] += intent.attempts
    for (path, number), sent in audit.destroyed.items():
        if path == secret.path and sent.requests > (most := tries[holds.get(number, "")]):
            yield f"{path}: version {number} was destroyed in {sent.requests} requests, for {most} tries to remove it"


def _copies(ground: Ground, asked: Mapping[str, Mapping[str, Intent]], audit: Audit) -> Iterator[str]:
    """Copies of ours are written and erased no more often than effects asked for it, and each is erased."""
    written: Counter[str] = Counter()
    erased: Counter[str] = Counter()
    for secret in ground.secrets:
        for effect, intent in asked[secret.name].items():
            rotation, _, kind, serial, *rest = effect.split("/")
            own = rotation.removeprefix(f"{secret.name}-").partition("~")[0]
            token = rest[1] if kind == "remove" and len(rest) > 1 else f"{secret.name}.{serial}.{own}"
            path = f"{COPIES}/{secret.path}/{FIELD}/{COPY}{token}"
            if kind in ("keep", "stage", "mint"):
                written[path] += 1
            if kind == "remove" and intent.state != "not_sent":
                erased[path] += 1
    for path, told in audit.written.items():
        if path.startswith(f"{COPIES}/") and not told.may_be(written[path]):
            yield f"{path} was written {told.changes} times, for {written[path]} effects"
    for path in {*erased, *audit.erased}:
        sent = audit.erased.get(path, Sent())
        if sent.changes > erased[path] or not sent.requests:
            yield f"{path} was erased {sent.changes} times, for {erased[path]} effects"


def _marks(ground: Ground, ledger: Ledger, asked: Mapping[str, Mapping[str, Intent]], audit: Audit) -> Iterator[str]:
    """Metadata is written for marks alone, each key once."""
    wanted: Counter[tuple[str, str]] = Counter()
    for secret in ground.secrets:
        versions = ledger.versions(secret.name)
        for effect, intent in asked[secret.name].items():
            _, _, kind, serial, *_ = effect.split("/")
            if kind == "mark" and intent.state != "not_sent":
                _, key_id = versions[int(serial.removeprefix("v"))]
                wanted[secret.path, f"{MARK}{key_id}"] += 1
    for one in {*wanted, *audit.annotated}:
        sent = audit.annotated.get(one, Sent())
        if sent.changes > wanted[one] or not sent.requests:
            path, key = one
            yield f"{path}: {key or 'metadata'} was written {sent.changes} times, for {wanted[one]} effects"
