"""MACHINE.md's traces, by number: each is a way to break a promise that one rule of the machine closes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.domain.findings import failing
from tests.domain.ground import Fate
from tests.domain.places import seconds
from tests.domain.promises import standing
from tests.domain.scenes import ended, rotation, world_in
from tests.domain.tracing import alive, clean, go, leak, refused, tick

from keyturn.domain import commands
from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import Refused
from keyturn.domain.observations import Entry, Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.verdicts import Ruling


def test_1_a_removed_copy_of_the_old_is_no_loss_in_destroy() -> None:
    """What DESTROY itself removed is not taken for a lost value: the rotation ends."""
    world = world_in(Phase.DESTROY)
    go(world, ended(world))
    clean(world, 1)


def test_2_a_successor_takes_over_what_was_minted_and_rolled_back() -> None:
    """Mint, stage, roll back, mark the version being restored: the successor knows the staged one too, and it goes."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    world.command(commands.roll_back, by="ada", why="no")
    world.fates = [Fate.FAILED] * 4
    tick(world)
    leak(world, 0)
    last = go(world, lambda: rotation(world).incoming == 2)[-1]
    assert last.successor is not None
    assert set(last.successor.outgoing) == {0, 1}
    go(world, ended(world))
    clean(world, 2)


def test_3_a_rollback_takes_away_every_other_version() -> None:
    """A successor of {v0 marked, v1} that rolls back to v1 destroys v0 and v2 alike."""
    world = world_in(Phase.MONITOR)
    leak(world, 0)
    world.finding = failing(control=True)
    go(world, lambda: rotation(world).incoming == 2)
    world.finding = None
    assert rotation(world).outgoing == (1, 0)
    go(world, lambda: rotation(world).phase is not Phase.INTRODUCE)
    world.command(commands.roll_back, by="ada", why="v2 is worse")
    go(world, ended(world))
    clean(world, 1)


def test_4_a_promote_of_a_marked_version_that_lands_late_is_undone() -> None:
    """Intent to promote v1, mark v1, the worker sends it all the same: readers get v0 again."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: rotation(world).phase is Phase.OVERLAP)
    frozen = Effect(id="late", kind=EffectKind.PROMOTE, serial=1, target="t1", expected=world.targets["t1"].id)
    world.rotation = rotation(world)
    leak(world, 1)
    tick(world)
    world.land(frozen)
    go(world, ended(world))
    clean(world, 0)


def test_5_a_rollback_spends_what_a_late_promote_still_holds() -> None:
    """The worker freezes before it promotes t0; the rollback promotes v0 there although readers get it already."""
    world = world_in(Phase.INTRODUCE)
    world.fates = [Fate.DONE] * 6
    while not world.late:
        if rotation(world).phase is Phase.OVERLAP:
            world.fates = [Fate.LATE]
        tick(world)
    late, world.late = list(world.late), []
    world.command(commands.roll_back, by="ada", why="no")
    go(world, lambda: refused(world, 1))
    for effect in late:
        world.land(effect)
    standing(world)
    go(world, ended(world))
    clean(world, 0)


def test_6_neither_pause_nor_foreign_target_nor_missing_promote_keeps_the_cut() -> None:
    """A compromised version is cut off at its cap under whatever stands: a pause is lifted, a foreign target stays."""
    world = world_in(Phase.OVERLAP, grace_cap=seconds(60), grace=seconds(20))
    world.command(commands.pause, by="bo", why="freeze", now=world.now)
    leak(world, 0)
    assert rotation(world).pause is None
    with pytest.raises(Refused):
        world.command(commands.pause, by="bo", why="freeze", now=world.now)
    world.overwrite(world.targets["t1"], missing=False)
    reported = world.now
    said = go(world, lambda: refused(world, 0))
    assert world.now - reported <= seconds(70)
    assert Reason.TARGET_FOREIGN in {decision.verdict.reason for decision in said}
    assert alive(world) == {1}


def test_7_an_attacker_with_the_marked_key_stops_nothing_and_is_named() -> None:
    """Whoever presents the disabled compromised key for ever neither retreats nor blocks anything."""
    world = world_in(Phase.MONITOR)
    attacker = world.add_client(every=5, refresh=None, holds=0)
    for verifier in world.verifiers.values():
        verifier.lag = seconds(25)  # connections that are open already keep RETIRE waiting
    leak(world, 0, grace=0)
    said = go(world, ended(world))
    assert Phase.RETIRE in [decision.rotation.phase for decision in said if 0 in attacker.last_refusal]
    assert not said[-1].rotation.retreats
    named = [message.text for _, message in world.messages.values() if message.topic == "compromised.use"]
    assert len(named) == 1
    assert attacker.name in named[0]
    assert next(d.verdict.reason for d in said if d.rotation.phase is Phase.DESTROY) is Reason.GRACE
    clean(world, 1)


def test_8_the_new_marked_while_the_old_is_half_revoked() -> None:
    """Nothing is left to restore: another rotation takes over, and both die."""
    world = world_in(Phase.DESTROY)
    leak(world, 1)
    said = go(world, ended(world))
    assert any(decision.successor is not None for decision in said)
    clean(world, 2)


def test_9_the_new_fails_after_the_old_was_marked() -> None:
    """The failed version is in the successor's set and dies with the marked one."""
    world = world_in(Phase.MONITOR)
    leak(world, 0, grace=60)
    world.finding = failing(control=True)
    last = go(world, lambda: rotation(world).incoming == 2)[-1]
    world.finding = None
    assert last.successor is not None
    assert set(last.successor.outgoing) == {0, 1}
    assert last.successor.failed == {1}
    go(world, ended(world))
    clean(world, 2)


