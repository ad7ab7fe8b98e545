"""Guards and rows by example: what undoes, what holds, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.findings import authority_ill, failing
from tests.domain.places import seconds
from tests.domain.scenes import ended, rotation, situation, step, until, world_in
from tests.domain.world import World

from keyturn.domain import commands, establish, guards, withdraw
from keyturn.domain.model import Adopting
from keyturn.domain.observations import Acceptance, Entry, Obstacle, UsageSeen
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import Row
from keyturn.domain.verdicts import Ruling, Verdict

REFUSES = Entry.ABSENT


def ruling(world: World) -> tuple[Ruling, Reason]:
    """What is ruled at the next tick."""
    verdict = world.fork().tick()
    assert verdict is not None
    return verdict.verdict.ruling, verdict.verdict.reason


# Findings of the detector, by the table of DESIGN §6


@pytest.mark.parametrize("phase", [Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE])
def test_finding_with_a_control_rolls_back(phase: Phase) -> None:
    """Where the old version's traffic is a control, the detector's word is enough."""
    world = world_in(phase)
    world.finding = failing(control=True)
    assert ruling(world) == (Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS)
    until(world, ended(world))
    assert world.current.serial == 0


def test_old_and_new_failing_alike_holds_and_goes_on_when_it_has_passed() -> None:
    """The authority's own trouble holds and pages, and clears with its cause."""
    world = world_in(Phase.OVERLAP)
    world.finding = authority_ill()
    held = step(world)
    assert held.verdict.reason is Reason.AUTHORITY_ILL
    assert held.messages
    world.finding = None
    until(world, ended(world))
    assert world.current.serial == 1


def test_new_refused_where_old_is_accepted_rolls_back() -> None:
    """Without a control our own probes decide: new refused, old accepted."""
    world = world_in(Phase.MONITOR)
    world.finding = failing(control=False)
    world.verifiers["g0"].table[1] = REFUSES
    assert ruling(world) == (Ruling.ROLL_BACK, Reason.NEW_VERSION_REFUSED)


@pytest.mark.parametrize("control", [True, False])
def test_both_refused_is_the_authoritys_trouble(control: bool) -> None:
    """Both refused on a verifier is no word against the new version, whatever the traffic looks like: the old one would
    be refused there as well."""
    world = world_in(Phase.MONITOR)
    world.finding = failing(control=control)
    world.verifiers["g0"].table.update({0: REFUSES, 1: REFUSES})
    assert ruling(world) == (Ruling.HOLD, Reason.AUTHORITY_ILL)


@pytest.mark.parametrize("control", [True, False])
def test_both_unsettled_is_the_authoritys_trouble(control: bool) -> None:
    """Held connections of a verifier meet rules that know neither version: going back would help nobody there."""
    world = world_in(Phase.MONITOR)
    world.finding = failing(control=control)
    world.verifiers["g0"].older = [(world.now + seconds(60), {})]
    assert ruling(world) == (Ruling.HOLD, Reason.AUTHORITY_ILL)


@pytest.mark.parametrize("nobody", [False, True])
def test_unreachable_is_the_authoritys_trouble(nobody: bool) -> None:
    """Without a control: verifiers that cannot be asked, or none at all, say nothing of the new version."""
    world = world_in(Phase.MONITOR)
    world.finding = failing(control=False)
    if nobody:
        world.verifiers = {}
    else:
        world.set_away(world.verifiers["g0"], True)
    assert ruling(world) == (Ruling.HOLD, Reason.AUTHORITY_ILL)


def test_few_culprits_are_the_versions_fault_and_many_are_held() -> None:
    """Both accepted everywhere: failures of a few clients roll back, failures of many hold."""
    world = world_in(Phase.MONITOR)
    world.finding = failing(control=False, clients=["c0"])
    assert ruling(world) == (Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS)
    world.finding = failing(control=False, clients=["c0", "c1", "c2"])
    assert ruling(world) == (Ruling.HOLD, Reason.FAILURES_SPREAD)


def test_one_culprit_whose_failures_are_the_smaller_part_is_held() -> None:
    """Both accepted everywhere: a client that stands out from a trouble of all alike is not its cause."""
    world = world_in(Phase.MONITOR)
    alone = failing(control=False, clients=["c0"])
    world.finding = replace(alone, culprits=tuple(replace(culprit, share=0.3) for culprit in alone.culprits))
    assert ruling(world) == (Ruling.HOLD, Reason.FAILURES_SPREAD)


