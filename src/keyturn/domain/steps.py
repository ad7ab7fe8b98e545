"""The rows of the phases: each looks at one post-condition in the world and says what is still to be done for it.

A row returns the effects that are outstanding, or a verdict that waits, or None when its post-condition is observed.
Rows believe what is seen, not what the journal says; a row that was done yesterday is looked at again today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.observations import Acceptance, Entry, ServingKind
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Verdict, hold, wait

Row = Callable[[Situation], "tuple[Effect, ...] | Verdict | None"]

REFUSING = (Acceptance.REFUSED, Acceptance.DISABLED)


def effect(
    s: Situation,
    kind: EffectKind,
    serial: int,
    *,
    target: str | None = None,
    expected: str | None = None,
    verifiers: tuple[str, ...] = (),
) -> Effect:
    """An effect of the rotation's present phase, with its deterministic id."""
    rotation = s.rotation
    parts = [rotation.id, f"{rotation.entry}-{rotation.phase}", kind, f"v{serial}"]
    if target is not None:
        parts.append(target)
    return Effect(id="/".join(parts), kind=kind, serial=serial, target=target, expected=expected, verifiers=verifiers)


def _unknown_target(names: Iterable[str]) -> Verdict:
    names = list(names)
    return wait(Reason.TARGET_UNKNOWN, f"cannot read {', '.join(names)}", targets=names)


