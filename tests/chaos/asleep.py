"""A replica that falls asleep between its last look at the lease and the call, wakes when another has gone on without it,
and makes the call then (promise P7)."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos import verdict
from tests.chaos.annals import Annals
from tests.chaos.daemons import EVERY, Look, Plan
from tests.chaos.ground import Secret
from tests.chaos.house import House, Replica
from tests.chaos.ledger import Ledger

from keyturn.demo.traffic import Traffic, refused
from keyturn.demo.waiting import PartFailed, wait_until

WITHIN = 240.0
"""A limit, on a machine however slow."""
LOOK_EVERY = 0.1
TICKS = 6
"""So many ticks are waited after the sleeper's call, for what it did to be found and undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Where a replica falls asleep, and what the other does meanwhile."""

    name: str
    at: str
    """The pattern of the point."""
    roll_back_first: bool = False
    """An operator rolls back before the sleep: the point is one of the rollback."""
    alone: bool = False
    """It sleeps with the table's lock: nobody else can change that table until it wakes."""
    end: str
    """How the rotation is to end."""


SLEEPS = (
    Sleep(name="stage", at="*-introduce/mint/new/* stage: before", end="rolled_back"),
    Sleep(name="install", at="*-introduce/install/new* install: before", end="rolled_back"),
    # The compare-and-swap is in hand: only another promote, of whatever value, can still refuse it.
    Sleep(name="promote", at="*-overlap/promote/new/* post *: before", end="rolled_back"),
    Sleep(name="disable", at="*-retire/disable/old* disable: before", end="rolled_back"),
    Sleep(name="destroy", at="*-destroy/revoke/old* revoke: before", end="completed"),
    Sleep(name="remove", at="*-destroy/remove/old* remove: before", end="completed"),
    Sleep(
        name="disable the new", at="*-rollback/disable/new* disable: before", roll_back_first=True, end="rolled_back"
    ),
    Sleep(name="destroy the new", at="*-rollback/revoke/new* revoke: before", roll_back_first=True, end="rolled_back"),
    Sleep(name="inside the table's change", at="*-retire/disable/old* table of *: before", alone=True, end="completed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """How one sleep went."""

    name: str
    slept: float
    refused: int
    undone_after: float
    """The longest, in seconds, that a key stood as the sleeper's call had put it; 0 where it changed nothing."""
    broken: list[str]


def play(house: House, secret: Secret, bystander: Secret, sleep: Sleep) -> Woken:
    """One sleep: a rotation of `secret`, during which a replica falls asleep at the point; the other goes on with it and,
    through the same key table, with a rotation of `bystander`; then the sleeper wakes and makes its call."""
    with Annals(house.ground.gateways[secret.authority].nodes) as annals:
        return _play(house, secret, bystander, sleep, annals)


def _play(house: House, secret: Secret, bystander: Secret, sleep: Sleep, annals: Annals) -> Woken:
    ground, ledger = house.ground, house.ledger
    clients = ground.start_clients(secret)
    traffic = Traffic(client.record for client in clients)
    plan = Plan(at=[f"{secret.name}/{sleep.at}"], share=EVERY, signal=signal.SIGSTOP)
    before = {replica.daemon.name: len(replica.daemon.met) for replica in house.replicas}
    for replica in house.replicas:
        replica.daemon.plan(plan)
    _command(house.replicas, secret, "rotate")
    if sleep.roll_back_first:
        _until(lambda: _turned(house.replicas, ledger, secret), "the rotation came to rollback")
    _until(
        lambda: any(len(one.daemon.met) > before[one.daemon.name] for one in house.replicas),
        f"a replica fell asleep at {sleep.at}",
    )
    asleep = next(one for one in house.replicas if len(one.daemon.met) > before[one.daemon.name])
    awake = [one for one in house.replicas if one is not asleep]
    slept_at = time.time()
    for replica in house.replicas:
        replica.daemon.plan(Plan())
    broken: list[str] = []
    try:
        _command(awake, bystander, "rotate")
        if sleep.end == "rolled_back" and not sleep.roll_back_first:
            _command(awake, secret, "rollback")
        if sleep.alone:
            _until(lambda: time.time() > slept_at + house.lease + TICKS, "its lease had run out")
        else:
            _until(lambda: not ledger.rotations()[secret.name].live, f"{secret.name} ended without the sleeper")
    except PartFailed as error:
        broken.append(str(error))
    woken_at = time.time()
    versions = len(ground.versions(secret))
    asleep.daemon.send(signal.SIGCONT)
    try:
        _until(
            lambda: not any(ledger.rotations()[one.name].live for one in (secret, bystander)), "both rotations ended"
        )
        _until(lambda: _ticks(house.replicas, since=woken_at) >= TICKS, "the replicas ticked")
        _until(lambda: not list(verdict.resting(ground, ledger, secret)), "what the sleeper did was undone")
    except PartFailed as error:
        broken.append(str(error))
    for client in clients:
        client.part.stop()
    refusals = [one.epoch for one in traffic.read() if refused(one)]
    if early := [at for at in refusals if at < woken_at]:
        broken.append(f"{len(early)} requests were refused before the sleeper woke")
    phases = ledger.phases(ledger.rotations()[secret.name].id)
    if phases[-1] != sleep.end:
        broken.append(f"{secret.name} went through {', '.join(phases)}, and should have ended as {sleep.end}")
    broken += [*verdict.resting(ground, ledger, secret), *verdict.resting(ground, ledger, bystander)]
    broken += verdict.strangers(ground, ledger)
    if (now := len(ground.versions(secret))) != versions:
        broken.append(
            f"{secret.path} had {versions} versions when the sleeper woke, and has {now}: its promote was not refused"
        )
    undone = _undone(annals, ground.served(secret), woken_at)
    for span in undone:
        if idle := _idle_looks(house.replicas, secret, *span):
            said = ", ".join(look.ruled or "nothing looked at" for look in idle)
            broken.append(f"{len(idle)} ticks worked on what the sleeper had done, and did not undo it: {said}")
    ledger.close()
    return Woken(
        name=sleep.name,
        slept=woken_at - slept_at,
        refused=len(refusals),
        undone_after=max((until - since for since, until in undone), default=0.0),
        broken=broken,
    )


def _undone(annals: Annals, kid: str, woken_at: float) -> list[tuple[float, float]]:
    """From when until when the key that readers get was disabled at a node after the sleeper had woken."""
    found = []
    for (_, key), changes in annals.changes().items():
        for disabled, enabled in itertools.pairwise(changes):
            if key == kid and disabled.state == "disabled" and disabled.at > woken_at:
                found.append((disabled.at, enabled.written))
    return found


def _idle_looks(replicas: Sequence[Replica], secret: Secret, since: float, until: float) -> list[Look]:
    """The work on the credential that began and ended within a span."""
    return [
        look
        for one in replicas
        for look in one.daemon.looks
        if look.what == secret.name and look.at > since and look.at + look.took < until
    ]


def _command(replicas: Sequence[Replica], secret: Secret, command: str) -> None:
    """By whichever replica answers."""

    def done() -> bool:
        answers = [one.daemon.ask("POST", f"{secret.name}/{command}", {"reason": "chaos"}) for one in replicas[:1]]
        return any(answer is not None and answer.status_code == 200 for answer in answers)

    _until(done, f"{command} {secret.name} was taken")


def _turned(replicas: Sequence[Replica], ledger: Ledger, secret: Secret) -> bool:
    """Whether a rotation that had promoted is rolled back by now; asked for here, of another one if that was too fast."""
    standing = ledger.rotations()[secret.name]
    effects = ledger.effects(secret.name)
    promoted = any(one.startswith(f"{standing.id}/1-overlap/promote/") for one in effects)
    if standing.live and promoted and standing.phase != "rollback":
        replicas[0].daemon.ask("POST", f"{secret.name}/rollback", {"reason": "chaos"})
    if not standing.live:
        replicas[0].daemon.ask("POST", f"{secret.name}/rotate", {"reason": "chaos"})
    return standing.phase == "rollback"


def _ticks(replicas: Sequence[Replica], *, since: float) -> int:
    """How often each of them ticked since then, the least of it."""
    return min(one.daemon.ticks(since) for one in replicas)


def _until(reached: Callable[[], bool], what: str) -> None:
    wait_until(reached, within=WITHIN, what=what, every=LOOK_EVERY)
