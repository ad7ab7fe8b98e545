"""Several replicas of the real runtime on one store, each of which can be stopped at any of its calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tests.unit.runtime.rig import KEY, NAME, SECOND, Rig

from keyturn.ports.store import Store
from keyturn.runtime.claims import LEASE
from keyturn.runtime.registry import Registry
from keyturn.runtime.tick import Runtime
from keyturn.testing.fakes import InlineExecutor

CHANGES = {"keep", "stage", "promote", "remove", "mark", "install", "enable", "disable", "revoke"}


class Watched:
    """A part as one replica has it: what it calls is written down, and its process may stop just before a call."""

    def __init__(self, part: object, before: Callable[[str], None]) -> None:
        self._part = part
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._before(name)
            return found(*arguments, **named)

        return call


class Replica:
    """One process: its own runtime, clock and connections."""

    def __init__(self, rig: Rig, owner: str) -> None:
        self.sent: list[str] = []
        """The calls by which it changed something, and deliveries."""
        self._stops: dict[str, Callable[[], None]] = {}
        self.clock = rig.clock
        wired = rig.registry.credential(NAME)
        registry = Registry(
            credentials={
                NAME: replace(
                    wired,
                    issuer=self._watched(wired.issuer),
                    targets={name: self._watched(target) for name, target in wired.targets.items()},
                )
            },
            sources={
                name: replace(one, poll=None if one.poll is None else self._watched(one.poll))
                for name, one in rig.registry.sources.items()
            },
            notifiers={name: self._watched(one) for name, one in rig.registry.notifiers.items()},
        )
        self.runtime = Runtime(
            store=cast(Store, self._watched(rig.store)),
            registry=registry,
            clock=self.clock,
            executor=InlineExecutor(),
            fingerprint_key=KEY,
            owner=owner,
            met=rig.meet,
        )

    def stop_at(self, call: str, meanwhile: Callable[[], None]) -> None:
        """Let the process stand still just before its next call of that name, and the rest of the world go on."""
        self._stops[call] = meanwhile

    @property
    def stopped(self) -> bool:
        """Whether every stop that was asked for has happened."""
        return not self._stops

    def _watched(self, part: object) -> Any:
        return Watched(part, self._before)

    def _before(self, call: str) -> None:
        meanwhile = self._stops.pop(call, None)
        if meanwhile is not None:
            meanwhile()
        if call in CHANGES or call == "deliver":
            self.sent.append(call)


class Fleet:
    """A rig whose ticks are made by replicas, one after another."""

    def __init__(self, rig: Rig, *owners: str) -> None:
        self.rig = rig
        self.replicas = [Replica(rig, owner) for owner in owners]
        self.up(*self.replicas)

    def up(self, *replicas: Replica) -> None:
        """These run, and no others."""
        self.rig.runtime = replicas[0].runtime

        def others() -> None:
            for replica in replicas[1:]:
                replica.runtime.tick()

        self.rig.before_tick = others

    def outlast(self, *replicas: Replica) -> None:
        """Time passes while only these run, until what the others held has run out."""
        self.up(*replicas)
        for _ in range(LEASE // SECOND + 1):
            self.rig.second()