def test_10_a_rollback_in_vain_is_abandoned() -> None:
    """v0 is gone for good at the authority: enabling it fails for ever, and an operator gives the rotation up."""
    world = world_in(Phase.MONITOR)
    for verifier in world.verifiers.values():
        verifier.table[0] = Entry.REVOKED
    world.command(commands.roll_back, by="ada", why="it fails")
    for _ in range(10):
        tick(world)
    assert rotation(world).phase is Phase.ROLLBACK
    world.command(commands.abandon, by="ada", why="v0 was deleted")
    go(world, ended(world))
    clean(world, 2)


def test_11_a_hand_that_gives_back_the_old_is_not_destroyed_under() -> None:
    """Nothing is disabled while a target serves it; `reassert` gives readers the new version again."""
    world = world_in(Phase.MONITOR)
    for client in world.clients.values():
        client.refresh = None  # they read at boot: the old version stays silent
    target = world.targets["t0"]
    target.id, target.serials["hand"] = "hand", 0
    for _ in range(40):
        tick(world)
    assert alive(world) == {0, 1}
    assert rotation(world).phase is Phase.MONITOR
    seen = world.observe()
    world.command(commands.reassert, seen=seen, target="t0", found="hand", by="ada", why="a slip")
    go(world, ended(world))
    clean(world, 1)


def test_12_a_verifier_left_out_returns_stale_and_is_mended() -> None:
    """An emergency leaves out a verifier that cannot be reached; back with older rules it gets the new version."""
    world = world_in(Phase.INTRODUCE)
    leak(world, 0, grace=120)
    world.set_away(world.verifiers["g0"], True)
    left = go(world, lambda: rotation(world).phase is Phase.RETIRE)
    out = [decision for decision in left if decision.verdict.reason is Reason.ACCEPTED_EVERYWHERE]
    assert "g0" in out[0].verdict.detail
    world.rebuild(world.verifiers["g0"])
    tick(world)
    assert world.verifiers["g0"].table.get(1) is Entry.ACTIVE, "g0 is not mended"
    go(world, ended(world))
    clean(world, 1)


def test_13_a_verifier_that_is_away_in_a_rollback_is_mended_when_it_returns() -> None:
    """It comes back with the old version disabled, and enables it before the rollback ends."""
    world = world_in(Phase.RETIRE)
    go(world, lambda: refused(world, 0))
    world.set_away(world.verifiers["g1"], True)
    world.command(commands.roll_back, by="ada", why="it fails")
    for _ in range(5):
        tick(world)
    world.set_away(world.verifiers["g1"], False)
    tick(world)
    assert world.verifiers["g1"].table[0] is Entry.ACTIVE, "g1 is not mended"
    go(world, ended(world))
    clean(world, 0)


def test_14_a_retreat_whose_enable_was_never_sent_is_done_in_monitor() -> None:
    """The process dies between the commit and the call: MONITOR enables the old version itself."""
    world = world_in(Phase.RETIRE)
    world.add_client(every=70, refresh=None, holds=0)
    go(world, lambda: refused(world, 0))
    world.fates = [Fate.CRASH_BEFORE]
    go(world, lambda: rotation(world).phase is Phase.MONITOR)
    tick(world)
    tick(world)
    assert 0 in alive(world), "the old version stays disabled"


@pytest.mark.parametrize("kind", [EffectKind.DISABLE, EffectKind.STAGE, EffectKind.INSTALL])
def test_15_a_late_call_after_the_end_is_found_and_undone(kind: EffectKind) -> None:
    """After ROLLED_BACK a late worker disables v0, stages v1 or installs v1: the end is as it was, a tick later."""
    world = world_in(Phase.RETIRE)
    go(world, lambda: refused(world, 0))
    world.command(commands.roll_back, by="ada", why="it fails")
    go(world, ended(world))
    serial = 0 if kind is EffectKind.DISABLE else 1
    if kind is EffectKind.STAGE:
        world.targets["t0"].copies.add(1)
    elif kind is EffectKind.INSTALL:
        world.verifiers["g0"].table[1] = Entry.ACTIVE
    else:
        world.land(Effect(id="late", kind=kind, serial=serial, verifiers=("g0", "g1")))
    tick(world)
    tick(world)
    clean(world, 0)


