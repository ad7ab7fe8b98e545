"""What must hold once all rotations have ended, from the parts' own word: OpenBao, the gateways' tables, the clients'
records. One line for each thing that does not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.chaos.annals import Annals
from tests.chaos.courses import GRACE, Course, compromised, states
from tests.chaos.ground import COPIES, FIELD, MOUNT, Ground, Secret
from tests.chaos.ledger import Ledger

from keyturn.demo.authority import table_of
from keyturn.demo.traffic import Traffic, failed, refused, refused_in_logs


def rows(
    ground: Ground, ledger: Ledger, annals: Annals, traffic: Traffic, *, courses: Mapping[str, Sequence[Course]]
) -> list[str]:
    """`courses`: by credential, how each of its rotations was to go; of the others there are to be none."""
    written = writes(ground.openbao.audit_log)
    cuts = {kid: at for secret in ground.secrets for kid, at in _cuts(ground, ledger, secret, courses)}
    found = [*_traffic(ground, traffic, cuts), *ground.leftovers(), *strangers(ground, ledger)]
    found += _copies_twice(ground, ledger, written)
    for secret in ground.secrets:
        gone = courses.get(secret.name, ())
        found += _ends(ledger, secret, gone)
        found += _keys(ground, ledger, annals, secret, gone)
        found += _promotes(ground, ledger, secret, gone, written)
    return found


def _cuts(
    ground: Ground, ledger: Ledger, secret: Secret, courses: Mapping[str, Sequence[Course]]
) -> Iterator[tuple[str, float]]:
    """Compromised keys, and when their grace was over: counted from when their successors were given to readers."""
    for serial, number in compromised(courses.get(secret.name, ())).items():
        version = ground.versions(secret).get(str(number))
        if version is not None:
            given = datetime.fromisoformat(str(version["created_time"]))
            yield _kids(ground, ledger, secret)[serial], (given + GRACE).timestamp()


def _traffic(ground: Ground, traffic: Traffic, cuts: Mapping[str, float]) -> Iterator[str]:
    requests = traffic.read()
    no, broken = sum(map(refused, requests)), sum(map(failed, requests))
    unmeant = sum(refused(one) and one.epoch < cuts.get(one.kid, float("inf")) for one in requests)
    if ground.clients and not requests:
        yield "the clients sent nothing"
    if unmeant:
        yield f"{unmeant} of {len(requests)} requests were refused"
    if broken:
        yield f"{broken} of {len(requests)} requests failed"
    logs = [node.access_log for gateway in ground.gateways.values() for node in gateway.nodes]
    in_logs = refused_in_logs(logs, ground.addresses.values()).total()
    if in_logs != no:
        yield f"the gateways refused {in_logs} requests of clients, who know of {no}"


def _ends(ledger: Ledger, secret: Secret, courses: Sequence[Course]) -> Iterator[str]:
    ids = ledger.rotation_ids(secret.name)
    if len(ids) != len(courses):
        yield f"{secret.name}: {len(ids)} rotations, of {len(courses)} that were started"
    for rotation, course in zip(ids, courses, strict=False):
        phases = ledger.phases(rotation)
        if phases != list(course.phases):
            yield f"{rotation}, {course.name}, went through {', '.join(phases)}"


def _kids(ground: Ground, ledger: Ledger, secret: Secret) -> Mapping[int, str]:
    """The key id of each version, by its serial."""
    return {1: ground.first_kids[secret.name]} | {
        serial: key_id for serial, (_, key_id) in ledger.versions(secret.name).items()
    }


def _keys(ground: Ground, ledger: Ledger, annals: Annals, secret: Secret, courses: Sequence[Course]) -> Iterator[str]:
    """Readers get the version that the store has for current, and each key went through its states in one go."""
    served = ground.served(secret)
    versions = ledger.versions(secret.name)
    current = [key_id for state, key_id in versions.values() if state == "current"]
    if current and current != [served]:
        yield f"{secret.name}: readers get {served}, and the store has {current} for current"
    kids, changes = _kids(ground, ledger, secret), annals.changes()
    for serial, wanted in states(courses).items():
        kid = kids.get(serial, f"of v{serial}")
        for node in ground.gateways[secret.authority].nodes:
            found = [change.state for change in changes.get((node.name, kid), ())]
            if found != wanted:
                yield f"{secret.name}: at {node.name} key {kid} was {', '.join(found)}, not {', '.join(wanted)}"


def resting(ground: Ground, ledger: Ledger, secret: Secret) -> Iterator[str]:
    """What is not as it should be between rotations: one key served and active, the others revoked, no copy of ours."""
    served = ground.served(secret)
    versions = {key_id: state for state, key_id in ledger.versions(secret.name).values()}
    if versions.get(served) != "current":
        yield f"{secret.name}: readers get {served}, which the store has as {versions.get(served)}"
    for node in ground.gateways[secret.authority].nodes:
        for key in table_of(node):
            if key.kid in versions and key.state != ("active" if key.kid == served else "revoked"):
                yield f"{secret.name}: at {node.name} key {key.kid} is {key.state}"
    yield from (line for line in ground.leftovers() if f"{secret.path}/" in line or f"{secret.path}:" in line)


def strangers(ground: Ground, ledger: Ledger) -> list[str]:
    """Keys in a table that no credential's journal knows."""
    known = {key_id for secret in ground.secrets for _, key_id in ledger.versions(secret.name).values()}
    known |= set(ground.first_kids.values())
    return [
        f"{node.name}: key {key.kid} ({key.state}) is nobody's"
        for gateway in ground.gateways.values()
        for node in gateway.nodes
        for key in table_of(node)
        if key.kid not in known
    ]


