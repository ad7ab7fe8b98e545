"""Rows that bring something about: versions made, kept, accepted, and given to readers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.errors import PERMANENT
from keyturn.domain.observations import Acceptance, Entry, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import (
    REFUSING,
    Outcome,
    anothers,
    effect,
    promote,
    settling,
    unknown_target,
    unreachable,
    while_blind,
)
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Ruling, Verdict, hold, wait


def reassert(s: Situation) -> Outcome:
    """What an operator wants overwritten, and what a late promote of our own has left, gives way to what the phase calls
    for, once every verifier accepts that (promise P1)."""
    wanted = {t: s.called_for(t) for t in s.rotation.targets if s.to_reassert(t) or s.came_late(t)}
    wanted = {t: serial for t, serial in wanted.items() if s.givable(serial) and s.readable(serial)}
    if s.phase_is(Phase.INTRODUCE):
        wanted = {t: serial for t, serial in wanted.items() if serial != s.new}  # that is OVERLAP's to give
    on_the_way_back = s.rotation.restoring is not None
    for serial in wanted.values():
        blocks = not (s.hurried or on_the_way_back)
        if (found := _accepted(s, serial, EffectKind.ENABLE, unreachable_blocks=blocks)) is not None:
            return found
    return tuple(promote(s, serial, t) for t, serial in wanted.items()) or None


def keep_old(s: Situation) -> Outcome:
    """Every target holds our own copy of the old version, so that the way back depends on nobody else. Of a compromised
    one whatever can be had is kept, for the proof of its death; and of any other that may still be in use one copy, or
    nobody could try it once its last target serves another. Of one that a person has signed for nothing more is kept."""
    lacking = [t for t in s.rotation.targets if (held := s.copies(t)) is not None and s.old not in held]
    if s.old in s.rotation.waived:
        lacking = []
    serving = [t for t in lacking if s.serves(t, s.old)]
    elsewhere = lacking if s.readable(s.old) else []
    wanted = [
        effect(s, EffectKind.KEEP, s.old, target=t, expected=s.serving(t).id)
        if t in serving
        else effect(s, EffectKind.STAGE, s.old, target=t)
        for t in lacking
        if t in serving or t in elsewhere
    ]
    for serial in s.rotation.outgoing[1:]:
        serving = [t for t in s.rotation.targets if s.serves(t, serial)]
        if serving and s.kept(serial) and not any(serial in (s.copies(t) or ()) for t in s.rotation.targets):
            wanted.append(effect(s, EffectKind.KEEP, serial, target=serving[0], expected=s.serving(serving[0]).id))
    kept = any(s.old in (s.copies(target) or ()) for target in s.rotation.targets)
    if wanted := _not_awaited(s, wanted, elsewhere=kept):
        return tuple(wanted)
    unknown = [t for t in s.rotation.targets if s.copies(t) is None]
    if unknown and not s.hurried:
        return unknown_target(unknown)
    return None


def mint(s: Situation) -> Outcome:
    """The new version exists and its value is staged somewhere: newly made, or found where another's hand put it."""
    if s.minted(s.new):
        return None
    adopting = s.rotation.adopting
    if adopting is not None:
        serving = s.serving(adopting.target)
        held = s.copies(adopting.target)
        if held is not None and s.new not in held and serving.id != adopting.id:
            gone = f"{adopting.target} does not serve {adopting.id} any more, which was to be adopted"
            return Verdict(ruling=Ruling.HALT, reason=Reason.TARGET_FOREIGN, detail=gone)
        return (effect(s, EffectKind.MINT, s.new, target=adopting.target, expected=adopting.id),)
    known = [t for t in s.rotation.targets if s.copies(t) is not None]
    # An emergency does not wait for a target that is away; otherwise a steady place finds a lost answer again.
    place = known[0] if s.hurried and known else s.rotation.targets[0]
    return (effect(s, EffectKind.MINT, s.new, target=place),)