def keep_old(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every target holds our own copy of the old version, so that the way back depends on nobody else."""
    lacking = [t for t in s.rotation.targets if s.old not in (s.copies(t) or ())]
    ready = [t for t in lacking if s.serves(t, s.old)]
    if ready:
        return tuple(effect(s, EffectKind.KEEP, s.old, target=t, expected=s.serving(t).id) for t in ready)
    return _unknown_target(lacking) if lacking else None


def mint(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """The new version exists and its value is staged somewhere."""
    if s.minted(s.new):
        return None
    return (effect(s, EffectKind.MINT, s.new, target=s.rotation.targets[0]),)


def stage_new(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every target holds our copy of the new version."""
    lacking = [t for t in s.rotation.targets if s.new not in (s.copies(t) or ())]
    known = [t for t in lacking if s.copies(t) is not None]
    if known:
        return tuple(effect(s, EffectKind.STAGE, s.new, target=t) for t in known)
    return _unknown_target(lacking) if lacking else None


def _accepted(
    s: Situation, serial: int, kind: EffectKind, *, unreachable_blocks: bool
) -> tuple[Effect, ...] | Verdict | None:
    refusing = s.verifiers(serial, *REFUSING)
    # What was changed behind our back is reported by a guard, and not mended.
    joining = tuple(v for v in refusing if v not in s.behind_our_back(serial))
    if kind is EffectKind.ENABLE:
        # A disable of ours that is still settling is undone at once, not waited for.
        settling = s.verifiers(serial, Acceptance.UNSETTLED)
        joining += tuple(v for v in settling if s.entry(v, serial) is Entry.DISABLED and v not in s.rotation.up)
    if joining:
        return (effect(s, kind, serial, verifiers=joining),)
    if refusing:
        return wait(Reason.NOT_ACCEPTED_YET, f"{', '.join(refusing)} refuses v{serial}", verifiers=list(refusing))
    lagging = s.verifiers(serial, Acceptance.UNSETTLED)
    away = s.verifiers(serial, Acceptance.UNREACHABLE)
    if lagging:
        return wait(
            Reason.NOT_ACCEPTED_YET,
            f"{', '.join(lagging)} may still serve older rules",
            verifiers=list(lagging),
        )
    if any(s.unasked(v, serial) for v in away):
        return wait(Reason.NOT_ACCEPTED_YET, f"v{serial} has not been tried yet", verifiers=list(away))
    if away and unreachable_blocks:
        return wait(Reason.VERIFIER_UNREACHABLE, f"cannot ask {', '.join(away)}", verifiers=list(away))
    if not s.seen.verifiers:
        return wait(Reason.VERIFIER_UNREACHABLE, "the authority names no verifier")
    return None


def accept_new(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every verifier accepts the new version, and what served older rules is gone (promise P1)."""
    return _accepted(s, s.new, EffectKind.INSTALL, unreachable_blocks=True)


def accept_old(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every verifier accepts the old version: what a retreat leaves to do, and nothing otherwise."""
    return _accepted(s, s.old, EffectKind.ENABLE, unreachable_blocks=True)


def accept_restored(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every verifier that can be asked accepts the version being restored."""
    return _accepted(s, s.survivor, EffectKind.ENABLE, unreachable_blocks=False)


def promote_waves(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Readers of every target get the new version, wave after wave, each watched before the next."""
    previous: tuple[str, ...] = ()
    for wave in s.waves():
        lacking = [t for t in wave if not s.serves(t, s.new)]
        if lacking:
            if previous and (verdict := _baked(s, previous, s.policy.bake, Reason.BAKING)):
                return verdict
            ready = [t for t in lacking if s.serving(t).kind is ServingKind.OURS]
            if ready:
                return tuple(effect(s, EffectKind.PROMOTE, s.new, target=t, expected=s.serving(t).id) for t in ready)
            return _unknown_target(lacking)
        previous = wave
    return None


def bake_last_wave(s: Situation) -> Verdict | None:
    """The last wave has been watched as long as every other."""
    return _baked(s, s.waves()[-1], s.policy.bake, Reason.BAKING)


def minimum_overlap(s: Situation) -> Verdict | None:
    """Both versions were accepted under watch for the minimum overlap since the last promote."""
    return _baked(s, s.rotation.targets, s.policy.minimum_overlap, Reason.MINIMUM_OVERLAP)


def _baked(s: Situation, targets: tuple[str, ...], span: timedelta, reason: Reason) -> Verdict | None:
    since = s.last_promote(targets)
    if since is None:
        return _unknown_target(targets)
    missing = span - s.rotation.elapsed(since, s.now)
    if missing > timedelta(0):
        return wait(reason, f"{missing} left", until=s.now + missing)
    if not s.watched(since, span, s.seen.usage.failure_watermark):
        return wait(Reason.WATERMARK_BEHIND, "no source that sees failures has reported this time yet")
    return None


def served_everywhere(s: Situation) -> Verdict | None:
    """Every target's readers are known to get the survivor: nothing is taken away before (MACHINE.md, traces 11, 12)."""
    unknown = [t for t in s.rotation.targets if s.serving(t).kind is ServingKind.UNKNOWN]
    if unknown:
        return _unknown_target(unknown)
    others = [t for t in s.rotation.targets if not s.serves(t, s.survivor)]
    if others:
        return wait(Reason.SURVIVOR_NOT_SERVED, f"{', '.join(others)} does not serve v{s.survivor}", targets=others)
    return None


def clients_moved(s: Situation) -> Verdict | None:
    """Every known client has succeeded with the new version, or is vouched for, or is gone."""
    if s.rotation.force is not None:
        return None
    if s.seen.usage.watermark is None:
        return wait(Reason.SILENCE_UNKNOWN, _who_is_blind(s))
    laggards = s.laggards()
    if laggards:
        return wait(
            Reason.CLIENTS_NOT_MOVED,
            f"{', '.join(laggards)} not seen to succeed with v{s.new}",
            clients=list(laggards),
        )
    return None


def old_silent(s: Situation) -> Verdict | None:
    """Every outgoing version is known silent for each client's required time (promise P2)."""
    if s.rotation.force is not None:
        return None
    promoted = s.last_promote()
    for serial in s.rotation.outgoing:
        quiet = s.quiet(serial, since=promoted.at if promoted is not None else None)
        if not quiet.known:
            return wait(Reason.SILENCE_UNKNOWN, _who_is_blind(s))
        if quiet.users:
            return _in_use(s, Reason.OLD_IN_USE, serial, quiet.users)
    return None


def _in_use(s: Situation, reason: Reason, serial: int, users: tuple[tuple[str, timedelta], ...]) -> Verdict:
    name, missing = max(users, key=lambda user: user[1])
    return wait(
        reason,
        f"v{serial} must be silent for {missing} more ({name})",
        until=s.now + missing,
        clients=[user for user, _ in users],
    )


def _who_is_blind(s: Situation) -> str:
    blind = sorted(name for name, source in s.seen.usage.sources.items() if source.watermark is None)
    return f"no word from {', '.join(blind)}" if blind else "no usage source covers this credential"


def disable_doomed(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every verifier refuses the versions that are not to survive, one named version at a time."""
    for serial in s.doomed:
        if not s.minted(serial) or serial in s.rotation.proven:
            continue
        accepting = s.verifiers(serial, Acceptance.ACCEPTED)
        if accepting:
            return (effect(s, EffectKind.DISABLE, serial, verifiers=accepting),)
        unsettled = s.verifiers(serial, Acceptance.UNSETTLED)
        if unsettled:
            return wait(
                Reason.NOT_ACCEPTED_YET,
                f"{', '.join(unsettled)} may still serve older rules",
                verifiers=list(unsettled),
            )
        away = s.verifiers(serial, Acceptance.UNREACHABLE)
        if away:
            return wait(Reason.VERIFIER_UNREACHABLE, f"cannot ask {', '.join(away)}", verifiers=list(away))
    return None


def soaked(s: Situation) -> Verdict | None:
    """The old version was refused everywhere for the whole soak, and the sources have told all of it."""
    if s.rotation.soak is None:
        return wait(Reason.SOAKING, "the soak has not begun")
    missing = s.policy.soak - s.rotation.elapsed(s.rotation.soak, s.now)
    if missing > timedelta(0):
        return wait(Reason.SOAKING, f"{missing} left", until=s.now + missing)
    for watermark in (s.seen.usage.watermark, s.seen.usage.failure_watermark):
        if not s.watched(s.rotation.soak, s.policy.soak, watermark):
            return wait(Reason.WATERMARK_BEHIND, "the usage sources have not reported the whole soak yet")
    return None


def revoke_doomed(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """The authority lists every doomed version as revoked, on every verifier; a tombstone keeps late calls out."""
    for serial in s.doomed:
        if not s.minted(serial):
            continue
        entries = {v: s.entry(v, serial) for v in sorted(s.seen.verifiers)}
        lacking = tuple(v for v, entry in entries.items() if entry not in (Entry.REVOKED, Entry.UNKNOWN))
        if lacking:
            return (effect(s, EffectKind.REVOKE, serial, verifiers=lacking),)
        unknown = [v for v, entry in entries.items() if entry is Entry.UNKNOWN]
        if unknown:
            return wait(Reason.VERIFIER_UNREACHABLE, f"cannot list {', '.join(unknown)}", verifiers=unknown)
    return None


def prove_dead(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Every doomed version was tried on every verifier and refused (promise P11)."""
    for serial in s.doomed:
        if s.minted(serial) and serial not in s.rotation.proven:
            return (effect(s, EffectKind.PROVE_DEAD, serial, verifiers=tuple(sorted(s.seen.verifiers))),)
    return None


def remove_copies(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """No copy of any version of this rotation is left at a target."""
    found = [
        effect(s, EffectKind.REMOVE, serial, target=t)
        for t in s.rotation.targets
        for serial in sorted(s.copies(t) or ())
        if serial in s.rotation.versions
    ]
    if found:
        return tuple(found)
    unknown = [t for t in s.rotation.targets if s.copies(t) is None]
    return _unknown_target(unknown) if unknown else None


def promote_restored(s: Situation) -> tuple[Effect, ...] | Verdict | None:
    """Readers get the restored version again, by a promote of this very entry wherever another was ever promised: that
    spends the compare-and-swap which a late worker may still hold (MACHINE.md, trace 5)."""
    wanted = [
        t
        for t in s.rotation.targets
        if t not in s.rotation.promoted and any(target == t for target, _ in s.rotation.promised)
    ]
    ready = [t for t in wanted if s.serving(t).kind in (ServingKind.OURS, ServingKind.MISSING)]
    if ready:
        return tuple(effect(s, EffectKind.PROMOTE, s.survivor, target=t, expected=s.serving(t).id) for t in ready)
    foreign = [t for t in wanted if s.serving(t).kind is ServingKind.FOREIGN]
    if foreign:
        return hold(Reason.TARGET_FOREIGN, f"{', '.join(foreign)} serves a value that is not ours", targets=foreign)
    return _unknown_target(wanted) if wanted else None


def drained(s: Situation) -> Verdict | None:
    """Whoever had moved to a withdrawn version is back: it is known silent since the restored one was promoted."""
    ever = {serial for _, serial in s.rotation.promised} & set(s.doomed)
    restored = s.last_promote()
    if not ever or restored is None or s.rotation.force is not None:
        return None
    least = max(s.policy.drain, s.policy.minimum_overlap)
    for serial in sorted(ever):
        quiet = s.quiet(serial, since=restored.at, least=least)
        if not quiet.known:
            return wait(Reason.SILENCE_UNKNOWN, _who_is_blind(s))
        if quiet.users:
            return _in_use(s, Reason.DRAINING, serial, quiet.users)
    return None