def test_16_a_rollback_out_of_introduce_leaves_no_copy() -> None:
    """Mint, stage, roll back: the staged copy goes too."""
    world = world_in(Phase.INTRODUCE)
    go(world, lambda: rotation(world).versions[1].key_id is not None)
    world.command(commands.roll_back, by="ada", why="no")
    go(world, ended(world))
    clean(world, 0)


def test_17_a_full_authority_loses_the_marked_version_on_the_fewest_targets() -> None:
    """t0 serves v1 and t1 v0, both marked, with room for two: one goes at its grace's end, and the third can be made."""
    world = world_in(Phase.OVERLAP, grace_cap=seconds(60), grace=seconds(20))
    world.room = 2
    go(world, lambda: world.targets["t0"].serial == 1)
    leak(world, 0)
    leak(world, 1)
    go(world, lambda: rotation(world).incoming == 2)
    waiting = go(world, lambda: len(world.listed()) < 2)
    assert Reason.NO_ROOM in {decision.verdict.reason for decision in waiting}
    go(world, ended(world))
    clean(world, 2)


def test_18_a_version_silent_already_is_drained_from_the_promote_on() -> None:
    """A client that reads at boot is silent on v1 when ROLLBACK begins: the drain counts from the promote of v0."""
    world = world_in(Phase.MONITOR)
    for client in world.clients.values():
        client.every = timedelta(hours=1)
        client.next_use = world.now + client.every
    go(world, lambda: rotation(world).phase is Phase.MONITOR)
    world.advance(seconds(55))
    world.command(commands.roll_back, by="ada", why="it fails")
    go(world, lambda: bool(rotation(world).promoted) and rotation(world).phase is Phase.ROLLBACK)
    promoted = world.now
    go(world, lambda: 1 not in alive(world))
    assert world.now - promoted >= seconds(50)


def test_19_a_pause_pages_when_it_has_expired() -> None:
    """Nobody resumed: the pause pages like a hold."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=seconds(30))
    said = go(world, lambda: "rotation.held" in {message.topic for _, message in world.messages.values()})
    assert said[-1].verdict.reason is Reason.PAUSE_EXPIRED


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.OVERLAP, Phase.RETIRE, Phase.DESTROY])
def test_20_force_stands_in_for_silence_only(phase: Phase) -> None:
    """Where no silence is awaited a force is refused."""
    world = world_in(phase)
    with pytest.raises(Refused, match="silence"):
        world.command(commands.force, serial=0, by="ada", why="now")


def test_21_retire_does_not_halt_and_retreats_all_the_same() -> None:
    """A disable that is refused for good in RETIRE holds; a refused use still brings the old version back."""
    world = world_in(Phase.RETIRE)
    holder = world.add_client(every=70, refresh=None, holds=0)
    go(world, lambda: refused(world, 0))
    holder.next_use = world.now + seconds(20)
    world.set_away(world.verifiers["g1"], True)
    tick(world)
    world.rebuild(world.verifiers["g1"])
    world.verifiers["g1"].table[1] = Entry.ACTIVE
    world.denied |= {EffectKind.DISABLE, EffectKind.REVOKE}
    said = go(world, lambda: rotation(world).phase is Phase.MONITOR)
    failed = [decision.verdict.ruling for decision in said if decision.verdict.reason is Reason.QUARANTINED]
    assert set(failed) == {Ruling.HOLD}, "it halts"
    assert 0 in alive(world)


def test_22_an_obstacle_is_passed_by_name_in_an_emergency_alone() -> None:
    """Another's pending value stops an emergency's mint until an operator names it; the cut keeps its time."""
    world = world_in(Phase.INTRODUCE, grace_cap=seconds(60), grace=seconds(20))
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    arguments = {"target": "t0", "found": "stranger", "by": "ada", "why": "known"}
    with pytest.raises(Refused, match="emergency"):
        world.command(commands.accept, seen=world.observe(), **arguments)
    leak(world, 0)
    reported = world.now
    held = tick(world)
    assert held is not None
    assert held.verdict.reason is Reason.OBSTACLE
    world.command(commands.accept, seen=world.observe(), **arguments)
    go(world, lambda: refused(world, 0))
    assert world.now - reported <= seconds(70)
    go(world, ended(world))
    clean(world, 1)