def stage_new(s: Situation) -> Outcome:
    """Every target holds our copy of the new version; an emergency goes on with those that can be reached and take it."""
    lacking = [t for t in s.rotation.targets if s.new not in (s.copies(t) or ())]
    known = [t for t in lacking if s.copies(t) is not None]
    wanted = [effect(s, EffectKind.STAGE, s.new, target=t) for t in known]
    if len(lacking) < len(s.rotation.targets):
        wanted = _not_awaited(s, wanted, elsewhere=True)
    if wanted:
        return tuple(wanted)
    if lacking and not (s.hurried and len(lacking) < len(s.rotation.targets)):
        return unknown_target(lacking)
    return None


def _not_awaited(s: Situation, wanted: list[Effect], *, elsewhere: bool) -> list[Effect]:
    """What is still to be asked for: in an emergency not what a target has refused for good, nor what has failed at all
    where another target has it, for which readers of no other are kept waiting while the cut comes. OVERLAP asks once
    more, and tells of it."""
    tried = {one.id: before for one in wanted if s.hurried and (before := s.seen.effects.get(one.id)) is not None}
    failed = {name for name, before in tried.items() if before.failure in PERMANENT or (elsewhere and before.failure)}
    return [one for one in wanted if one.id not in failed]


def _accepted(s: Situation, serial: int, kind: EffectKind, *, unreachable_blocks: bool) -> Outcome:
    lost = serial in s.rotation.waived and not s.readable(serial)
    if not lost and 0 < len(s.seen.verifiers) == len(s.verifiers(serial, Acceptance.ACCEPTED)):
        return None
    # Where its value is lost, as somebody has signed, the authority's listing speaks for it; it can be enabled where its
    # entry is, and nowhere else.
    refusing = s.still(serial, *REFUSING) if lost else s.verifiers(serial, *REFUSING)
    if lost:
        refusing = tuple(v for v in refusing if s.entry(v, serial) is Entry.DISABLED)
    # What was changed behind our back is reported by a guard, and not mended.
    joining = tuple(v for v in refusing if v not in s.behind_our_back(serial))
    if kind is EffectKind.ENABLE:
        # A disable of ours that is still settling is undone at once, not waited for.
        still = s.verifiers(serial, Acceptance.UNSETTLED)
        joining += tuple(v for v in still if s.entry(v, serial) is Entry.DISABLED and v not in s.rotation.up)
    if joining:
        # What is revoked accepts it never again: that is asked for last, and in vain until people are told, so that it keeps
        # no other verifier from being mended.
        mendable = tuple(v for v in joining if s.entry(v, serial) is not Entry.REVOKED)
        return (effect(s, kind, serial, verifiers=mendable or joining),)
    if refusing:
        return wait(Reason.NOT_ACCEPTED_YET, f"{', '.join(refusing)} refuses v{serial}", verifiers=list(refusing))
    lagging = s.verifiers(serial, Acceptance.UNSETTLED)
    away = s.still(serial, Acceptance.UNREACHABLE) if lost else s.verifiers(serial, Acceptance.UNREACHABLE)
    if lagging:
        return settling(lagging)
    if any(s.unasked(v, serial) for v in away) and not lost:
        return wait(Reason.NOT_ACCEPTED_YET, f"v{serial} has not been tried yet", verifiers=list(away))
    if away and (unreachable_blocks or len(away) == len(s.seen.verifiers)):
        return unreachable("ask", away)
    if not s.seen.verifiers:
        return wait(Reason.VERIFIER_UNREACHABLE, "the authority names no verifier")
    return None


def accept_new(s: Situation) -> Outcome:
    """Every verifier accepts the new version, and what served older rules is gone (promise P1). One that was disabled,
    as by a call of ours that came late, is enabled; an emergency leaves out those that cannot be reached."""
    disabled = any(s.entry(v, s.new) is Entry.DISABLED for v in s.seen.verifiers)
    kind = EffectKind.ENABLE if disabled else EffectKind.INSTALL
    return _accepted(s, s.new, kind, unreachable_blocks=not s.hurried)


def accept_kept(s: Situation) -> Outcome:
    """Every verifier accepts the outgoing versions that may still be in use: what a retreat leaves to do, and a rotation
    that was taken over from; nothing otherwise. None of them waits for another; what the authority refuses for good to
    accept, and a person has signed for, is asked for no more."""
    return _each_accepted(s, s.rotation.outgoing)


def old_accepted(s: Situation) -> Outcome:
    """The same, for what a rotation waits for: what has failed keeps the new version from nobody."""
    return _each_accepted(s, [serial for serial in s.rotation.outgoing if serial not in s.rotation.failed])


