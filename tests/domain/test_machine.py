"""The machine by example: the way through, its tables, deadlines, failed calls and pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.ground import POLICY, Fate
from tests.domain.outlook import topics
from tests.domain.places import seconds
from tests.domain.scenes import ended, returning, rotation, step, until, world_in
from tests.domain.world import TroubleError, World

from keyturn.domain import commands, machine
from keyturn.domain.effects import MANY, Effect, EffectKind
from keyturn.domain.errors import FailureKind
from keyturn.domain.guards import CHAIN
from keyturn.domain.machine import decide
from keyturn.domain.model import Force, VersionState
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Deadline, OnDeadline
from keyturn.domain.reasons import MEANING, Reason
from keyturn.domain.tables import EDGES, PHASES
from keyturn.domain.verdicts import Ruling

# The way through


def test_calm_rotation_completes_phase_by_phase() -> None:
    """In a calm world a rotation goes through every phase, each with its calls in order, and completes."""
    world = World()
    for index in range(4):
        world.add_client(target=f"t{index % 2}")
    world.start()
    decisions = until(world, ended(world))
    phases = list(dict.fromkeys(one.rotation.phase for one in decisions))
    assert phases == [Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY, Phase.COMPLETED]
    calls = list(dict.fromkeys(effect.kind for one in decisions for effect in one.effects))
    assert calls == [
        EffectKind.KEEP,
        EffectKind.MINT,
        EffectKind.STAGE,
        EffectKind.INSTALL,
        EffectKind.PROMOTE,
        EffectKind.DISABLE,
        EffectKind.REVOKE,
        EffectKind.PROVE_DEAD,
        EffectKind.REMOVE,
    ]
    assert {v.serial: v.state for v in decisions[-1].rotation.versions.values()} == {
        0: VersionState.DESTROYED,
        1: VersionState.CURRENT,
    }


def test_transitions_carry_their_reasons() -> None:
    """Each phase is entered for a reason of its own."""
    world = World()
    world.add_client()
    world.start()
    moves = [d for d in until(world, ended(world)) if d.verdict.ruling is Ruling.ADVANCE]
    assert [d.verdict.reason for d in moves] == [
        Reason.ACCEPTED_EVERYWHERE,
        Reason.OVERLAP_PASSED,
        Reason.OLD_SILENT,
        Reason.SOAKED,
        Reason.PROVEN_DEAD,
    ]
    assert "client.refresh" in topics(world)


def test_waves_promote_so_many_targets_at_once() -> None:
    """A wave of two promotes two targets in one tick."""
    world = world_in(Phase.INTRODUCE, wave_size=2)
    decisions = until(world, lambda: rotation(world).phase is Phase.OVERLAP)
    promoted = [e.target for e in decisions[-1].effects if e.kind is EffectKind.PROMOTE]
    assert promoted == ["t0", "t1"]


def test_overlap_is_no_shorter_than_a_bake() -> None:
    """The last wave is watched as long as every other, also where the minimum overlap is shorter than a bake."""
    world = world_in(Phase.OVERLAP, bake=seconds(120))
    until(world, lambda: world.targets["t1"].serial == 1)
    promoted = world.now
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    assert world.now - promoted >= seconds(120)


def test_decide_is_pure() -> None:
    """The same arguments give the same decision, and stay as they are."""
    world = world_in(Phase.OVERLAP)
    before, seen = rotation(world), world.observe()
    copy = world.fork()
    assert decide(before, seen, world.now) == decide(before, seen, world.now)
    assert before == copy.rotation
    assert seen == copy.observe()


def test_effect_ids_are_deterministic_and_new_per_entry() -> None:
    """A repeated call has the same id; a phase entered again makes new ones."""
    world = world_in(Phase.RETIRE)
    first = f"r1/{rotation(world).entry}-retire/disable/v0"
    assert first in world.journal
    laggard = returning(world)
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    laggard.refresh = seconds(20)
    until(world, lambda: rotation(world).phase is Phase.RETIRE)
    again = f"r1/{rotation(world).entry}-retire/disable/v0"
    assert again != first
    assert again in world.journal


def test_tables_are_closed() -> None:
    """Every ruling that moves, wherever a guard or the rows can give it, has an edge; every edge leads somewhere."""
    moving = {
        "marked": {Ruling.SUPERSEDE},
        "given_up": {Ruling.SUPERSEDE},
        "operator_rollback": {Ruling.ROLL_BACK},
        "new_version_fails": {Ruling.ROLL_BACK},
        "refused_use": {Ruling.RETREAT},
    }
    for phase in PHASES:
        assert ((phase, Ruling.ADVANCE) in EDGES) is not phase.is_end
    for guard, phases in CHAIN:
        for ruling in moving.get(guard.__name__, set()):
            assert all((phase, ruling) in EDGES for phase in phases)
    for (phase, _), (to, _) in EDGES.items():
        assert phase in PHASES
        assert to in PHASES or to.is_end


def test_ruling_without_an_edge_is_a_defect() -> None:
    """A ruling that has no edge is raised, never ignored."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    kept = {key: to for key, to in EDGES.items() if key != (Phase.MONITOR, Ruling.ROLL_BACK)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "EDGES", kept)
        with pytest.raises(KeyError):
            world.tick()


