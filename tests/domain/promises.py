"""The promises of DESIGN §1, held against the world's truth: never against what the machine remembers."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from tests.domain.compromised import (
    cut_in_time,
    cut_off,
    emergency,
    marked_at_once,
    marked_before_the_last_trace_goes,
    never_given_again,
    no_longer_than_its_grace,
    written_beside,
)
from tests.domain.order import heard_in_order
from tests.domain.places import Use, seconds
from tests.domain.told import told_as_it_is
from tests.domain.world import World

from keyturn.domain.effects import EffectKind
from keyturn.domain.machine import Decision
from keyturn.domain.model import Rotation, VersionState
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase

STAGES = (Phase.INTRODUCE, Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE, Phase.DESTROY, Phase.COMPLETED)
RESTORABLE = frozenset(STAGES[:4])
SLACK = seconds(60)
"""Between two ticks at most."""


def passed(world: World, span: timedelta) -> Decision | None:
    """Some time goes by, and the daemon looks once, with every promise held."""
    world.advance(span)
    decision = world.tick(judge)
    standing(world)
    return decision


def judge(world: World, before: Rotation, decision: Decision) -> None:
    """Everything that a decision must not do, on the world in which it is to be done."""
    settle(world)
    after = decision.rotation
    stage_by_stage(before, after)
    never_given_again(before, decision)
    no_longer_than_its_grace(before, decision.successor or after)
    cut_in_time(world, decision)
    marked_before_the_last_trace_goes(world, decision)
    marked_at_once(world, before, decision)
    one_at_a_time(before, decision)
    stands_where_told(world, before, decision)
    heard_in_order(world, before, decision)
    told_as_it_is(world, before, decision)
    nothing_out_of_sight(world, decision)
    for effect in decision.effects:
        if effect.kind is EffectKind.PROMOTE and effect.target is not None:
            if effect.serial in world.targets[effect.target].copies:  # else it cannot be carried out
                accept_before_use(world, effect.serial)
            if after.phase is Phase.OVERLAP and effect.serial == after.incoming and not emergency(after):
                bake_known(world, after, effect.target)
        if effect.kind is EffectKind.DISABLE:
            silence_before_reject(world, after, effect.serial)
        if effect.kind is EffectKind.REVOKE:
            disable_before_revoke(world, after, effect.serial)
    if before.phase is Phase.OVERLAP and after.phase is Phase.MONITOR and not emergency(after):
        watched(world, after, world.policy.minimum_overlap, failures=True)
    if before.phase is Phase.MONITOR and after.phase is Phase.RETIRE:
        accept_before_use(world, after.incoming, "left alone")
        known_accepted(world, after)
    if before.phase is Phase.RETIRE and after.phase is Phase.DESTROY:
        soak_known(world, before, after)
    if decision.successor is not None:
        for verifier in world.verifiers.values():
            verifier.excused |= set(after.versions)  # what it had disabled, the successor enables
        stored = {serial for target in world.targets.values() for serial in target.copies}
        left = {serial for serial in after.versions if serial in stored or serial not in after.proven}
        assert set(decision.successor.versions) >= left, "P5: forgotten"
        leads_from_what_readers_got(world, after, decision.successor)
    if after.phase is Phase.ROLLBACK and before.phase is not Phase.ROLLBACK:
        for verifier in world.verifiers.values():
            verifier.excused.add(after.outgoing[0])
    if before.phase is Phase.RETIRE and after.phase is Phase.MONITOR:
        for verifier in world.verifiers.values():
            verifier.excused |= set(after.outgoing)
    if after.phase is not before.phase and before.phase is Phase.RETIRE:
        enabled_again(world, decision)
    if after.soak is not None and before.soak is None:
        kept = [v.name for v in world.verifiers.values() for s in after.outgoing if v.table.get(s) is Entry.ACTIVE]
        assert not kept, f"P4: the soak begins, and {kept} know what is to be disabled as active"
    if not after.live and decision.successor is None:
        ended_clean(world, after)


def known_accepted(world: World, after: Rotation) -> None:
    """P3: MONITOR is left when what may still be needed is known accepted everywhere, by its value or where that is lost by
    the listing; an emergency leaves out who cannot be reached."""
    kept = [serial for serial in set(after.outgoing) & after.served - set(after.revoked) if serial not in after.forced]
    for serial in kept if not emergency(after) else ():
        blind = [v.name for v in world.verifiers.values() if v.away or (v.unlisted and not world.readable(serial))]
        assert not blind, f"P4: whether {blind} accept v{serial} is not known"


def enabled_again(world: World, decision: Decision) -> None:
    """Nobody stays refused on an unmarked version that we disabled, not for as long as older rules take to go either: what
    is kept from now on is enabled with the decision that keeps it."""
    after = decision.rotation
    given_up = after.accepted is not None or after.abandoned is not None
    if given_up or after.phase not in (Phase.MONITOR, Phase.ROLLBACK) or EffectKind.ENABLE in world.denied:
        return
    kept = {after.survivor} if after.phase is Phase.ROLLBACK else set(after.outgoing) & after.served
    kept -= {*after.marks, *after.revoked, *after.waived, *after.forced}
    asked = [effect for effect in decision.effects if effect.kind is EffectKind.ENABLE]
    there = [v for v in world.verifiers.values() if not (v.away or v.unlisted)]
    for serial in [serial for serial in after.outgoing if serial in kept and world.readable(serial)]:
        lacking = {v.name for v in there if v.table.get(serial) is Entry.DISABLED}
        enabled = {name for effect in asked if effect.serial == serial for name in effect.verifiers}
        assert lacking <= enabled, f"v{serial} stays disabled at {lacking - enabled}"
        if lacking:
            return  # one at a time, in this order


def leads_from_what_readers_got(world: World, before: Rotation, successor: Rotation) -> None:
    """P3: the way back of a rotation that takes over is what readers got last, seen or not, unless nothing is left of it."""
    promised = any(serial == before.incoming for _, serial in before.promised)
    last = before.restoring if before.restoring is not None else before.incoming if promised else None
    left = any(last in target.copies or target.serial == last for target in world.targets.values())
    if last is not None and left:
        assert successor.outgoing[0] == last, f"P3: readers got v{last}, and the way back is v{successor.outgoing[0]}"


def nothing_out_of_sight(world: World, decision: Decision) -> None:
    """P4: nothing is sent where nobody can look; but a mint, whose lost answer is looked for where it was made."""
    for effect in decision.effects:
        target = world.targets.get(effect.target or "")
        seen = target is None or not target.away or effect.kind is EffectKind.MINT
        assert seen, f"P4: {effect.kind} v{effect.serial} at {effect.target}, which cannot be read"
        away = [name for name in effect.verifiers if name in world.verifiers and world.verifiers[name].away]
        assert not away, f"P4: {effect.kind} v{effect.serial} at {away}, which cannot be asked"


def stage_by_stage(before: Rotation, after: Rotation) -> None:
    """No stage is skipped: the ways out of the order are the retreat, the rollback, and giving way to another rotation."""
    if after.phase in (before.phase, Phase.SUPERSEDED):
        return
    steps = {*pairwise(STAGES), (Phase.RETIRE, Phase.MONITOR), (Phase.ROLLBACK, Phase.ROLLED_BACK)}
    steps |= {(phase, Phase.ROLLBACK) for phase in RESTORABLE}
    assert (before.phase, after.phase) in steps, f"{before.phase} is followed by {after.phase}"


def makes_room(world: World, rotation: Rotation) -> set[int]:
    """Versions that may be taken away for room: they failed, or no target serves them in an emergency, seen or not, or they
    were found silent and are disabled where readers have what failed."""
    served = {target.serial for target in world.targets.values()}
    unserved = {serial for serial in rotation.outgoing if serial not in served} if emergency(rotation) else set()
    over = {serial for serial in rotation.outgoing if cut_off(rotation, serial, world.now)}
    idle = set(rotation.disabled_at) - served if rotation.failed & served else set()
    return unserved | over | idle | set(rotation.failed)


def one_at_a_time(before: Rotation, decision: Decision) -> None:
    """P7: another rotation lives from this commit on exactly where this one ends as superseded; and never do readers
    have two versions to call current."""
    after, successor = decision.rotation, decision.successor
    assert (successor is not None) is (after.phase is Phase.SUPERSEDED), f"P7: {after.phase} and {successor}"
    assert successor is None or (successor.live and successor.supersedes == before.id), "P7: nobody took over"
    current = [v.serial for v in (successor or after).versions.values() if v.state is VersionState.CURRENT]
    assert len(current) <= 1, f"P7: {current} are current"


def disable_before_revoke(world: World, after: Rotation, serial: int) -> None:
    """P3: nothing is taken away for good before DESTROY but by a rollback, or for room; and what is revoked was disabled
    first, held connections too, but where it makes room. What an earlier rotation destroyed is dead already, and so is what
    this one has proven dead."""
    if serial not in after.versions or serial in after.proven:
        return
    room = after.phase is Phase.INTRODUCE and world.room is not None and serial in makes_room(world, after)
    assert after.phase in (Phase.DESTROY, Phase.ROLLBACK) or room, f"P3: v{serial} is revoked in {after.phase}"
    for verifier in world.verifiers.values():
        away = verifier.away and after.phase is not Phase.ROLLBACK  # where each was asked whether it refuses it
        blind = away or not world.readable(serial) or after.phase is Phase.DESTROY
        active = verifier.table.get(serial) is Entry.ACTIVE
        refused = blind or not (active if room else verifier.ever_accepts(serial, world.now))
        assert refused, f"v{serial} is revoked before it is disabled"
    if not room:
        survivor_stands(world, after, serial)


def survivor_stands(world: World, after: Rotation, serial: int) -> None:
    """Nothing is taken away before readers of every target get what is to be left, and every verifier that can be reached
    accepts it, on held connections too; on the way back a force stands in for a target that is away."""
    survivor, forced = after.survivor, after.restoring is not None and bool(after.forced)
    for target in world.targets.values():
        served = target.serial == survivor or (target.away and forced)
        assert served, f"P2: v{serial} is taken away while {target.name} serves v{target.serial}"
        assert not target.away or forced, f"P4: v{serial} is taken away while {target.name} cannot be read"
    for verifier in world.verifiers.values():
        accepted = verifier.away or verifier.always_accepts(survivor, world.now)
        assert accepted, f"P1: v{serial} is taken away while {verifier.name} may refuse v{survivor}"


def stands_where_told(world: World, before: Rotation, decision: Decision) -> None:
    """Under a pause, a halt or a latched hold nothing goes on; what was true may be made so again, and readers are given
    back what an operator wants given back."""
    kinds = {effect.kind for effect in decision.effects}
    unmade = before.versions[before.incoming].key_id is None
    if world.obstacle is not None and world.obstacle.id not in before.passed and unmade:
        seen = any(not target.away for target in world.targets.values())
        assert EffectKind.MINT not in kinds or not seen, "minted over an obstacle"
    latched = before.hold is not None and before.hold.latched
    if Phase.ROLLBACK in (before.phase, decision.rotation.phase) or not (before.pause or before.halted or latched):
        return
    if set(decision.rotation.marks) - set(before.marks):
        return  # found beside the secret: an emergency lifts what stands
    # A grace begins with the last promote, which the decision may be the first to see.
    marked = (before, decision.rotation)
    disables = [effect for effect in decision.effects if effect.kind is EffectKind.DISABLE]
    cut = {e for e in disables if any(cut_off(rotation, e.serial, world.now) for rotation in marked)}
    mending = {EffectKind.INSTALL, EffectKind.ENABLE, EffectKind.STAGE, EffectKind.KEEP, EffectKind.MARK}
    cut |= {e for e in decision.effects if e.kind is EffectKind.REVOKE and e.serial not in before.versions}
    overwritten = {name for name, found in before.reasserted.items() if found == (world.targets[name].id or "")}
    cut |= {e for e in decision.effects if e.kind is EffectKind.PROMOTE and e.target in overwritten}
    others = {effect.kind for effect in decision.effects if effect not in cut}
    assert others <= mending, f"{others} while it stands"
    retreats = (before.phase, decision.rotation.phase) == (Phase.RETIRE, Phase.MONITOR)
    stays = decision.rotation.phase is before.phase or decision.successor is not None
    assert stays or retreats, f"{before.phase} → {decision.rotation.phase} while it stands"


def accept_before_use(world: World, serial: int, how: str = "promoted") -> None:
    """P1: no reader is handed a version that a verifier which can be reached refuses, on held connections too; nor is it
    the only one that anybody is to use."""
    assert world.verifiers, "P1: nobody is known to accept it"
    for verifier in world.verifiers.values():
        accepted = verifier.away or verifier.always_accepts(serial, world.now)
        assert accepted, f"P1: v{serial} is {how} while {verifier.name} may refuse it"


def bake_known(world: World, after: Rotation, target: str) -> None:
    """P4: a wave waits until the one before was watched, by every source that sees failures, for the bake; an operator who
    wants a hand's value overwritten names the target."""
    if after.reasserted.get(target) == (world.targets[target].id or ""):
        return
    index = after.targets.index(target)
    earlier = after.targets[: index - index % world.policy.wave_size]
    for name in earlier:
        assert world.targets[name].away or world.targets[name].serial == after.incoming, (
            f"wave of {target} before {name}"
        )
        assert failure_mark(world) >= world.served_since[name] + world.policy.bake, f"P4: {name} was not watched"