@dataclass(slots=True)
class Written:
    """What OpenBao's audit log tells of the writes to one path."""

    versions: list[int] = field(default_factory=list)
    """Numbers of the versions that were made, as it answered."""
    unanswered: set[str] = field(default_factory=set)
    """Requests that it was killed over, or failed in the middle of: each may have made a version, and OpenBao's own list
    tells whether it did."""

    def may_be(self, count: int) -> bool:
        """Whether so many versions may have been made."""
        return 0 <= count - len(self.versions) <= len(self.unanswered)

    def is_of(self, wanted: Sequence[int]) -> bool:
        """Whether these versions were made, each by one request."""
        return self.may_be(len(wanted)) and not Counter(self.versions) - Counter(wanted)


def _promotes(
    ground: Ground, ledger: Ledger, secret: Secret, courses: Sequence[Course], written: Mapping[str, Written]
) -> Iterator[str]:
    """One version at OpenBao for each promote's effect id, by its audit log and by its own list."""
    promotes = [effect for effect in ledger.effects(secret.name) if "/promote/" in effect]
    if len(promotes) != (meant := sum(course.promotes for course in courses)):
        yield f"{secret.path}: {len(promotes)} promotes, where {meant} were meant"
    wanted = range(1, len(promotes) + 2)
    told = written.get(secret.path, Written())
    if not told.is_of(wanted):
        yield f"{secret.path}: the audit log shows versions {sorted(told.versions)}, for {len(promotes)} promotes"
    if sorted(map(int, ground.versions(secret))) != list(wanted):
        yield f"{secret.path}: OpenBao has versions {sorted(ground.versions(secret))}, for {len(promotes)} promotes"


def writes(audit_log: Path) -> Mapping[str, Written]:
    """By path, the writes that OpenBao's audit log shows."""
    found: defaultdict[str, Written] = defaultdict(Written)
    prefix = f"{MOUNT}/data/"
    with audit_log.open() as log:
        for line in log:
            if prefix not in line:
                continue
            entry = json.loads(line)
            request = entry["request"]
            if not request["path"].startswith(prefix) or request["operation"] not in ("create", "update"):
                continue
            told = found[request["path"].removeprefix(prefix)]
            if entry["type"] == "request":
                told.unanswered.add(request["id"])
            elif not entry.get("error"):
                told.unanswered.discard(request["id"])
                version = entry.get("response", {}).get("data", {}).get("version")
                if isinstance(version, int):
                    told.versions.append(version)
    return found


def _copies_twice(ground: Ground, ledger: Ledger, written: Mapping[str, Written]) -> list[str]:
    """Copies of ours that were written more often than effects asked for one."""
    asked: Counter[str] = Counter()
    for secret in ground.secrets:
        for effect in ledger.effects(secret.name):
            rotation, _, kind, serial, *_ = effect.split("/")
            if kind in ("keep", "stage", "mint"):
                own = rotation.removeprefix(f"{secret.name}-").partition("~")[0]
                asked[f"{COPIES}/{secret.path}/{FIELD}/copy-{secret.name}.{serial}.{own}"] += 1
    return [
        f"{path} was written {len(told.versions)} times, for {asked[path]} effects"
        for path, told in written.items()
        if path.startswith(f"{COPIES}/") and not told.may_be(asked[path])
    ]