@pytest.mark.parametrize(
    ("phase", "control", "old", "says"),
    [
        (Phase.OVERLAP, True, (100, 0), "v0 is healthy with 0 of 100 failed"),
        (Phase.MONITOR, False, (2, 1), "v0 is hardly used with 1 of 3 failed"),
        (Phase.MONITOR, False, (0, 0), "nobody presents v0"),
        (Phase.RETIRE, False, (2, 1), "v0 is disabled"),
    ],
)
def test_finding_is_told_with_what_it_rests_on(phase: Phase, control: bool, old: tuple[int, int], says: str) -> None:
    """In a sentence for the one on call, and in numbers: e-value, culprits, baseline, the old version, our probes."""
    world = world_in(phase)
    if phase is Phase.RETIRE:
        step(world)
    world.finding = replace(failing(control=control), old_successes=old[0], old_failures=old[1])
    told = step(world).verdict
    assert told.detail == f"client c0 fails 9 of 10 on v1, {says}"
    assert told.evidence["e_value"] == 1000.0
    assert told.evidence["culprits"] == ["c0 9/10"]
    assert told.evidence["baseline_rate"] == 0.001
    assert (told.evidence["old_successes"], told.evidence["old_failures"]) == old
    assert (told.evidence["new_successes"], told.evidence["new_failures"]) == (1, 9)
    before = "disabled" if phase is Phase.RETIRE else "accepted"
    assert told.evidence["probes"] == [f"{verifier}: v0 {before}, v1 accepted" for verifier in sorted(world.verifiers)]


def test_in_retire_a_verifier_that_refuses_the_new_is_enough() -> None:
    """In RETIRE the old version is disabled on purpose, so its refusal is no excuse for the new one's."""
    world = world_in(Phase.RETIRE)
    step(world)
    world.finding = failing(control=False, clients=[])
    world.verifiers["g0"].table[1] = REFUSES
    assert ruling(world) == (Ruling.ROLL_BACK, Reason.NEW_VERSION_REFUSED)


# Other people's hands


@pytest.mark.parametrize("missing", [False, True])
def test_overwritten_or_missing_target_holds_until_resumed(missing: bool) -> None:
    """A value that is not ours, or none, holds until an operator has looked, also after it is gone."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=missing)
    reason = Reason.TARGET_MISSING if missing else Reason.TARGET_FOREIGN
    assert step(world).verdict.reason is reason
    world.put_back()
    assert step(world).verdict.reason is reason
    world.command(commands.resume)
    assert rotation(world).extensions == 0
    until(world, ended(world))


def test_old_version_put_back_by_hand_is_not_ours() -> None:
    """Even our own old version is another's hand where this phase did not put it there."""
    world = world_in(Phase.MONITOR)
    target = world.targets["t1"]
    target.id, target.serials["hand"] = "hand", 0
    decision = step(world)
    assert decision.verdict.reason is Reason.TARGET_FOREIGN
    assert "v0" in decision.verdict.detail


def test_lost_way_back_holds_until_it_is_there_again() -> None:
    """Before DESTROY a target without our copy of the old version holds."""
    world = world_in(Phase.MONITOR)
    world.rob(world.targets["t1"])
    assert step(world).verdict.reason is Reason.ROLLBACK_VALUE_LOST
    world.targets["t1"].copies |= {0, 1}
    assert step(world).verdict.ruling is Ruling.WAIT


@pytest.mark.parametrize("since", [None, "known"])
def test_obstacle_holds_before_the_mint(since: str | None) -> None:
    """Another's pending value stops the introduction, named with its id and age, and is not in the way of a mint done."""
    world = world_in(Phase.INTRODUCE)
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=world.now if since else None)
    held = step(world)
    assert held.verdict.reason is Reason.OBSTACLE
    assert "stranger" in held.verdict.detail
    assert (" old" in held.verdict.detail) is (since is not None)
    world.obstacle = None
    until(world, lambda: rotation(world).versions[1].key_id is not None)
    world.obstacle = Obstacle(what="AWSPENDING", id="stranger", since=None)
    until(world, ended(world))


def test_key_that_nobody_knows_is_no_obstacle_to_what_is_adopted() -> None:
    """A key at the authority that no version knows stops a mint; what is adopted is not minted, and may be that key."""
    s = situation(world_in(Phase.INTRODUCE))
    stranger = Obstacle(what="no version knows the key", id="k9", since=None)
    s = replace(s, seen=replace(s.seen, strangers=(stranger,)))
    held = guards.obstacle(s)
    assert held is not None
    assert held.reason is Reason.OBSTACLE
    adopting = replace(s.rotation, adopting=Adopting(target="t0", id="hand-1"))
    assert guards.obstacle(replace(s, rotation=adopting)) is None


def test_rollback_holds_before_a_foreign_value() -> None:
    """A rollback does not run over another's value, and goes on when it is gone."""
    world = world_in(Phase.MONITOR)
    world.overwrite(world.targets["t0"], missing=False)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).hold is not None)
    assert rotation(world).hold.reason is Reason.TARGET_FOREIGN  # type: ignore[union-attr]
    world.put_back()
    until(world, ended(world))