def failure_mark(world: World) -> datetime:
    """Up to when failures are known."""
    marks = [source.told() for source in world.sources.values() if source.sees_failures]
    assert marks, "P4: no source sees failures"
    assert None not in marks, "P4: a source that is mute moved the rotation on"
    return min(mark for mark in marks if mark is not None)


def usage_mark(world: World) -> datetime:
    """Up to when uses are known."""
    marks = [source.told() for source in world.sources.values()]
    assert marks, "P4: no source"
    assert None not in marks, "P4: a source that is mute moved the rotation on"
    return min(mark for mark in marks if mark is not None)


def watched(world: World, after: Rotation, span: timedelta, *, failures: bool) -> None:
    """P4: so much time since the last promote is known."""
    since = max(world.served_since[name] for name in after.targets)
    mark = failure_mark(world) if failures else usage_mark(world)
    assert mark >= since + span, f"P4: {span} after the last promote are not known"


def silence_before_reject(world: World, after: Rotation, serial: int) -> None:
    """P2: nothing is disabled that readers get or somebody may still use."""
    if cut_off(after, serial, world.now):
        return
    if after.phase is Phase.INTRODUCE and world.room is not None and serial in makes_room(world, after):
        world.given_up.add(serial)
        return
    assert after.phase in (Phase.RETIRE, Phase.ROLLBACK), f"v{serial} is disabled in {after.phase}"
    assert after.versions[serial].compromised_at is None, f"v{serial} is disabled before its time"
    survivor_stands(world, after, serial)
    rolling_back = after.phase is Phase.ROLLBACK
    if serial in after.forced:
        return
    if serial not in world.ever_served:
        return
    assert world.since is not None, f"P4: v{serial} is disabled while a source has never told anything"
    least = max(world.policy.drain, world.policy.minimum_overlap)
    since = max(world.served_since[name] for name in after.targets)
    for client in world.clients.values():
        if not rolling_back and client.dismissed:
            continue
        needed = least if rolling_back else client.silence
        uses = client.holds == serial and client.every < needed
        assert not uses, f"P2: v{serial} is disabled while {client.name} uses it"
        last = max(since, client.last_use.get(serial, since))
        assert usage_mark(world) >= last + needed, f"P2: silence of {client.name} on v{serial} is not known"
    assert usage_mark(world) >= since, "P2: nothing is known since the last promote"


