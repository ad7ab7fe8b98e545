"""Other people's hands, and places that join, in every phase: each is answered or mended, and the rotation ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, step, world_in
from tests.domain.tracing import clean, go, leak, tick
from tests.domain.world import World

from keyturn.domain import commands
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.machine import decide
from keyturn.domain.observations import Entry, Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling

FORWARD = (Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY)
SERVING = FORWARD[1:]
"""Phases in which readers are given the new version."""


def coming_to(phase: Phase) -> World:
    """A world that has just come to a phase."""
    if phase is not Phase.ROLLBACK:
        return world_in(phase)
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    tick(world)
    return world


def answer(world: World, target: str) -> None:
    """An operator overwrites what a hand gave to readers."""
    found, seen = world.targets[target].id or "", world.observe()
    world.command(commands.reassert, seen=seen, target=target, found=found, by="ada", why="a slip")


@pytest.mark.parametrize(("phase", "missing"), [*product((*FORWARD, Phase.ROLLBACK), (False, True))])
def test_a_hand_is_overwritten_where_an_operator_says_so(phase: Phase, missing: bool) -> None:
    """In every phase a value set or taken by hand holds, and `reassert` gives readers what the phase calls for."""
    world = coming_to(phase)
    world.overwrite(world.targets["t0"], missing=missing)
    held = go(world, lambda: rotation(world).hold is not None)[-1]
    assert held.verdict.reason is (Reason.TARGET_MISSING if missing else Reason.TARGET_FOREIGN)
    answer(world, "t0")
    said = go(world, lambda: world.targets["t0"].serial is not None, ticks=5)
    assert Ruling.HOLD not in {decision.verdict.ruling for decision in said}, "the answer is followed by another page"
    assert world.rotation is None or rotation(world).phase is phase
    go(world, ended(world))
    clean(world, 0 if phase is Phase.ROLLBACK else 1)


@pytest.mark.parametrize(("phase", "missing"), [*product(FORWARD, (False, True))])
def test_a_hand_in_an_emergency_keeps_nothing_from_readers_of_other_targets(phase: Phase, missing: bool) -> None:
    """What a hand did to one target holds what takes away from its readers; the other goes on, and the cut comes."""
    world = world_in(phase, grace_cap=seconds(60), grace=seconds(20))
    leak(world, 0)
    world.overwrite(world.targets["t0"], missing=missing)
    for _ in range(20):
        tick(world)
    assert all(verifier.table[0] is not Entry.ACTIVE for verifier in world.verifiers.values())
    assert world.targets["t1"].serial == 1
    assert rotation(world).hold is not None
    answer(world, "t0")
    go(world, ended(world))
    clean(world, 1)


@pytest.mark.parametrize("phase", FORWARD)
def test_a_hand_is_overwritten_though_the_rotation_is_paused(phase: Phase) -> None:
    """The pause keeps the rotation from going on; readers are given back at once what an operator wants given back."""
    world = world_in(phase)
    world.command(commands.pause, by="ada", why="a look", now=world.now)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    answer(world, "t0")
    wanted = 1 if phase in SERVING[1:] else 0
    go(world, lambda: world.targets["t0"].serial == wanted, ticks=3)
    assert rotation(world).pause is not None


@pytest.mark.parametrize("phase", SERVING)
def test_what_a_target_refuses_for_good_is_not_sent_again_before_a_person_says_so(phase: Phase) -> None:
    """The backend denies the promote that an operator asked for with `reassert`: it is quarantined, and sent once more by
    `resume`, not each minute."""
    world = world_in(phase)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    answer(world, "t0")
    world.denied.add(EffectKind.PROMOTE)
    sent = [[effect.kind for effect in step(world, 5).effects].count(EffectKind.PROMOTE) for _ in range(8)]
    assert sum(sent) == 1
    stands = rotation(world).halted or rotation(world).hold
    assert stands is not None
    assert "promote is not permitted" in stands.detail
    world.denied.clear()
    assert not step(world, 5).effects
    world.command(commands.resume)
    go(world, ended(world))
    clean(world, 1)


def test_a_hand_is_overwritten_though_another_obstacle_holds_the_mint() -> None:
    """Somebody's pending value keeps anything from being minted: the operator's word about readers is not held up by it,
    or the two would wait for each other where the value is the one that readers get."""
    world = world_in(Phase.INTRODUCE)
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    answer(world, "t0")
    go(world, lambda: world.targets["t0"].serial == 0, ticks=3)
    tick(world)
    held = rotation(world).hold
    assert held is not None
    assert held.reason is Reason.OBSTACLE


@pytest.mark.parametrize("phase", [*SERVING, Phase.ROLLBACK])
def test_nothing_is_reasserted_before_it_is_accepted(phase: Phase) -> None:
    """A verifier joins while a hand is answered: readers get the version only when it is accepted there too."""
    world = coming_to(phase)
    go(world, lambda: "t0" in rotation(world).promoted)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    world.join()
    answer(world, "t0")
    go(world, ended(world))
    clean(world, 0 if phase is Phase.ROLLBACK else 1)


@pytest.mark.parametrize(("phase", "paused"), [*product(SERVING[:3], (False, True))])
def test_a_verifier_that_joins_is_mended(phase: Phase, paused: bool) -> None:
    """A verifier that joins accepts, within some ticks, whatever clients may present; a pause does not stop that."""
    world = world_in(phase)
    if paused:
        world.command(commands.pause, by="ada", why="freeze", now=world.now)
    world.join()
    for _ in range(4):
        tick(world)
    joined = list(world.verifiers.values())[-1]
    wanted = {1} if phase is Phase.RETIRE else {0, 1}
    assert {serial for serial, entry in joined.table.items() if entry is Entry.ACTIVE} == wanted
    assert rotation(world).phase is phase


def test_a_verifier_that_joins_is_mended_while_destroying_is_held() -> None:
    """Readers of one target get another's value, so nothing more is taken away; whoever has the new version is let in by a
    verifier that joins meanwhile all the same."""
    world = world_in(Phase.DESTROY)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    world.join()
    for _ in range(4):
        tick(world)
    joined = list(world.verifiers.values())[-1]
    assert joined.table[1] is Entry.ACTIVE
    assert rotation(world).phase is Phase.DESTROY


@pytest.mark.parametrize("phase", SERVING[:3])
def test_a_stolen_copy_is_made_again_from_another_target(phase: Phase) -> None:
    """Before DESTROY a target that lost its copy of the old value gets one from the other target."""
    world = world_in(phase)
    world.targets["t1"].copies.discard(0)
    world.robbed.add("t1")
    tick(world)
    assert 0 in world.targets["t1"].copies


@pytest.mark.parametrize("back", [False, True])
def test_an_end_is_kept_as_it_was_left(back: bool) -> None:
    """Between rotations a verifier that joins gets the current version, and a tombstone for the dead one, which no late
    call can revive there; a copy that a late call has left goes."""
    world = coming_to(Phase.ROLLBACK) if back else world_in(Phase.DESTROY)
    go(world, ended(world))
    survivor, dead = (0, 1) if back else (1, 0)
    world.join()
    world.targets["t1"].copies.add(dead)
    tick(world)
    joined = list(world.verifiers.values())[-1]
    assert joined.table == {survivor: Entry.ACTIVE}, "what is left comes first"
    for _ in range(2):
        tick(world)
    assert joined.table == {survivor: Entry.ACTIVE, dead: Entry.REVOKED}
    clean(world, survivor)


@pytest.mark.parametrize("back", [False, True])
def test_an_end_is_kept_as_it_was_left_also_while_a_hand_holds(back: bool) -> None:
    """A late call lands between rotations, and meanwhile somebody has overwritten the secret: the hand is a person's matter,
    the call is undone all the same (promise P7)."""
    world = coming_to(Phase.ROLLBACK) if back else world_in(Phase.DESTROY)
    go(world, ended(world))
    survivor, dead = (0, 1) if back else (1, 0)
    world.overwrite(world.targets["t0"], missing=False)
    world.land(Effect(id="late", kind=EffectKind.DISABLE, serial=survivor, verifiers=("g0",)))
    world.targets["t1"].copies.add(dead)
    for _ in range(3):
        tick(world)
    assert world.ended is not None
    assert world.ended.hold is not None
    assert world.ended.hold.reason is Reason.TARGET_FOREIGN
    assert world.verifiers["g0"].table[survivor] is Entry.ACTIVE
    assert world.targets["t1"].copies == set()


@pytest.mark.parametrize("back", [False, True])
def test_an_orphan_is_told_and_keeps_nothing_else_from_being_as_it_was_left(back: bool) -> None:
    """A key of ours that nobody can use holds between rotations; a verifier that joins is mended before that is told."""
    world = coming_to(Phase.ROLLBACK) if back else world_in(Phase.DESTROY)
    go(world, ended(world))
    assert world.ended is not None
    orphans = tuple(Obstacle(what="nobody can use", id=name, since=None) for name in ("k9", "k10"))
    seen = replace(world.observe(world.ended), orphans=orphans)
    told = decide(world.ended, seen, world.now).verdict
    assert (told.reason, told.detail) == (Reason.ORPHAN, "authority: nobody can use k9; nobody can use k10")
    world.join()
    seen = replace(world.observe(world.ended), orphans=orphans)
    assert [effect.kind for effect in decide(world.ended, seen, world.now).effects] == [EffectKind.ENABLE]
    world.verifiers.popitem()
    world.targets["t0"].copies.add(0)
    seen = replace(world.observe(world.ended), orphans=orphans)
    assert [effect.kind for effect in decide(world.ended, seen, world.now).effects] == [EffectKind.REMOVE]


@pytest.mark.parametrize("phase", SERVING[1:])
def test_nothing_is_taken_away_while_a_target_cannot_be_read(phase: Phase) -> None:
    """A target that is away may serve anything, by anybody's hand: no disable and no revoke before it is seen again."""
    world = world_in(phase)
    taking = EffectKind.REVOKE if phase is Phase.DESTROY else EffectKind.DISABLE
    for verifier in world.verifiers.values():  # as if the call of the phase's first tick had come to nothing
        verifier.table[0] = Entry.ACTIVE if taking is EffectKind.DISABLE else Entry.DISABLED
        verifier.excused.add(0)
    target = world.targets["t0"]
    target.id, target.serials["hand"], target.away = "hand", 0, True
    for client in world.clients.values():
        client.refresh = None
    for _ in range(35):
        decision = tick(world)
        assert decision is not None
        assert taking not in {effect.kind for effect in decision.effects}
        assert decision.verdict.ruling is Ruling.WAIT, "what cannot be read is neither lost nor wrong"
    assert rotation(world).phase is phase
    target.away = False
    go(world, lambda: rotation(world).hold is not None and rotation(world).hold.reason is Reason.TARGET_FOREIGN)  # type: ignore[union-attr]
    answer(world, "t0")
    go(world, ended(world))
    clean(world, 1)


