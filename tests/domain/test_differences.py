"""What has changed since a store was written: each difference is a line that names the place and what the store has there,
and what cannot be read is no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.domain.scenes import situation, until, world_in
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.differences import differences
from keyturn.domain.errors import Transient
from keyturn.domain.observations import Acceptance, Entry, Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.situation import Situation

Change = Callable[[World], None]


def soaking() -> World:
    """v1 is served and accepted, v0 disabled."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: world.rotation is not None and world.rotation.soak is not None)
    return world


def nothing(world: World) -> None:
    assert world.rotation is not None


def readers_get_nothing(world: World) -> None:
    world.overwrite(world.targets["t0"], missing=True)


def readers_get_anothers(world: World) -> None:
    world.overwrite(world.targets["t0"], missing=False)


def readers_get_the_old(world: World) -> None:
    world.give(world.targets["t0"], 0)


def obstacle(world: World) -> None:
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)


def mark(world: World) -> None:
    world.targets["t1"].marks.add(0)


def old_is_enabled(world: World) -> None:
    world.verifiers["g0"].table[0] = Entry.ACTIVE


def new_is_gone(world: World) -> None:
    del world.verifiers["g1"].table[1]


FOUND: tuple[tuple[Change, list[str]], ...] = (
    (nothing, []),
    (readers_get_nothing, ["readers of t0 get nothing; the store has v1 there"]),
    (readers_get_anothers, ["readers of t0 get hand-3, which the store does not know; it has v1 there"]),
    (readers_get_the_old, ["readers of t0 get v0; the store has v1 there"]),
    (obstacle, ["t0: AWSPENDING stranger", "t1: AWSPENDING stranger"]),
    (mark, ["v0 is marked compromised at t1; the store does not know that"]),
    (old_is_enabled, ["g0 has v0 active; the store has it disabled"]),
    (new_is_gone, ["g1 has v1 absent; the store has it accepted"]),
)


@pytest.mark.parametrize(("change", "said"), FOUND, ids=lambda one: getattr(one, "__name__", ""))
def test_each_difference_is_named(change: Change, said: list[str]) -> None:
    """One change is one line for each place, and no change is none."""
    world = soaking()
    change(world)
    assert list(differences(situation(world))) == said


def test_what_the_store_knows_is_no_difference() -> None:
    """A mark that both have, and a version that is not made yet, or only on its way to the authority."""
    world = world_in(Phase.INTRODUCE)
    assert list(differences(situation(world))) == []
    until(world, lambda: world.rotation is not None and world.rotation.versions[1].key_id is not None)
    assert world.verifiers["g0"].table.get(1) is None
    assert list(differences(situation(world))) == []
    s = situation(soaking())
    leaked = {serial: replace(version, compromised_at=s.now) for serial, version in s.rotation.versions.items()}
    targets = {name: replace(seen, marked=frozenset({0})) for name, seen in s.seen.targets.items()}
    s = replace(s, rotation=replace(s.rotation, versions=leaked), seen=replace(s.seen, targets=targets))
    assert list(differences(s)) == []


def test_what_a_rollback_gives_back_is_no_difference() -> None:
    """The old version was disabled once, and is to be accepted again."""
    world = soaking()
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: world.verifiers["g0"].table[0] is Entry.ACTIVE)
    assert list(differences(situation(world))) == []


def test_what_was_revoked_must_be_gone() -> None:
    """A version for which a revoke was ever committed is listed as revoked, or not at all."""
    s = situation(soaking())
    s = replace(s, rotation=replace(s.rotation, revoked=frozenset({0})))
    said = [f"{name} has v0 disabled; the store has it revoked" for name in ("g0", "g1")]
    assert list(differences(s)) == said
    assert list(differences(with_entries(s, Entry.REVOKED))) == []


def test_a_key_that_no_version_knows_is_named() -> None:
    """What the authority holds beyond that is a difference too."""
    s = situation(soaking())
    stranger = Obstacle(what="no version knows the key", id="k9", since=None)
    s = replace(s, seen=replace(s.seen, strangers=(stranger,)))
    assert list(differences(s)) == ["the authority holds k9, which the store does not know"]


def test_a_verifier_that_refuses_what_it_lists_is_named() -> None:
    """The listing alone does not say that a version is accepted."""
    s = situation(soaking())
    g0 = replace(s.seen.verifiers["g0"], acceptance={0: Acceptance.DISABLED, 1: Acceptance.REFUSED})
    s = replace(s, seen=replace(s.seen, verifiers={**s.seen.verifiers, "g0": g0}))
    assert list(differences(s)) == ["g0 refuses v1, which it lists as active"]


def with_entries(s: Situation, entry: Entry) -> Situation:
    """v0 listed otherwise at every verifier."""
    listed = {name: replace(seen, entries={**seen.entries, 0: entry}) for name, seen in s.seen.verifiers.items()}
    return replace(s, seen=replace(s.seen, verifiers=listed))


def target_is_away(world: World) -> None:
    world.targets["t0"].away = True


def listing_fails(world: World) -> None:
    world.verifiers["g1"].unlisted = True


def authority_names_nobody(world: World) -> None:
    world.verifiers = {}


BLIND: tuple[tuple[Change, str], ...] = (
    (target_is_away, "t0 cannot be read"),
    (listing_fails, "g1 cannot be asked"),
    (authority_names_nobody, "names no verifier"),
)


@pytest.mark.parametrize(("change", "said"), BLIND)
def test_what_cannot_be_read_is_no_difference(change: Change, said: str) -> None:
    """Then nobody can say what is different."""
    world = soaking()
    change(world)
    with pytest.raises(Transient, match=said):
        list(differences(situation(world)))