def soak_known(world: World, before: Rotation, after: Rotation) -> None:
    """P4: the whole soak is known, by a source that sees failures."""
    soaked = [s for s in after.outgoing if s in world.ever_served and s not in before.revoked]
    # What nobody can read nobody can try: the authority's listing is the evidence, whose rules may lag (MACHINE.md, 5).
    soaked = [s for s in soaked if after.versions[s].compromised_at is None and world.readable(s)]
    for serial in soaked:
        one_soaked(world, after, serial)


def one_soaked(world: World, after: Rotation, doomed: int) -> None:
    """The same for one version."""
    begun = world.refused_since.get(doomed)
    assert begun is not None, f"v{doomed} is not refused everywhere and would be destroyed"
    assert min(failure_mark(world), usage_mark(world)) >= begun + world.policy.soak, "P4: the soak is not known"
    if any(force.final for force in after.forced.values()):
        return
    for client in world.clients.values():
        refused = client.last_refusal.get(doomed, begun)
        assert refused <= begun, f"{client.name} was refused with v{doomed} in the soak, and it would be destroyed"


def ended_clean(world: World, after: Rotation) -> None:
    """An end leaves exactly one accepted, served version on each target, and nothing of ours."""
    survivor = after.survivor
    assert after.versions[survivor].compromised_at is None, f"P8: v{survivor} is left"
    written_beside(world, after)
    for target in world.targets.values():
        assert target.serial == survivor, f"{after.phase}: {target.name} serves v{target.serial}"
        left = target.copies & set(after.versions)
        assert not left, f"{after.phase}: copies of {left} are left at {target.name}"
    for verifier in world.verifiers.values():
        assert verifier.away or verifier.always_accepts(survivor, world.now), f"{verifier.name} refuses v{survivor}"
        for serial in after.versions:
            if serial == survivor:
                continue
            dead = verifier.table.get(serial, Entry.ABSENT)
            minted = serial in world.keys and after.versions[serial].key_id is not None
            assert dead is Entry.REVOKED or not minted, f"P5: v{serial} is {dead} at {verifier.name}"
            proven = serial in world.proved or serial in after.waived
            assert proven or not minted, f"P11: v{serial} was never tried"
            # Of what an operator has signed for the listing is the evidence, and it knows no held connections.
            rules = [verifier.table] if serial in after.waived else verifier.rules(world.now)
            alive = any(one.get(serial) is Entry.ACTIVE for one in rules)
            assert not alive, f"P11: {verifier.name} accepts v{serial}"


