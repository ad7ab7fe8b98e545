"""A receiver that is away costs little, and keeps nothing from those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from tests.unit.runtime.rig import Rig

from keyturn.domain.effects import Message
from keyturn.domain.errors import Transient

MANY = 250
"""More than are read from the outbox at once."""


class Dead:
    """A notifier that does not answer."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.away = True

    def deliver(self, message_id: str, occurred_at: datetime, payload: Mapping[str, object]) -> None:
        self.tried.append(message_id)
        if self.away:
            raise Transient("no answer")

    def close(self) -> None:
        """Nothing is held."""


def queued(rig: Rig, name: str, *notifiers: str, many: int = 1) -> None:
    messages = [Message(id=f"{name}-{number}", topic=name, text="", details=()) for number in range(many)]
    rig.store.enqueue(messages, notifiers, now=rig.clock.now())


def with_dead() -> tuple[Rig, Dead]:
    rig, dead = Rig(), Dead()
    rig.registry = replace(rig.registry, notifiers={"dead": dead, "ops": rig.notifier})
    rig.restart()
    return rig, dead


def test_dead_receiver_is_tried_once_a_pass_and_starves_nobody() -> None:
    """Hundreds of messages wait for a receiver that is away, all due: one of them is tried, and what is for another that was
    queued last is delivered in the same pass."""
    rig, dead = with_dead()
    queued(rig, "old", "dead", many=MANY)
    queued(rig, "page", "dead", "ops")
    rig.runtime.tick()
    assert dead.tried == ["old-0"]
    assert [payload["topic"] for payload in rig.notifier.payloads] == ["page"]
    rig.clock.advance(timedelta(seconds=20))
    queued(rig, "next", "dead", "ops")
    rig.runtime.tick()
    assert len(dead.tried) == 2
    assert [payload["topic"] for payload in rig.notifier.payloads] == ["page", "next"]


def test_receiver_that_is_back_gets_everything() -> None:
    """Nothing that was left alone meanwhile is lost, nor told twice."""
    rig, dead = with_dead()
    queued(rig, "old", "dead", many=MANY)
    for _ in range(3):
        rig.runtime.tick()
        rig.clock.advance(timedelta(seconds=1))
    dead.away, dead.tried = False, []
    rig.clock.advance(timedelta(hours=1))
    for _ in range(MANY // 100 + 1):
        rig.runtime.tick()
    assert sorted(dead.tried) == sorted(f"old-{number}" for number in range(MANY))


def test_what_lasts_is_told_to_a_notifier_that_was_renamed() -> None:
    """A page waits for a receiver that is away, and the configuration calls the receiver another name by now: when it is
    said again it goes there, once, for as long as it is said."""
    rig, _ = with_dead()
    queued(rig, "restored", "dead")
    rig.runtime.tick()
    rig.registry = replace(rig.registry, notifiers={"ops": rig.notifier})
    rig.restart()
    for _ in range(3):
        rig.clock.advance(timedelta(seconds=20))
        queued(rig, "restored", "ops")
        rig.runtime.tick()
    assert [payload["topic"] for payload in rig.notifier.payloads] == ["restored"]