def test_a_rollback_takes_nothing_away_while_a_target_cannot_be_read() -> None:
    """The second wave was never promised; its target, out of sight, may serve the new version by somebody's hand."""
    world = world_in(Phase.OVERLAP)
    target = world.targets["t1"]
    target.id, target.serials["hand"], target.away = "hand", 1, True
    for client in world.clients.values():
        client.refresh = None
    world.command(commands.roll_back, by="ada", why="it fails")
    for _ in range(35):
        tick(world)
    target.away = False
    go(world, ended(world))
    clean(world, 0)


def test_what_is_to_be_overwritten_is_not_promoted_blindly() -> None:
    """Readers got nothing, and an operator said so; while the target cannot be read nothing is sent to it."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=True)
    go(world, lambda: rotation(world).hold is not None)
    answer(world, "t0")
    world.targets["t0"].away = True
    decision = tick(world)
    assert decision is not None
    assert not decision.effects
    world.targets["t0"].away = False
    go(world, ended(world))
    clean(world, 1)


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.DESTROY])
def test_what_a_hand_revoked_at_one_verifier_is_in_use_at_another(phase: Phase) -> None:
    """Nothing leads back to it, and the rotation is given up; but it is disabled at the others only when it is silent."""
    world = world_in(phase)
    current = 1 if phase is Phase.DESTROY else 0
    holder = world.add_client(every=5, refresh=None, holds=current)
    world.revoke(world.verifiers["g0"], current)
    if phase is Phase.INTRODUCE:
        world.command(commands.roll_back, by="ada", why="v0 is gone")
        tick(world)
    world.command(commands.abandon, by="ada", why=f"v{current} is gone")
    go(world, lambda: rotation(world).phase is Phase.MONITOR)
    for _ in range(20):
        tick(world)
    assert rotation(world).phase is Phase.MONITOR
    assert world.verifiers["g1"].table[current] is Entry.ACTIVE
    holder.refresh = seconds(20)
    go(world, ended(world))
    clean(world, world.current.serial)


def test_what_nobody_has_any_more_is_not_reasserted() -> None:
    """In DESTROY a hand overwrites the last place that held the new version: the operator is told so at once, and how it
    goes on."""
    world = world_in(Phase.DESTROY)
    world.lose_value(1)
    for target in world.targets.values():
        world.overwrite(target, missing=False)
    go(world, lambda: rotation(world).hold is not None)
    found = world.targets["t0"].id or ""
    with pytest.raises(Refused, match=r"nobody has the value of v1 any more.*`accept`.*`abandon`"):
        world.command(commands.reassert, seen=world.observe(), target="t0", found=found, by="ada", why="ours")
    world.command(commands.abandon, by="ada", why="nobody has it")
    go(world, lambda: rotation(world).incoming == 2)


def test_what_is_out_of_sight_is_reasserted_once_it_is_seen() -> None:
    """The only other place of the new version is away when an operator wants it back: the word stands until it can be
    carried out."""
    world = world_in(Phase.DESTROY)
    target = world.targets["t0"]
    world.overwrite(target, missing=False)
    world.rob(target)
    world.targets["t1"].away = True
    tick(world)
    world.command(
        commands.reassert, seen=world.observe(), target="t0", found=target.id or "", by="ada", why="it is in t1"
    )
    world.targets["t1"].away = False
    go(world, ended(world))
    clean(world, 1)


def test_what_is_proven_dead_stays_so_though_the_rotation_is_held() -> None:
    """A rollback that a hand at a target holds up: what it has proven dead already is enabled by another hand, and revoked
    again with the next tick."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    go(world, lambda: 1 in rotation(world).proven)
    world.overwrite(world.targets["t0"], missing=False)
    go(world, lambda: rotation(world).hold is not None)
    world.verifiers["g1"].table[1] = Entry.ACTIVE
    go(world, lambda: world.verifiers["g1"].table[1] is Entry.REVOKED)
    assert rotation(world).hold is not None