def _each_accepted(s: Situation, serials: Iterable[int]) -> Outcome:
    given_up = {serial for serial in s.rotation.waived if s.refused_for_good(EffectKind.ENABLE, serial)}
    kept = [serial for serial in serials if s.kept(serial) and serial not in given_up]
    found = [_accepted(s, serial, EffectKind.ENABLE, unreachable_blocks=not s.hurried) for serial in kept]
    effects = tuple(one for outcome in found if isinstance(outcome, tuple) for one in outcome)
    return effects or next((outcome for outcome in found if outcome is not None), None)


def accept_survivor(s: Situation) -> Outcome:
    """Every verifier that can be asked accepts the version that is left, or is being restored."""
    return _accepted(s, s.survivor, EffectKind.ENABLE, unreachable_blocks=False)


def promote_waves(s: Situation) -> Outcome:
    """Readers of every target get the new version, wave after wave, each watched before the next."""
    previous: tuple[str, ...] = ()
    for wave in s.waves():
        lacking = [t for t in wave if not s.serves(t, s.new)]
        if lacking:
            if previous and (verdict := _baked(s, previous, s.policy.bake, Reason.BAKING)):
                return verdict
            ready = [t for t in lacking if s.serving(t).kind is ServingKind.OURS]
            if ready:
                return tuple(promote(s, s.new, t) for t in ready)
            return not_served(s, lacking)
        previous = wave
    return None


def minimum_overlap(s: Situation) -> Verdict | None:
    """Both versions were accepted under watch for the minimum overlap, and no shorter than any wave is baked, since the
    last promote; in an emergency the grace takes its place."""
    span = max(s.policy.minimum_overlap, s.policy.bake)
    return None if s.hurried else _baked(s, s.rotation.targets, span, Reason.MINIMUM_OVERLAP)


def _baked(s: Situation, targets: tuple[str, ...], span: timedelta, reason: Reason) -> Verdict | None:
    since = s.last_promote(targets)
    if since is None:
        return unknown_target(targets)
    missing = span - s.rotation.elapsed(since, s.now)
    if missing > timedelta(0):
        return wait(reason, f"{missing} left", until=s.now + missing)
    if not s.watched(since, span, s.seen.usage.failure_watermark):
        detail = f"no source that sees failures has reported this time yet{while_blind(s)}"
        return wait(Reason.WATERMARK_BEHIND, detail)
    return None


def promote_restored(s: Situation) -> Outcome:
    """Readers of every target are known to get the restored version again, before anything is taken away: by a promote of
    this very entry wherever one was ever promised, which spends the compare-and-swap that a late worker may still hold
    (MACHINE.md, trace 5), and wherever they get another. An operator's force stands in for a target that is away, where it
    speaks for all that its readers may get."""
    wanted = [
        t
        for t in s.rotation.targets
        if (t not in s.rotation.promoted and any(target == t for target, _ in s.rotation.promised))
        or not s.serves(t, s.survivor)
    ]
    bound = (v for v in s.doomed if v in s.rotation.served and not (s.marked(v) or v in s.rotation.revoked))
    if s.rotation.forced and all(serial in s.rotation.forced for serial in bound):
        wanted = [t for t in wanted if s.serving(t).kind is not ServingKind.UNKNOWN]
    ready = [t for t in wanted if s.serving(t).kind is ServingKind.OURS]
    if ready:
        return tuple(promote(s, s.survivor, t) for t in ready)
    return not_served(s, wanted) if wanted else None


def not_served(s: Situation, targets: list[str]) -> Outcome:
    """What is done for readers of these targets, who do not get what they should; or why nothing can be: somebody's hand
    first, then what is unknown."""
    if (found := reassert(s)) is not None:
        return found
    hands = [verdict for t in targets if (verdict := anothers(s, t, latch=False)) is not None]
    if hands:
        return hands[0]
    unknown = [t for t in targets if s.serving(t).kind is ServingKind.UNKNOWN]
    if unknown:
        return unknown_target(unknown)
    return hold(Reason.SURVIVOR_NOT_SERVED, f"{', '.join(targets)} does not serve v{s.survivor}", targets=targets)