def at_rest(world: World) -> None:
    """Between rotations, once nothing is under way any more: the current version alone is served and accepted, and
    nothing of ours is left; whatever a late call had changed is undone."""
    survivor = world.current.serial
    for target in world.targets.values():
        assert target.serial == survivor, f"at rest {target.name} serves v{target.serial}, not v{survivor}"
        assert not target.copies, f"P5: copies of {target.copies} stay at {target.name}"
    for verifier in world.verifiers.values():
        assert verifier.always_accepts(survivor, world.now), f"at rest {verifier.name} refuses v{survivor}"
        others = verifier.alive() - {survivor}
        assert not others, f"P5: {verifier.name} knows {others} at rest"


def standing(world: World) -> None:
    """What must be true at every moment, whatever happens."""
    settle(world)
    rotation = world.rotation
    for use in world.uses:
        nobody_cut_off(world, use)
    world.uses.clear()
    for target in world.targets.values():
        forced = rotation is not None and rotation.restoring is not None and bool(rotation.forced)
        if target.serial is None or (target.away and forced):
            continue  # an operator's force has stood in for what cannot be seen
        for verifier in world.verifiers.values():
            given_up = rotation is not None and target.serial in {*rotation.marks, *rotation.failed}
            excused = verifier.away or given_up or target.serial in verifier.excused
            fine = excused or verifier.always_accepts(target.serial, world.now)
            assert fine, f"P1: {target.name} serves v{target.serial}, which {verifier.name} may refuse"
    for verifier in world.verifiers.values():
        others = verifier.alive() - world.remembered() - verifier.risen
        assert not others, f"P5: {verifier.name} knows {others}, which nobody remembers"
    if rotation is None:
        return
    never_silent(world, rotation)
    old = rotation.outgoing[0]
    given_up = (
        old in rotation.marks or old in rotation.revoked or old in rotation.waived or rotation.supersedes is not None
    )
    if rotation.phase in RESTORABLE and not given_up:
        for verifier in world.verifiers.values():
            assert verifier.table.get(old) is not Entry.REVOKED, f"P3: v{old} is revoked in {rotation.phase}"
        for target in world.targets.values():
            robbed = target.name in world.robbed or old in world.gone
            kept = rotation.phase is Phase.INTRODUCE or old in target.copies or robbed
            assert kept, f"P3: {target.name} keeps no copy of v{old} in {rotation.phase}"


