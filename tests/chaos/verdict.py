"""What must hold once all rotations have ended, from the parts' own word: OpenBao, the gateways' tables, the clients'
records. One line for each thing that does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tests.chaos.annals import Annals
from tests.chaos.changes import unexplained
from tests.chaos.courses import GRACE, Course, compromised, states
from tests.chaos.ground import Ground, Secret
from tests.chaos.ledger import Ledger

from keyturn.demo.authority import table_of
from keyturn.demo.traffic import Traffic, failed, refused, refused_in_logs


def rows(
    ground: Ground, ledger: Ledger, annals: Annals, traffic: Traffic, *, courses: Mapping[str, Sequence[Course]]
) -> list[str]:
    """`courses`: by credential, how each of its rotations was to go; of the others there are to be none."""
    cuts = {kid: at for secret in ground.secrets for kid, at in _cuts(ground, ledger, secret, courses)}
    found = [*_traffic(ground, traffic, cuts), *ground.leftovers(), *strangers(ground, ledger)]
    found += _messages(ground, ledger)
    found += unexplained(ground, ledger, courses)
    for secret in ground.secrets:
        gone = courses.get(secret.name, ())
        found += _ends(ledger, secret, gone)
        found += _keys(ground, ledger, annals, secret, gone)
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


def _messages(ground: Ground, ledger: Ledger) -> Iterator[str]:
    """Whoever is to be told was told: at least once, as is promised."""
    with (ground.folder / "notifications.jsonl").open() as received:
        arrived = {json.loads(line)["id"] for line in received}
    for message, waiting in ledger.messages().items():
        if waiting:
            yield f"{message} still waits to be delivered"
        elif message not in arrived:
            yield f"{message} never arrived, and the store has it for delivered"


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
