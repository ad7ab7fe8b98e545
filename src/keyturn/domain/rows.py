"""What rows are made of. A row looks at one post-condition in the world and says what is still to be done for it.

A row returns the effects that are outstanding, or a verdict that waits, or None when its post-condition is observed.
Rows believe what is seen, not what the journal says; a row that was done yesterday is looked at again today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.observations import Acceptance, ServingKind
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Verdict, hold, wait

Outcome = tuple[Effect, ...] | Verdict | None
Row = Callable[[Situation], Outcome]

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
    if kind is EffectKind.PROMOTE:
        parts.append(expected or "nothing")
    if kind is EffectKind.REMOVE and expected is not None:
        parts.append(expected)
    return Effect(id="/".join(parts), kind=kind, serial=serial, target=target, expected=expected, verifiers=verifiers)


def promote(s: Situation, serial: int, target: str) -> Effect:
    """Readers of a target get a version, if they get what this tick has seen; it is staged there first where its copy
    is lacking."""
    if serial not in (s.copies(target) or ()):
        return effect(s, EffectKind.STAGE, serial, target=target)
    return effect(s, EffectKind.PROMOTE, serial, target=target, expected=s.serving(target).id)


def unknown_target(names: Iterable[str]) -> Verdict:
    """These targets cannot be read."""
    names = list(names)
    return wait(Reason.TARGET_UNKNOWN, f"cannot read {', '.join(names)}", targets=names)


def unreachable(what: str, names: tuple[str, ...]) -> Verdict:
    """These verifiers cannot be asked."""
    return wait(Reason.VERIFIER_UNREACHABLE, f"cannot {what} {', '.join(names)}", verifiers=list(names))


def settling(names: tuple[str, ...]) -> Verdict:
    """These verifiers have new rules, and something there still serves older ones."""
    return wait(Reason.NOT_ACCEPTED_YET, f"{', '.join(names)} may still serve older rules", verifiers=list(names))


def anothers(s: Situation, target: str, *, latch: bool) -> Verdict | None:
    """The hold for a target whose readers get nothing, or what is not ours; None where they get a version of ours."""
    serving = s.serving(target)
    if serving.kind is ServingKind.FOREIGN:
        detail = f"{target} serves {serving.id}, which is not ours"
        return hold(Reason.TARGET_FOREIGN, detail, latch=latch, target=target, found=serving.id or "")
    if serving.kind is ServingKind.MISSING:
        return hold(Reason.TARGET_MISSING, f"readers of {target} get nothing", latch=latch, target=target, found="")
    return None


def who_is_blind(s: Situation) -> str:
    """The usage sources without a word."""
    blind = sorted(name for name, source in s.seen.usage.sources.items() if source.watermark is None)
    return f"no word from {', '.join(blind)}" if blind else "no usage source covers this credential"


def while_blind(s: Situation) -> str:
    """What to add to a wait while usage sources are blind: the time that it tells does not run then."""
    blind = [
        f"{name} is blind since {one.blind_since:%Y-%m-%d %H:%M:%S} UTC ({one.trouble})"
        for name, one in sorted(s.seen.usage.sources.items())
        if one.blind_since is not None
    ]
    return "".join(f"; {line}" for line in blind)
