"""What breaks for one credential, in one plugin or in one delivery, stops nothing else; and it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.runtime.rig import NAME, QUICK, SECOND, Heard, Rig

from keyturn.domain.effects import Message
from keyturn.domain.errors import ConfigError, KeyturnError, Refused
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry, SourceKind
from keyturn.domain.phases import Phase
from keyturn.domain.policy import PAGE_EVERY
from keyturn.ports.records import Lease, Told
from keyturn.ports.usage import UsageBatch
from keyturn.runtime.contained import STUCK
from keyturn.runtime.registry import WiredSource
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import Fault

OTHER = "ahead"
"""A second credential, which comes before the rig's own."""


class Spoilt(MemoryStore):
    """Some of what is asked of it breaks."""

    raises: Exception | None = None
    """For the rotation of the second credential."""
    unreadable: str | None = None
    """The credential whose rotation's record is damaged."""
    starts_raise: Exception | None = None
    usage_raises: Exception | None = None

    def rotating(self) -> Sequence[str]:
        if self.starts_raise is not None:
            raise self.starts_raise
        return [*super().rotating(), *([OTHER] if self.raises is not None else [])]

    def live_of(self, credential: str) -> Rotation | None:
        if credential == OTHER and self.raises is not None:
            raise self.raises
        if credential == self.unreadable:
            raise KeyturnError("its record cannot be read")
        return super().live_of(credential)

    def add_usage(self, told: Sequence[Told], *, received_at: Any, claim: Lease | None = None) -> Any:
        if self.usage_raises is not None and claim is not None:
            raise self.usage_raises
        return super().add_usage(told, received_at=received_at, claim=claim)


class Breaks:
    """A plugin, one method of which raises what no plugin should; or each."""

    def __init__(self, plugin: object, method: str | None, error: Exception | None = None) -> None:
        self._plugin = plugin
        self._method = method
        self._error = error or LookupError("hunter2")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plugin, name)
        return self._break if name == self._method or (self._method is None and callable(found)) else found

    def _break(self, *_: object, **__: object) -> Any:
        raise self._error


def warmed(**changes: Callable[[Any], Any]) -> Rig:
    """A rig that bears defects, with a second credential, and with plugins changed by name of their kind."""
    rig = Rig(open_store=lambda now: Spoilt(now=now), bears_defects=True)
    wired = rig.registry.credential(NAME)
    change = changes.get("target", lambda target: target)
    issuer = changes.get("issuer", lambda issuer: issuer)(wired.issuer)
    targets: dict[str, Any] = {**wired.targets, "t1": change(wired.targets["t1"])}
    rig.registry = replace(
        rig.registry,
        credentials={
            OTHER: rig.another(OTHER),
            NAME: replace(wired, issuer=issuer, targets=targets),
        },
    )
    rig.warm_up()
    rig.restart()
    return rig


def spoilt(rig: Rig) -> Spoilt:
    assert isinstance(rig.store, Spoilt)
    return rig.store


def stuck(rig: Rig) -> list[str]:
    return [str(payload["text"]) for payload in rig.notifier.payloads if payload["topic"] == "credential.stuck"]


@pytest.mark.parametrize("error", [KeyturnError("rotation r1: its record cannot be read"), LookupError("hunter2")])
def test_credential_that_cannot_be_worked_on_is_told_and_stops_no_other(error: Exception) -> None:
    """One rotation's record cannot be read: the other credential rotates to its end, pages go out, and whoever is on duty is
    told after a few ticks which one it is, once in the time between two pages, with nothing that the error may hold."""
    rig = warmed()
    spoilt(rig).raises = error
    for _ in range(STUCK - 1):
        rig.second()
    assert stuck(rig) == []
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)
    (text,) = stuck(rig)
    assert text.startswith(f"{OTHER}: ")
    assert "hunter2" not in text
    assert ("its record cannot be read" in text) is isinstance(error, KeyturnError)
    assert {type(one) for one in rig.defects} <= {LookupError}
    assert bool(rig.defects) is not isinstance(error, KeyturnError)
    assert rig.runtime.defects == len(rig.defects)
    rig.clock.advance(rig.policy.page_every)
    rig.second()
    assert len(stuck(rig)) == 2


def test_credential_that_is_never_reached_is_told() -> None:
    """A new credential whose backend never answers has no rotation, and so no deadline: after a few ticks its people are
    told, its status says what is away, and once that answers it is in care and nothing is the matter (P10)."""
    rig = Rig()
    rig.backend.faults.inject(Fault.LOST_REQUEST, "view", times=None)
    for _ in range(STUCK - 1):
        rig.second()
    assert stuck(rig) == []
    with pytest.raises(Refused, match="4 ticks in a row: fake: view: no answer"):
        rig.runtime.status(NAME)
    rig.second()
    assert len(stuck(rig)) == 1
    rig.backend.faults.clear()
    rig.second()
    assert rig.runtime.status(NAME).trouble is None


def test_pages_without_time_between_them_come_as_by_default() -> None:
    """A rotation began under a policy that no configuration may have any more: it holds, pages and goes on all the same,
    and whoever cannot be worked on is told of."""
    rig = Rig(policy=replace(QUICK, page_every=0 * SECOND), open_store=lambda now: Spoilt(now=now))
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.backend.place("t0").overwrite("kt_another_hand")
    rig.until(lambda rotation: rotation.hold is not None and rotation.hold.pages == 1)
    rig.clock.advance(PAGE_EVERY)
    rig.until(lambda rotation: rotation.hold is not None and rotation.hold.pages == 2)
    spoilt(rig).unreadable = NAME
    for _ in range(STUCK):
        rig.second()
    assert len(stuck(rig)) == 1