def test_every_reason_has_a_meaning() -> None:
    """No reason without a sentence for people."""
    assert set(MEANING) == set(Reason)


# Deadlines


def stuck(policy: OnDeadline, owner: str | None = None) -> World:
    """A rotation in MONITOR with a client that never moves, to which a deadline applies."""
    deadline = Deadline(after=seconds(150), policy=policy, owner=owner)
    world = world_in(Phase.MONITOR, deadlines={**POLICY.deadlines, Phase.MONITOR: deadline})
    world.add_client(refresh=None, holds=0)
    return world


def test_deadline_holds_and_pages_again_and_again() -> None:
    """By default a deadline stands on the evidence that it was ruled on, pages every so often, and a resume gives the time
    once more."""
    world = stuck(OnDeadline.HOLD)
    until(world, lambda: rotation(world).hold is not None)
    held = rotation(world).hold
    assert held is not None
    assert held.evidence == {"clients": ["c4"], "waiting": Reason.CLIENTS_NOT_MOVED}
    for _ in range(30):
        verdict = step(world).verdict
        assert (verdict.reason, verdict.evidence) == (Reason.DEADLINE, held.evidence)
    pages = [m for _, m in world.messages.values() if m.topic == "rotation.held"]
    assert len(pages) == 3
    world.command(commands.resume)
    assert rotation(world).extensions == 1
    assert step(world).verdict.ruling is Ruling.WAIT


def test_force_answers_a_deadline_that_holds() -> None:
    """An operator's force goes on from a held deadline without a second command."""
    world = stuck(OnDeadline.HOLD)
    until(world, lambda: rotation(world).hold is not None)
    world.command(commands.force, serial=0, by="ada", why="a dead machine")
    moved = step(world)
    assert moved.verdict.reason is Reason.FORCED
    assert moved.verdict.detail == "v0: ada: a dead machine"


def test_deadline_extends_and_says_so() -> None:
    """`extend` waits the same time again, each time with a word to people."""
    world = stuck(OnDeadline.EXTEND)
    until(world, lambda: rotation(world).extensions == 2)
    assert sum(m.topic == "rotation.deadline" for _, m in world.messages.values()) == 2


def test_deadline_forces_in_its_owners_name_once() -> None:
    """`force` disables in the owner's name; after a refused use the deadline only holds."""
    world = stuck(OnDeadline.FORCE, owner="grace")
    forced = until(world, lambda: bool(rotation(world).forced))[-1]
    assert forced.verdict.reason is Reason.FORCED
    assert rotation(world).forced == {0: Force(by="grace", why=forced.verdict.detail)}
    world.forced.add(0)
    until(world, lambda: rotation(world).hold is not None)
    assert rotation(world).deadline_spent
    assert rotation(world).phase is Phase.MONITOR


def test_rollback_deadline_pages_and_goes_on() -> None:
    """A rollback past its deadline pages, and still does whatever it can."""
    world = world_in(Phase.MONITOR)
    world.targets["t1"].away = True
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).hold is not None)
    assert not rotation(world).hold.latched  # type: ignore[union-attr]
    world.targets["t1"].away = False
    until(world, ended(world))


def test_rollback_force_ends_the_drain() -> None:
    """In ROLLBACK a force stands in for the drain."""
    world = world_in(Phase.MONITOR)
    world.add_client(refresh=None)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: world.now.minute == 5)
    assert step(world).verdict.reason is Reason.DRAINING
    world.command(commands.force, serial=1, by="ada", why="a dead machine")
    until(world, ended(world))


def test_rollback_deadline_forces_the_drain_in_its_owners_name() -> None:
    """A deadline of ROLLBACK may force the drain, of the incoming version."""
    deadline = Deadline(after=seconds(150), policy=OnDeadline.FORCE, owner="grace")
    world = world_in(Phase.MONITOR, deadlines={**POLICY.deadlines, Phase.ROLLBACK: deadline})
    world.add_client(refresh=None)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: bool(rotation(world).forced))
    assert set(rotation(world).forced) == {1}
    world.forced.add(1)
    until(world, ended(world))


