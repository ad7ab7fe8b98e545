"""One key under several names: a credential that was renamed, and two that are configured with one key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from tests.unit.runtime.rig import NAME, SECOND, Rig

from keyturn.domain import commands
from keyturn.domain.errors import Refused
from keyturn.domain.model import Version, VersionState
from keyturn.domain.phases import Phase
from keyturn.ports.usage import UsageReport
from keyturn.runtime.usage import NotCovered

BEFORE, AFTER = "api-payments", "payments-api"
"""Names that sort before and after the credential's own."""


def renamed(old: str) -> Rig:
    """A credential that went by another name, and was taken into care anew with the same key."""
    rig = Rig()
    store, registry = rig.store, rig.registry
    rig.registry = replace(registry, credentials={old: replace(registry.credential(NAME), name=old)})
    rig.restart()
    rig.runtime.tick()
    assert store.credential(old) is not None
    rig.registry = registry
    rig.restart()
    rig.warm_up()
    return rig


def two_names(rig: Rig, other: str, sources: Sequence[str] = ("gateway",)) -> None:
    """Configure the same key under another name too."""
    twin = replace(rig.registry.credential(NAME), name=other, sources=tuple(sources))
    rig.registry = replace(rig.registry, credentials={**rig.registry.credentials, other: twin})
    rig.restart()


def seen(rig: Rig, name: str) -> set[tuple[str, int]]:
    return {(client, serial) for client, serial, _ in rig.store.uses(name)}


def use(rig: Rig) -> UsageReport:
    now = rig.clock.now()
    return UsageReport(
        key_id=rig.first_key_id, client="late", start=now, successes=1, failures=0, matched=True, identified=True
    )


@pytest.mark.parametrize("old", [BEFORE, AFTER])
def test_users_of_a_renamed_credential_keep_their_key(old: str) -> None:
    """Whoever goes on using the first version is seen, and it is not taken away from under them (promise P2); nothing is
    kept of the name that is configured no more."""
    rig = renamed(old)
    everybody = {client.name for client in rig.clients}
    assert seen(rig, NAME) == {(name, 1) for name in everybody}
    rig.clients[0].refreshes = False
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.MONITOR)
    for _ in range(60):
        rig.second()
    rotation = rig.store.live_of(NAME)
    assert rotation is not None
    assert rotation.phase is Phase.MONITOR
    assert rig.refused == {}
    assert seen(rig, old) == set()


def test_use_of_a_key_is_use_of_every_credential_that_has_it() -> None:
    """A store may remember two that are configured with one key: neither is silent while it is used."""
    rig = Rig()
    rig.second()
    known = rig.store.credential(NAME)
    assert known is not None
    rig.store.register(BEFORE, known.versions[1], due_at=None)
    two_names(rig, BEFORE)
    rig.second()
    everybody = {(client.name, 1) for client in rig.clients}
    assert seen(rig, NAME) == seen(rig, BEFORE) == everybody


def test_source_is_refused_only_where_it_covers_none_that_has_the_key() -> None:
    """What it covers is kept, and nothing of what it does not; who covers neither may speak for neither, and people are
    told."""
    rig = renamed(BEFORE)
    rig.store.register(AFTER, Version(serial=1, state=VersionState.CURRENT, key_id=rig.first_key_id), due_at=None)
    two_names(rig, AFTER, sources=())
    rig.registry = replace(rig.registry, sources={**rig.registry.sources, "stray": rig.registry.sources["gateway"]})
    rig.restart()
    rig.runtime.ingest.push("gateway", [use(rig)], watermark=None, id=None)
    assert ("late", 1) in seen(rig, NAME)
    assert seen(rig, AFTER) == seen(rig, BEFORE) == set()
    with pytest.raises(NotCovered, match=f"may not speak for '{NAME}'"):
        rig.runtime.ingest.push("stray", [use(rig)], watermark=None, id=None)
    rig.runtime.tick()
    assert [one["topic"] for one in rig.notifier.payloads] == ["source.overreach"]


@pytest.mark.parametrize("configured", [False, True])
def test_value_of_another_name_is_adopted_unless_that_is_configured(configured: bool) -> None:
    """What readers get by a hand may be a key that a name has which is configured no more: that takes it from nobody. A key
    of a credential that is configured is not adopted."""
    rig = Rig()
    rig.warm_up()
    hand = rig.authority.new_key("hand")
    rig.authority.credential({}).install(hand.key_id, hand.value, ("one", "two"))
    rig.store.register(BEFORE, Version(serial=7, state=VersionState.CURRENT, key_id=hand.key_id), due_at=None)
    if configured:
        two_names(rig, BEFORE)
    rig.runtime.start(NAME, by="ada", why="test")
    rig.until_phase(Phase.OVERLAP)
    rig.backend.place("t0").overwrite(hand.value.reveal())
    rig.until(lambda one: one.hold is not None)
    look = rig.runtime.look(NAME)
    found = look.targets["t0"].serving.id or ""
    accept = partial(commands.accept, seen=look, target="t0", found=found, by="ada", why="the vendor's own")
    rig.runtime.command(NAME, accept, by="ada", what="accept")
    rig.warm_up()
    rotation = rig.store.latest_of(NAME)
    assert rotation is not None
    said = [one.outcome.message for one in rig.store.journal(rotation.id).values() if one.outcome is not None]
    assert any("one key is one version" in message for message in said) is configured
    assert (rotation.versions[rotation.incoming].key_id != hand.key_id) is configured


def test_two_credentials_of_one_key_are_not_both_taken_into_care() -> None:
    """The second is refused, and says which has the key and what to do, on a dry run too; one that was renamed is none."""
    rig = Rig()
    rig.runtime.tick()
    two_names(rig, AFTER)
    ask: Callable[..., object]
    for ask in (
        partial(rig.runtime.start, by="ada", why="test"),
        partial(rig.runtime.start, by="ada", why="test", dry_run=True),
        partial(rig.runtime.emergency, serial=None, by="ada", why="test", grace=None, cut_now=False, dry_run=True),
        partial(rig.runtime.adopt, code=None, by="ada", why="test"),
    ):
        with pytest.raises(
            Refused, match=f"readers of {AFTER} get v1 of {NAME} .*: one key, one credential; give {AFTER} a key"
        ):
            ask(AFTER)
    assert rig.store.credential(AFTER) is None
    for _ in range(10):
        rig.clock.advance(SECOND)
        rig.runtime.tick()
    assert any("one key, one credential" in str(one["text"]) for one in rig.notifier.payloads)
