"""Guards: what undoes or stops a rotation before its rows are even looked at. The first that rules wins.

The order of `CHAIN` is policy: what undoes comes before what waits (marks > failures > retreat > hold and pause).
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.domain.evidence import Finding
from keyturn.domain.observations import Acceptance, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.situation import Situation
from keyturn.domain.steps import REFUSING
from keyturn.domain.verdicts import Evidence, Ruling, Verdict, hold

Guard = Callable[[Situation], "Verdict | None"]

FEW_CULPRITS = 0.1
"""Failures confined to at most this share of the known clients (and always to one) are the version's, not the
authority's, when every verifier accepts both (DESIGN §6)."""


def operator_rollback(s: Situation) -> Verdict | None:
    """An operator asked for the old version back, while there still is one."""
    if s.rotation.rollback_asked is None:
        return None
    return Verdict(ruling=Ruling.ROLL_BACK, reason=Reason.OPERATOR_ROLLBACK, detail=s.rotation.rollback_asked)


def new_version_fails(s: Situation) -> Verdict | None:
    """Failures attributed to the new version. Our own probes of both versions speak first: a verifier that refuses the
    new where it accepts the old is no illness of the authority. Then the detector's word, where the old version's traffic
    gave it a control; where none did, what the probes leave of DESIGN §6's table."""
    finding = s.seen.usage.finding
    if finding is None:
        return None
    blame, evidence = _blame(s, finding), _evidence(s, finding)

    def ruled(ruling: Ruling, reason: Reason, detail: str) -> Verdict:
        return Verdict(ruling=ruling, reason=reason, detail=detail, evidence=evidence)

    retired = s.phase_is(Phase.RETIRE)
    for verifier in s.verifiers(s.new, *REFUSING):
        if retired or s.acceptance(verifier, s.old) is Acceptance.ACCEPTED:
            return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_REFUSED, f"{blame}; {verifier} refuses v{s.new}")
    if finding.verdict == "authority_ill":
        return ruled(Ruling.HOLD, Reason.AUTHORITY_ILL, f"v{s.old} and v{s.new} fail alike")
    if finding.control:
        return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS, blame)
    if s.verifiers(s.new, *REFUSING, Acceptance.UNREACHABLE) or not s.seen.verifiers:
        return ruled(Ruling.HOLD, Reason.AUTHORITY_ILL, "our own probes of both versions fail")
    if len(finding.culprits) <= max(1, int(FEW_CULPRITS * len(s.seen.usage.clients))):
        return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS, blame)
    return ruled(Ruling.HOLD, Reason.FAILURES_SPREAD, blame)


def _blame(s: Situation, finding: Finding) -> str:
    if not finding.culprits:
        return f"v{s.new} fails"
    worst = finding.culprits[0]
    return f"client {worst.client} fails {worst.failures} of {worst.failures + worst.successes} on v{s.new}"


def _evidence(s: Situation, finding: Finding) -> Evidence:
    probes = [
        f"{verifier}: v{s.old} {s.acceptance(verifier, s.old)}, v{s.new} {s.acceptance(verifier, s.new)}"
        for verifier in sorted(s.seen.verifiers)
    ]
    culprits = [f"{c.client} {c.failures}/{c.failures + c.successes}" for c in finding.culprits]
    return {"e_value": finding.e_value, "control": finding.control, "culprits": culprits, "probes": probes}


def refused_use(s: Situation) -> Verdict | None:
    """A real holder of the disabled version was refused: it is still needed."""
    if s.rotation.force is not None and s.rotation.force.final:
        return None
    for serial in s.rotation.outgoing:
        users = s.refused_users(serial)
        if users:
            return Verdict(
                ruling=Ruling.RETREAT,
                reason=Reason.REFUSED_USE,
                detail=f"{', '.join(users)} used v{serial} after it was disabled",
                evidence={"clients": list(users), "serial": serial},
            )
    return None


def halted(s: Situation) -> Verdict | None:
    """A halt stays until an operator ends it."""
    if s.rotation.halted is None:
        return None
    return Verdict(ruling=Ruling.HALT, reason=s.rotation.halted.reason, detail=s.rotation.halted.detail)


def latched(s: Situation) -> Verdict | None:
    """A latched hold stays until an operator ends it."""
    standing = s.rotation.hold
    if standing is None or not standing.latched:
        return None
    return hold(standing.reason, standing.detail, latch=True)