# What is not known


def verdict_of(outcome: object) -> Reason:
    """The reason for which a row waits."""
    assert isinstance(outcome, Verdict)
    return outcome.reason


def test_target_that_cannot_be_read_is_unknown_to_every_row() -> None:
    """No row takes an unreadable target for one that is as it should be."""
    world = world_in(Phase.INTRODUCE)
    for target in world.targets.values():
        target.away = True
    s = situation(world)
    for row in (
        establish.keep_old,
        establish.stage_new,
        establish.promote_waves,
        withdraw.served_everywhere,
        withdraw.remove_copies,
    ):
        assert verdict_of(row(s)) is Reason.TARGET_UNKNOWN
    assert verdict_of(establish.minimum_overlap(s)) is Reason.TARGET_UNKNOWN


def test_survivor_must_be_served() -> None:
    """Nothing is taken away while readers of a target get something else."""
    assert verdict_of(withdraw.served_everywhere(situation(world_in(Phase.INTRODUCE)))) is Reason.SURVIVOR_NOT_SERVED


def test_soak_that_has_not_begun_has_not_passed() -> None:
    """A soak is counted from when the old version was seen refused everywhere."""
    assert verdict_of(withdraw.soaked(situation(world_in(Phase.RETIRE)))) is Reason.SOAKING


def test_soak_is_not_known_without_a_source_that_sees_failures() -> None:
    """Sources that cannot see a refused use do not tell that there was none (P4)."""
    world = world_in(Phase.RETIRE)
    until(world, lambda: rotation(world).soak is not None)
    world.sources["gateway"].sees_failures = False
    world.advance(seconds(90))
    assert ruling(world) == (Ruling.WAIT, Reason.WATERMARK_BEHIND)


@pytest.mark.parametrize("row", [withdraw.clients_moved, withdraw.old_silent])
def test_mute_source_leaves_silence_unknown(row: Row) -> None:
    """A source without a word blocks, and is named."""
    world = world_in(Phase.MONITOR)
    world.sources["reports"].mute = True
    outcome = row(situation(world))
    assert verdict_of(outcome) is Reason.SILENCE_UNKNOWN
    assert isinstance(outcome, Verdict)
    assert "reports" in outcome.detail


def test_no_source_at_all_leaves_everything_unknown() -> None:
    """Without any source nobody is known to have moved, or to be silent."""
    world = world_in(Phase.MONITOR)
    s = situation(world)
    since = replace(s, seen=replace(s.seen, usage=replace(s.seen.usage, since=None)))
    assert verdict_of(withdraw.old_silent(since)) is Reason.SILENCE_UNKNOWN
    s = replace(s, seen=replace(s.seen, usage=UsageSeen(clients=s.seen.usage.clients)))
    assert verdict_of(withdraw.old_silent(s)) is Reason.SILENCE_UNKNOWN
    gone = replace(s.seen.usage.clients["c0"], last_success={})
    s = replace(s, seen=replace(s.seen, usage=UsageSeen(clients={"c0": gone})))
    assert s.laggards() == ("c0",)


def test_of_sources_that_see_failures_the_mute_one_decides() -> None:
    """One that speaks does not stand in for one that does not."""
    world = world_in(Phase.OVERLAP)
    world.sources["reports"].sees_failures = True
    world.sources["gateway"].mute = True
    step(world)
    assert step(world, 60).verdict.reason is Reason.WATERMARK_BEHIND


def test_a_forced_version_is_soaked_under_every_source() -> None:
    """A force stands in for silence before the disable, not for a source that is mute in the soak."""
    world = world_in(Phase.MONITOR)
    world.command(commands.force, serial=0, by="ada", why="a dead machine")
    until(world, lambda: rotation(world).soak is not None)
    world.sources["reports"].mute = True
    assert step(world, 120).verdict.reason is Reason.WATERMARK_BEHIND
    world.sources["reports"].mute = False
    until(world, ended(world))


def test_a_target_out_of_sight_for_a_moment_restarts_nothing() -> None:
    """Since when readers get the new version is not counted anew because nobody could look."""
    world = world_in(Phase.MONITOR)
    before = rotation(world).promoted
    world.targets["t0"].away = True
    step(world)
    world.targets["t0"].away = False
    step(world)
    assert rotation(world).promoted == before


def test_drain_is_not_known_without_a_source() -> None:
    """A rollback does not take the new version away while a source is mute."""
    world = world_in(Phase.MONITOR)
    world.command(commands.roll_back, by="ada", why="it fails")
    until(world, lambda: rotation(world).phase is Phase.ROLLBACK and len(rotation(world).promoted) == 2)
    world.sources["gateway"].mute = True
    assert step(world, 200).verdict.reason is Reason.SILENCE_UNKNOWN
    world.sources["gateway"].mute = False
    until(world, ended(world))