def settle(world: World) -> None:
    """What a verifier was excused for counts again once it accepts, and what rose there is dead again once it is buried;
    since when what is refused everywhere."""
    for verifier in world.verifiers.values():
        verifier.excused = {s for s in verifier.excused if not verifier.always_accepts(s, world.now)}
        verifier.risen &= verifier.alive()
    for serial in world.keys:
        if any(verifier.ever_accepts(serial, world.now) for verifier in world.verifiers.values()):
            world.refused_since.pop(serial, None)
        else:
            world.refused_since.setdefault(serial, world.now)


def nobody_cut_off(world: World, use: Use) -> None:
    """A client that moves when it is told, or is still awaited, is never refused; but with what an emergency gave up for
    room, since without that nobody could get a version that is not compromised (MACHINE.md, trace 17)."""
    client = world.clients[use.client]
    vouched = client.dismissed or client.sleeper or client.every >= world.policy.drain
    failed = world.rotation is not None and use.serial in world.rotation.failed
    excused = use.excused or use.serial in world.forced | world.leaked | world.given_up
    if use.accepted or excused or vouched or failed:
        return
    raise AssertionError(f"P2: {use.client} is refused with v{use.serial} at {use.verifier} at {use.at:%H:%M:%S}")


def never_silent(world: World, rotation: Rotation) -> None:
    """P10: nothing stands longer than its deadline without a word to a person."""
    if rotation.pause is not None and world.now < rotation.pause.until:
        world.heard = world.now
    said = [at for at, message in world.messages.values() if message.topic != "client.remind"]
    world.heard = max([world.heard, *said])
    quiet = world.now - world.heard
    allowed = world.policy.deadline(rotation.phase).after + world.policy.page_every + SLACK
    assert quiet <= allowed, f"P10: {rotation.phase} has stood for {quiet} without a word"