# Failed calls


@pytest.mark.parametrize(("phase", "kind"), [(Phase.INTRODUCE, EffectKind.STAGE), (Phase.DESTROY, EffectKind.REMOVE)])
def test_permanent_failure_halts_where_nothing_better_can_be_done(phase: Phase, kind: EffectKind) -> None:
    """INTRODUCE, DESTROY and ROLLBACK halt when a call is refused for good, page, and go on after `resume`."""
    world = world_in(phase)
    world.denied.add(kind)
    until(world, lambda: rotation(world).halted is not None)
    assert step(world).verdict.ruling is Ruling.HALT
    assert "rotation.halted" in topics(world)
    world.denied.clear()
    world.command(commands.resume)
    until(world, ended(world))


def test_permanent_failure_halts_a_rollback() -> None:
    """A rollback that is refused a call for good stops for a person."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.PROMOTE)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).halted is not None)
    world.denied.clear()
    world.command(commands.resume)
    until(world, ended(world))


def quarantined(world: World) -> None:
    """Tick until the rotation is quarantined."""
    until(world, lambda: (held := rotation(world).hold) is not None and held.reason is Reason.QUARANTINED)


def test_what_is_refused_for_good_in_overlap_is_quarantined_until_resumed() -> None:
    """In OVERLAP a refused call stands and pages, though the cause be gone, and is never sent again by itself; `resume`
    sends it once more, is quarantined by a second refusal, and goes on when it is allowed."""
    world = world_in(Phase.INTRODUCE)
    world.denied.add(EffectKind.PROMOTE)
    quarantined(world)
    assert "rotation.held" in topics(world)
    stood = [step(world, 70) for _ in range(5)]
    assert {decision.verdict.reason for decision in stood} == {Reason.QUARANTINED}
    assert [decision.effects for decision in stood] == [()] * 5

    world.command(commands.resume)
    again = step(world, 1)
    assert [e.kind for e in again.effects] == [EffectKind.PROMOTE]
    assert step(world, 1).verdict.reason is Reason.QUARANTINED
    assert step(world, 70).effects == ()

    world.denied.clear()
    assert step(world, 70).effects == ()
    world.command(commands.resume)
    until(world, ended(world))


def test_rollback_leads_out_of_a_quarantine() -> None:
    """The way back needs no mend: what was refused is not needed for it."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.DISABLE)
    quarantined(world)
    world.denied.clear()
    world.command(commands.roll_back, by="ada", why="we know no mend")
    until(world, ended(world))
    assert world.current.serial == 0


def test_rollback_goes_on_target_by_target_where_one_refuses_for_good() -> None:
    """One target that refuses keeps no other from being restored, transient trouble there included; only then it halts."""

    class Refusing(World):
        def perform(self, effect: Effect) -> str | None:
            if effect.kind is EffectKind.PROMOTE and effect.serial == 0 and effect.target == "t0" and self.denied:
                raise TroubleError(FailureKind.DENIED, "t0 does not permit that")
            if effect.kind is EffectKind.PROMOTE and effect.serial == 0 and effect.target == "t1" and trouble:
                raise TroubleError(FailureKind.TRANSIENT, trouble.pop())
            return super().perform(effect)

    world, trouble = world_in(Phase.MONITOR, kind=Refusing), ["timeout"] * 3
    world.denied.add(EffectKind.MINT)  # nothing mints any more: it only says that t0 refuses
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).halted is not None)
    assert not trouble
    assert [world.targets[t].serial for t in ("t0", "t1")] == [1, 0]
    world.denied.clear()
    world.command(commands.resume)
    until(world, ended(world))
    assert world.current.serial == 0