def test_verifier_that_cannot_be_asked_or_listed_blocks_the_end() -> None:
    """DESTROY waits for a verifier whose listing is unknown."""
    world = world_in(Phase.DESTROY)
    s = situation(world)
    lists_nothing = {name: replace(seen, entries={}) for name, seen in s.seen.verifiers.items()}
    s = replace(s, seen=replace(s.seen, verifiers=lists_nothing))
    assert verdict_of(withdraw.revoke_doomed(s)) is Reason.VERIFIER_UNREACHABLE


def test_disable_waits_for_held_connections() -> None:
    """A disable counts only when connections held open since before are refused too."""
    world = world_in(Phase.MONITOR)
    for verifier in world.verifiers.values():
        verifier.lag = seconds(25)
    until(world, lambda: rotation(world).phase is Phase.RETIRE)
    waiting = step(world)
    assert waiting.verdict.reason is Reason.NOT_ACCEPTED_YET
    assert world.verifiers["g0"].probe(0, world.now) is Acceptance.UNSETTLED
    until(world, ended(world))


def test_introduction_waits_for_held_connections_and_verifiers_that_are_away() -> None:
    """No promote before every verifier accepts on every connection."""
    world = world_in(Phase.INTRODUCE)
    world.verifiers["g0"].lag = seconds(25)
    world.set_away(world.verifiers["g1"], True)
    assert Reason.VERIFIER_UNREACHABLE in {step(world).verdict.reason for _ in range(15)}
    world.set_away(world.verifiers["g1"], False)
    world.verifiers["g1"].lag = seconds(25)
    until(world, lambda: step(world).verdict.reason is Reason.NOT_ACCEPTED_YET)
    until(world, ended(world))


# Clients


def test_laggards_are_named_and_reminded_harder_as_the_deadline_nears() -> None:
    """A client that has not moved is named, and reminded each time half of what was left is gone."""
    world = world_in(Phase.MONITOR)
    world.add_client(refresh=None, holds=0)
    named = until(world, lambda: rotation(world).reminded == 2)[-1]
    assert named.verdict.reason is Reason.CLIENTS_NOT_MOVED
    assert "c4" in named.verdict.detail
    assert sum(m.topic == "client.remind" for _, m in world.messages.values()) >= 1


def test_client_that_is_declared_gone_is_not_awaited() -> None:
    """An operator's word replaces its silence."""
    world = world_in(Phase.MONITOR)
    client = world.add_client(refresh=None, holds=0)
    until(world, lambda: 0 in client.last_use)
    client.dismissed = True
    client.next_use += seconds(10_000)  # what is said of it is true
    until(world, ended(world))
    assert world.current.serial == 1


def test_owners_word_stands_for_having_moved_and_not_for_silence() -> None:
    """A client that its owner says has moved is no laggard; the old version must be silent for it all the same
    (promise P2)."""
    world = world_in(Phase.MONITOR)
    client = world.add_client(refresh=None, holds=0)
    until(world, lambda: 0 in client.last_use)
    assert client.name in situation(world).laggards()
    client.acknowledged = True
    assert client.name not in situation(world).laggards()
    assert client.name in dict(situation(world).quiet(0, since=None).users)
    client.holds, client.next_use = 1, client.next_use + seconds(10_000)  # what is said of it is true
    until(world, ended(world))
    assert world.current.serial == 1


def test_client_refused_on_the_new_version_has_not_moved() -> None:
    """Success counts only when it is the last that was seen."""
    world = world_in(Phase.MONITOR)
    world.clients["c0"].last_refusal[1] = world.now
    assert situation(world).laggards() == ("c0",)


def test_credential_without_clients_still_needs_silence() -> None:
    """Nobody seen yet is not nobody there: the silence of an unseen client is required."""
    world = World()
    world.start()
    until(world, lambda: rotation(world).phase is Phase.MONITOR)
    since = world.now
    until(world, lambda: rotation(world).phase is Phase.RETIRE)
    assert world.now - since >= seconds(40)
    until(world, ended(world))


def test_a_client_that_does_not_present_the_new_version_any_more_is_told_so() -> None:
    """A finding outlives the traffic that it was made of: no count of nothing is told."""
    world = world_in(Phase.MONITOR)
    found = failing(control=True)
    gone = replace(found, culprits=tuple(replace(one, successes=0, failures=0) for one in found.culprits))
    world.finding = gone
    assert step(world).verdict.detail.startswith("client c0 failed on v1, and has not presented it since")