def test_what_works_again_is_told_no_more() -> None:
    """Failures that are not in a row page nobody."""
    rig = warmed()
    for _ in range(3):
        spoilt(rig).raises = KeyturnError("its record cannot be read")
        for _ in range(STUCK - 1):
            rig.second()
        spoilt(rig).raises = None
        rig.store.set_check(OTHER, rig.clock.now())
        rig.second()
    assert stuck(rig) == []


def test_broken_backend_keeps_nothing_else_from_being_done() -> None:
    """A target's plugin raises what it must not: that target counts as one that cannot be reached, and what is compromised
    is cut."""
    rig = warmed()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    wired = rig.registry.credential(NAME)
    targets: dict[str, Any] = {**wired.targets, "t1": Breaks(wired.targets["t1"], "view")}
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets=targets)})
    rig.restart()
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=None, cut_now=True)
    for _ in range(3):
        rig.second()
    assert all(
        node.entries()[rig.first_key_id] in (Entry.DISABLED, Entry.REVOKED) for node in rig.authority.nodes.values()
    )
    assert rig.defects


def test_backend_whose_options_are_wrong_by_now_keeps_nothing_else_from_being_done() -> None:
    """Every call of a target's plugin raises an error of ours that is no failure of a call, since the file of its token is
    empty: what is compromised is cut all the same, and nobody is told that nothing can be done."""
    rig = warmed()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    wired = rig.registry.credential(NAME)
    broken = Breaks(wired.targets["t1"], None, ConfigError("the token file is empty"))
    targets: dict[str, Any] = {**wired.targets, "t1": broken}
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, targets=targets)})
    rig.restart()
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=None, cut_now=True)
    for _ in range(STUCK):
        rig.second()
    assert all(
        node.entries()[rig.first_key_id] in (Entry.DISABLED, Entry.REVOKED) for node in rig.authority.nodes.values()
    )
    assert rig.runtime.trouble(NAME) is None
    assert stuck(rig) == []


def test_broken_issuer_is_a_failed_call() -> None:
    """An effect whose plugin breaks has an outcome that says so, without what the error says, and is tried again."""
    rig = warmed()
    wired = rig.registry.credential(NAME)
    broken: Any = Breaks(wired.issuer, "install")
    rig.registry = replace(rig.registry, credentials={NAME: replace(wired, issuer=broken)})
    rig.restart()
    rotation = rig.runtime.start(NAME, by="ada", why="test")
    for _ in range(5):
        rig.second()
    tried = [one for one in rig.store.journal(rotation.id).values() if one.effect.kind.value == "install"]
    assert tried[0].outcome is not None
    assert tried[0].attempts > 1
    assert "the plugin broke (LookupError" in tried[0].outcome.message
    assert "hunter2" not in tried[0].outcome.message


def test_broken_notifier_keeps_no_page_from_another() -> None:
    """One notifier's plugin breaks: what it was to tell waits for another try, and the others tell it."""
    rig = warmed()
    heard = Heard()
    broken: Any = Breaks(heard, "deliver")
    rig.registry = replace(rig.registry, notifiers={"broken": broken, "ops": heard})
    rig.restart()
    rig.store.enqueue([Message(id="m1", topic="t", text="", details=())], ["broken", "ops"], now=rig.clock.now())
    rig.runtime.tick()
    assert len(heard.payloads) == 1
    (waiting,) = rig.store.outbox(rig.clock.now() + 60 * SECOND)
    assert (waiting.notifier, waiting.attempts) == ("broken", 1)


@pytest.mark.parametrize("error", [KeyturnError("full"), LookupError("hunter2")])
def test_usage_that_cannot_be_stored_stops_no_other_work(error: Exception) -> None:
    """What a polled source says cannot be taken: the pass goes on."""
    rig = warmed()

    class Polled:
        def poll(self, cursor: str | None, *, now: Any) -> UsageBatch:
            return UsageBatch(reports=(), watermark=now, cursor="1")

    second: Any = Polled()
    gateway = rig.registry.sources["gateway"]
    polled = WiredSource(
        name="second", kind=SourceKind.AUTHENTICATION, sees_failures=True, resolution=SECOND, poll=second
    )
    rig.registry = replace(rig.registry, sources={"gateway": gateway, "second": polled})
    rig.restart()
    spoilt(rig).usage_raises = error
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.COMPLETED)


@pytest.mark.parametrize("error", [KeyturnError("away"), LookupError("hunter2")])
def test_pages_go_out_though_the_work_cannot_begin(error: Exception) -> None:
    """What is to be done cannot be read: the pass says so when it has ended, and what was queued is delivered."""
    rig = warmed()
    spoilt(rig).starts_raise = error
    rig.store.enqueue([Message(id="m1", topic="t", text="", details=())], ["ops"], now=rig.clock.now())
    before = len(rig.notifier.payloads)
    with pytest.raises(type(error)):
        rig.runtime.tick()
    assert len(rig.notifier.payloads) == before + 1