def test_refused_cut_of_a_compromised_version_pages_and_is_never_given_up() -> None:
    """The authority denies the disable of a leaked key: people are told, and it is cut as soon as it is allowed, with no
    command, whatever stands meanwhile."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.DISABLE)
    world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now, cut_now=True)
    until(world, lambda: "compromised.not_cut" in topics(world))
    for _ in range(3):
        step(world, 70)
    assert {v.table[0] for v in world.verifiers.values()} == {Entry.ACTIVE}
    world.denied.clear()
    step(world, 70)
    assert {v.table[0] for v in world.verifiers.values()} == {Entry.DISABLED}


def test_a_cut_that_the_phase_asks_for_too_is_one_call() -> None:
    """A gateway cannot be presented anything while its table says that it accepts the leaked key: what is cut off beside
    the phase, and what the phase disables where it was seen to be accepted, is one intent with one outcome."""
    world = world_in(Phase.MONITOR)
    world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now, cut_now=True)
    seen = world.observe(rotation(world))
    unheard = replace(seen.verifiers["g1"], acceptance={0: Acceptance.UNREACHABLE, 1: Acceptance.ACCEPTED})
    decision = decide(rotation(world), replace(seen, verifiers={**seen.verifiers, "g1": unheard}), world.now)
    disables = [(one.serial, one.verifiers) for one in decision.effects if one.kind is EffectKind.DISABLE]
    assert disables == [(0, ("g0", "g1"))]


def test_refused_mark_of_a_compromised_version_pages() -> None:
    """A backend that lets nobody write beside the secret is told at once, and not first when the rotation would end."""
    world = world_in(Phase.MONITOR)
    world.denied.add(EffectKind.MARK)
    world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now)
    until(world, lambda: "compromised.not_marked" in topics(world), 5)
    world.denied.clear()
    until(world, ended(world))
    assert all(0 in target.marks for target in world.targets.values())


def test_cut_that_fails_again_and_again_pages() -> None:
    """Trouble that would pass, and does not, keeps a compromised version accepted: people are told after some tries."""

    class Away(World):
        def perform(self, effect: Effect) -> str | None:
            if effect.kind is EffectKind.DISABLE and trouble:
                raise TroubleError(FailureKind.TRANSIENT, trouble.pop())
            return super().perform(effect)

    world, trouble = world_in(Phase.MONITOR, kind=Away), ["timeout"] * 30
    world.command(commands.emergency, serial=0, by="ada", why="leaked", now=world.now, cut_now=True)
    until(world, lambda: len(trouble) <= 27)
    assert "compromised.not_cut" not in topics(world)
    until(world, lambda: "compromised.not_cut" in topics(world))
    assert len(trouble) >= 20
    until(world, ended(world))


def test_transient_failure_is_tried_again_later() -> None:
    """A call that timed out waits for its turn, and says until when."""
    world = world_in(Phase.INTRODUCE)
    world.fates = [Fate.FAILED, Fate.FAILED, Fate.FAILED]
    step(world, 1)
    waiting = step(world, 1)
    assert waiting.verdict.reason is Reason.EFFECT_RETRYING
    assert waiting.verdict.until is not None
    assert not waiting.effects
    until(world, ended(world))


@pytest.mark.parametrize("phase", [Phase.INTRODUCE, Phase.ROLLBACK])
def test_transient_failure_without_end_pages_and_goes_on_being_tried(phase: Phase) -> None:
    """A call that fails for long holds and pages, at the pace of pages and not of tries; it ends with its cause, and
    nobody has to say anything. A rollback never gives up on it either."""
    allowed = {phase: Deadline(after=seconds(9000))}
    world = world_in(Phase.MONITOR if phase is Phase.ROLLBACK else phase, deadlines=allowed)
    if phase is Phase.ROLLBACK:
        world.command(commands.roll_back, by="ada", why="it fails")
        until(world, lambda: rotation(world).phase is phase)
    world.fates = [Fate.FAILED] * 400
    until(world, lambda: rotation(world).hold is not None)
    began = world.now
    for _ in range(60):
        step(world, 5)
    assert rotation(world).hold is not None
    assert not rotation(world).hold.latched  # type: ignore[union-attr]
    tried = max(line.seen.attempts for line in world.journal.values())
    pages = [at for at, message in world.messages.values() if message.topic == "rotation.held" and at >= began]
    assert tried > MANY + 5
    assert len(pages) <= 2 + (world.now - began) / world.policy.page_every
    world.fates = []
    until(world, ended(world))


# Pauses


def test_pause_stops_and_pages_once_it_has_run_out() -> None:
    """A pause stops the rotation and its clock; past its expiry it pages like a hold."""
    world = world_in(Phase.OVERLAP)
    world.command(commands.pause, by="ada", why="freeze", now=world.now, lasting=seconds(50))
    paused = step(world)
    assert paused.verdict.reason is Reason.PAUSED
    before = rotation(world).active(world.now)
    world.advance(seconds(60))
    assert step(world).verdict.reason is Reason.PAUSE_EXPIRED
    assert rotation(world).active(world.now) == before
    assert "rotation.held" in topics(world)
    world.command(commands.resume)
    until(world, ended(world))


def test_rollback_runs_through_a_pause() -> None:
    """A pause does not stop the way back."""
    world = world_in(Phase.MONITOR)
    world.command(commands.pause, by="ada", why="freeze", now=world.now)
    step(world)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, ended(world))
    assert world.current.serial == 0