def paused(s: Situation) -> Verdict | None:
    """An operator's pause; past its expiry it pages like a hold."""
    pause = s.rotation.pause
    if pause is None:
        return None
    if s.now >= pause.until:
        return hold(Reason.PAUSE_EXPIRED, f"paused by {pause.by} until {pause.until:%Y-%m-%d %H:%M} UTC: {pause.why}")
    return Verdict(
        ruling=Ruling.WAIT,
        reason=Reason.PAUSED,
        detail=f"paused by {pause.by}: {pause.why}",
        until=pause.until,
    )


def too_many_retreats(s: Situation) -> Verdict | None:
    """Disabled and needed again too often: an operator should look at the clients."""
    if s.rotation.retreats > s.policy.maximum_retreats:
        return hold(Reason.TOO_MANY_RETREATS, f"{s.rotation.retreats} retreats", latch=True)
    return None


def obstacle(s: Situation) -> Verdict | None:
    """Something of another's stands where the new version would go: it is never run over, and never used."""
    if s.minted(s.new):
        return None
    for name in s.rotation.targets:
        seen = s.seen.targets.get(name)
        for found in seen.obstacles if seen is not None else ():
            age = f", {s.now - found.since} old" if found.since is not None else ""
            return hold(Reason.OBSTACLE, f"{name}: {found.what} {found.id}{age}", target=name, id=found.id)
    return None


def anothers_hand(s: Situation) -> Verdict | None:
    """Readers of a target get something that this rotation does not explain."""
    for name in s.rotation.targets:
        serving = s.serving(name)
        if serving.kind is ServingKind.FOREIGN:
            return hold(
                Reason.TARGET_FOREIGN, f"{name} serves {serving.id}, which is not ours", latch=True, target=name
            )
        if serving.kind is ServingKind.MISSING:
            return hold(Reason.TARGET_MISSING, f"readers of {name} get nothing", latch=True, target=name)
        if serving.kind is ServingKind.OURS and serving.serial not in _explained(s, name):
            return hold(
                Reason.TARGET_FOREIGN,
                f"{name} serves v{serving.serial}, which this phase did not put there",
                latch=True,
                target=name,
            )
    return None


def _explained(s: Situation, target: str) -> frozenset[int | None]:
    """What readers of a target may get, by our own doing."""
    if s.phase_is(Phase.INTRODUCE):
        return frozenset({s.old})
    if target in s.rotation.promoted:
        return frozenset({s.new})
    return frozenset({s.old, s.new}) if (target, s.new) in s.rotation.promised else frozenset({s.old})


def way_back_lost(s: Situation) -> Verdict | None:
    """Before the point of no return every target holds a readable copy of the old version (promise P3)."""
    lost = [t for t in s.rotation.targets if (copies := s.copies(t)) is not None and s.old not in copies]
    if lost:
        return hold(Reason.ROLLBACK_VALUE_LOST, f"{', '.join(lost)} holds no copy of v{s.old}", targets=lost)
    return None


def authority_changed(s: Situation) -> Verdict | None:
    """A verifier that met the post-conditions no longer does, and it was never away: reported, not silently mended."""
    retired = s.phase_is(Phase.RETIRE, Phase.DESTROY)
    for serial in (s.new,) if retired else (s.new, s.old):
        for verifier in s.behind_our_back(serial):
            return hold(Reason.AUTHORITY_CHANGED, f"{verifier} refuses v{serial} now", verifier=verifier)
    if retired and s.rotation.soak is not None:
        for verifier in s.verifiers(s.old, Acceptance.ACCEPTED):
            if verifier in s.rotation.up:
                return hold(Reason.AUTHORITY_CHANGED, f"{verifier} accepts v{s.old} again", verifier=verifier)
    return None


WATCHED = frozenset({Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE})
BEFORE_DESTROY = WATCHED | {Phase.INTRODUCE}
EVERY = frozenset(phase for phase in Phase if not phase.is_end)
STOPPABLE = EVERY - {Phase.ROLLBACK}
"""A rollback runs to its end under a pause or a hold (MACHINE.md, trace 6)."""

CHAIN: tuple[tuple[Guard, frozenset[Phase]], ...] = (
    (operator_rollback, BEFORE_DESTROY),
    (new_version_fails, WATCHED),
    (refused_use, frozenset({Phase.RETIRE})),
    (halted, EVERY),
    (latched, STOPPABLE),
    (paused, STOPPABLE),
    (too_many_retreats, frozenset({Phase.MONITOR})),
    (obstacle, frozenset({Phase.INTRODUCE})),
    (anothers_hand, BEFORE_DESTROY),
    (way_back_lost, WATCHED),
    (authority_changed, WATCHED | {Phase.DESTROY}),
)
