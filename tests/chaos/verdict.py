"""What must hold once all rotations have ended, from the parts' own word: OpenBao, the gateways' tables, the clients'
records. One line for each thing that does not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.annals import Annals
from tests.chaos.ground import COPIES, FIELD, MOUNT, Ground, Secret
from tests.chaos.ledger import Ledger

from keyturn.demo.authority import table_of
from keyturn.demo.traffic import Traffic, failed, refused, refused_in_logs

PHASES = ["introduce", "overlap", "monitor", "retire", "destroy", "completed"]


def rows(ground: Ground, ledger: Ledger, annals: Annals, traffic: Traffic, *, rotated: Mapping[str, int]) -> list[str]:
    """`rotated`: how many rotations of each credential were started; all of them are to be completed."""
    found = [*_traffic(ground, traffic), *ground.leftovers(), *strangers(ground, ledger), *copies_twice(ground, ledger)]
    written = written_versions(ground)
    for secret in ground.secrets:
        found += _ends(ledger, secret, rotated.get(secret.name, 0))
        found += _keys(ground, ledger, annals, secret)
        found += _promotes(ground, ledger, secret, written)
    return found


def _traffic(ground: Ground, traffic: Traffic) -> Iterator[str]:
    requests = traffic.read()
    no, broken = sum(map(refused, requests)), sum(map(failed, requests))
    if ground.clients and not requests:
        yield "the clients sent nothing"
    if no:
        yield f"{no} of {len(requests)} requests were refused"
    if broken:
        yield f"{broken} of {len(requests)} requests failed"
    logs = [node.access_log for gateway in ground.gateways.values() for node in gateway.nodes]
    in_logs = refused_in_logs(logs, ground.addresses.values()).total()
    if in_logs != no:
        yield f"the gateways refused {in_logs} requests of clients, who know of {no}"


def _ends(ledger: Ledger, secret: Secret, rotated: int) -> Iterator[str]:
    ids = ledger.rotation_ids(secret.name)
    if len(ids) != rotated:
        yield f"{secret.name}: {len(ids)} rotations, of {rotated} that were started"
    for rotation in ids:
        phases = ledger.phases(rotation)
        if phases != PHASES:
            yield f"{rotation} went through {', '.join(phases)}"


def _keys(ground: Ground, ledger: Ledger, annals: Annals, secret: Secret) -> Iterator[str]:
    """The served key is active, every other one is revoked, and each came there in one go."""
    served = ground.served(secret)
    versions = ledger.versions(secret.name)
    current = [key_id for state, key_id in versions.values() if state == "current"]
    if current and current != [served]:
        yield f"{secret.name}: readers get {served}, and the store has {current} for current"
    known = {key_id for _, key_id in versions.values()} | {ground.first_kids[secret.name]}
    for (node, kid), changes in annals.changes().items():
        states = [change.state for change in changes]
        wanted = ["active"] if kid == served else ["active", "disabled", "revoked"]
        if kid in known and states != wanted:
            yield f"{secret.name}: at {node} key {kid} was {', '.join(states)}, not {', '.join(wanted)}"


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


def _promotes(ground: Ground, ledger: Ledger, secret: Secret, written: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """One version at OpenBao for each promote's effect id, by its audit log and by its own list."""
    promotes = [effect for effect in ledger.effects(secret.name) if "/promote/" in effect]
    numbers = written.get(secret.path, [])
    wanted = list(range(1, len(promotes) + 2))
    if sorted(numbers) != wanted:
        yield f"{secret.path}: the audit log shows versions {sorted(numbers)}, for {len(promotes)} promotes"
    if sorted(map(int, ground.versions(secret))) != wanted:
        yield f"{secret.path}: OpenBao has versions {sorted(ground.versions(secret))}, for {len(promotes)} promotes"


def written_versions(ground: Ground) -> Mapping[str, list[int]]:
    """By path: the number of each version that OpenBao's audit log shows to have been made."""
    found: dict[str, list[int]] = {}
    prefix = f"{MOUNT}/data/"
    with ground.openbao.audit_log.open() as log:
        for line in log:
            if '"response"' not in line or prefix not in line:
                continue
            entry = json.loads(line)
            request = entry["request"]
            if entry["type"] != "response" or request["operation"] not in ("create", "update") or entry.get("error"):
                continue
            version = entry.get("response", {}).get("data", {}).get("version")
            if request["path"].startswith(prefix) and isinstance(version, int):
                found.setdefault(request["path"].removeprefix(prefix), []).append(version)
    return found


def copies_twice(ground: Ground, ledger: Ledger) -> list[str]:
    """Copies of ours that were written more often than effects asked for one."""
    asked: Counter[str] = Counter()
    for secret in ground.secrets:
        for effect in ledger.effects(secret.name):
            rotation, _, kind, serial, *_ = effect.split("/")
            if kind in ("keep", "stage", "mint"):
                own = rotation.removeprefix(f"{secret.name}-").partition("~")[0]
                asked[f"{COPIES}/{secret.path}/{FIELD}/copy-{secret.name}.{serial}.{own}"] += 1
    return [
        f"{path} was written {len(numbers)} times, for {asked[path]} effects"
        for path, numbers in written_versions(ground).items()
        if path.startswith(f"{COPIES}/") and len(numbers) != asked[path]
    ]
