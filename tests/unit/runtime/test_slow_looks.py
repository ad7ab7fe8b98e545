"""Looks that take long, because what is asked does not answer: they come to an end, however many replicas there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.unit.runtime.rig import KEY, NAME, Rig
from tests.unit.runtime.timeline import Timeline, timeline

from keyturn.domain.errors import Transient
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.runtime.claims import LEASE
from keyturn.runtime.registry import Registry
from keyturn.runtime.tick import Runtime
from keyturn.runtime.values import value_of
from keyturn.testing.fakes import InlineExecutor

TIMEOUT = timedelta(seconds=10)
TICK = timedelta(seconds=10)


class Unanswering:
    """A target that answers nothing any more: each call comes back when its time is up."""

    timeout = TIMEOUT

    def __init__(self, target: Any, wait: Callable[[], None]) -> None:
        self.location = target.location
        self.asked: list[str] = []
        self._wait = wait

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> object:
            self.asked.append(name)
            self._wait()
            raise Transient("no answer in time")

        return call


class Race:
    """Replicas that tick beside each other, from when the targets of a rotation under way answer no more."""

    def __init__(
        self, line: Timeline, rig: Rig, *, replicas: int, dead: Sequence[str], takes: timedelta = TIMEOUT
    ) -> None:
        self.rig = rig
        rig.runtime.resign()
        wired = rig.registry.credential(NAME)
        targets: dict[str, Any] = dict(wired.targets)
        wait = partial(line.sleep, takes.total_seconds())
        targets |= {name: Unanswering(targets[name], wait) for name in dead}
        registry = Registry(
            credentials={NAME: replace(wired, targets=targets)},
            sources=rig.registry.sources,
            notifiers=rig.registry.notifiers,
        )
        self.runtimes = [self._runtime(registry, f"replica {number}") for number in range(replicas)]
        self._line = line
        for number, runtime in enumerate(self.runtimes):
            line.spawn(lambda first=3.0 * number, runtime=runtime: self._tick(runtime, first))  # type: ignore[misc]

    def _runtime(self, registry: Registry, owner: str) -> Runtime:
        rig = self.rig
        return Runtime(
            store=rig.store,
            registry=registry,
            clock=rig.clock,
            executor=InlineExecutor(),
            fingerprint_key=KEY,
            owner=owner,
            met=rig.meet,
        )

    def _tick(self, runtime: Runtime, first: float) -> None:
        self._line.sleep(first)
        while True:
            due = self.rig.clock.monotonic() + TICK.total_seconds()
            runtime.tick()
            self._line.sleep(max(due - self.rig.clock.monotonic(), 0.01))

    def cut(self) -> bool:
        """Whether every verifier refuses the old version."""
        entries = {node.entries()[self.rig.first_key_id] for node in self.rig.authority.nodes.values()}
        return entries <= {Entry.DISABLED, Entry.REVOKED}

    def succeeded(self) -> bool:
        """Whether every verifier accepts the new version."""
        rotation = self.rig.store.live_of(NAME)
        assert rotation is not None
        key = rotation.versions[rotation.incoming].key_id
        return {node.entries().get(key or "") for node in self.rig.authority.nodes.values()} == {Entry.ACTIVE}


def stuck(rig: Rig) -> list[object]:
    """What was told of credentials that nothing can be done for."""
    return [payload["text"] for payload in rig.notifier.payloads if payload["topic"] == "credential.stuck"]


def rotating(targets: int, phase: Phase) -> Rig:
    """A rotation under way at so many targets, whose old version is compromised."""
    rig = Rig(targets=tuple(f"t{number}" for number in range(targets)))
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(phase)
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=None, cut_now=True)
    return rig


def test_what_a_look_could_not_read_is_not_asked_again_by_it() -> None:
    """A cut waits for a target that does not answer for one call's time, and not for one more for each version and each
    place where its value may be."""
    rig = rotating(1, Phase.OVERLAP)
    with timeline(rig.clock) as line:
        race = Race(line, rig, replicas=1, dead=["t0"])
        assert line.until(race.cut, seconds=600) < (2 * TIMEOUT).total_seconds()


def test_a_value_is_asked_once_of_a_target_that_does_not_answer() -> None:
    """Where a version's value may be in three ways at one target, and the first is not answered, it counts as unreadable:
    the other two would be waited for as long."""
    rig = rotating(1, Phase.OVERLAP)
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    dead: Any = Unanswering(rig.registry.credential(NAME).targets["t0"], lambda: None)
    with pytest.raises(Transient, match="v1 of payments cannot be read"):
        value_of(rotation, 1, [dead], KEY)
    assert dead.asked == ["fetch"]


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR])
def test_a_look_that_takes_longer_than_a_lease_keeps_it(phase: Phase) -> None:
    """Of eight targets none answers, and to hear that takes longer than a lease lasts: the replica that looks keeps its
    claim, so that what is compromised is cut, as if it were alone."""
    rig = rotating(8, phase)
    with timeline(rig.clock) as line:
        race = Race(line, rig, replicas=2, dead=rig.targets)
        looked = line.until(race.cut, seconds=600)
        assert LEASE.total_seconds() < looked < 2 * 8 * TIMEOUT.total_seconds()


def test_an_effect_whose_value_takes_longer_to_read_than_a_lease_lasts_is_sent() -> None:
    """The compromised version is cut, its successor is staged at the one target of nine that answers, and reading it there
    waits for each that does not: the replica that does so keeps its claims, and the successor is accepted."""
    rig = rotating(9, Phase.INTRODUCE)
    with timeline(rig.clock) as line:
        race = Race(line, rig, replicas=2, dead=rig.targets[:-1])
        line.until(race.cut, seconds=600)
        line.until(race.succeeded, seconds=3600)


def test_replicas_that_go_on_taking_a_credential_from_each_other_are_told_of() -> None:
    """A plugin takes longer than it says, and than a lease lasts: each replica finds its look overtaken by the other,
    nothing is ever done, and whoever is on duty is told."""
    rig = rotating(1, Phase.OVERLAP)
    with timeline(rig.clock) as line:
        Race(line, rig, replicas=2, dead=["t0"], takes=2 * LEASE)
        line.until(lambda: stuck(rig) != [], seconds=3600)
    assert stuck(rig)[0] == f"{NAME}: nothing can be done for it: another replica has taken credential/{NAME} over"
