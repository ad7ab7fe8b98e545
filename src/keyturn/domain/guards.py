"""Guards: what undoes or stops a rotation before its rows are even looked at. The first that rules wins.

The order of `CHAIN` is policy: what undoes comes before what waits (marks > failures > retreat > hold > pause), and what
pages before what stands in silence. Another's hand is named before the failures that it may be the cause of.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.domain.effects import EffectKind
from keyturn.domain.evidence import Finding, confined
from keyturn.domain.observations import AUTHORITY, Acceptance, Entry, ServingKind
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason
from keyturn.domain.rows import REFUSING, anothers
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Evidence, Ruling, Verdict, hold

Guard = Callable[[Situation], "Verdict | None"]


def marked(s: Situation) -> Verdict | None:
    """The version that is to survive was reported compromised: readers get the old one again, or, where that is none or
    marked too, another rotation takes over (promise P8)."""
    if not s.marked(s.survivor):
        return None
    back, mark = s.rotation.restoring is None, s.rotation.marks[s.survivor]
    detail = f"v{s.survivor} is compromised, reported by {mark.by}: {mark.why}"
    return Verdict(ruling=Ruling.ROLL_BACK if back else Ruling.SUPERSEDE, reason=Reason.COMPROMISED, detail=detail)


def given_up(s: Situation) -> Verdict | None:
    """An operator gave the rotation up, or accepted another's value: another rotation takes over."""
    if s.rotation.accepted is not None:
        detail = f"{s.rotation.accepted.target} serves {s.rotation.accepted.id}, which is adopted"
        return Verdict(ruling=Ruling.SUPERSEDE, reason=Reason.FOREIGN_ACCEPTED, detail=detail)
    if s.rotation.abandoned is not None:
        return Verdict(ruling=Ruling.SUPERSEDE, reason=Reason.ABANDONED, detail=s.rotation.abandoned)
    return None


def operator_rollback(s: Situation) -> Verdict | None:
    """An operator asked for the old version back, while there still is one."""
    if s.rotation.rollback_asked is None:
        return None
    return Verdict(ruling=Ruling.ROLL_BACK, reason=Reason.OPERATOR_ROLLBACK, detail=s.rotation.rollback_asked)


def new_value_lost(s: Situation) -> Verdict | None:
    """No target serves or keeps the new version's value; or a verifier has revoked it before it was given to anybody, and
    what is revoked never is accepted again: it can be given to nobody any more."""
    if not s.minted(s.new):
        return None
    revoked = [v for v in sorted(s.seen.verifiers) if s.entry(v, s.new) is Entry.REVOKED]
    if s.readable(s.new) is False:
        detail = f"no target holds the value of v{s.new}"
    elif revoked and (s.phase_is(Phase.INTRODUCE) or s.new not in s.rotation.served):
        detail = f"{', '.join(revoked)} has revoked v{s.new}"
    else:
        return None
    return Verdict(ruling=Ruling.ROLL_BACK, reason=Reason.NEW_VALUE_LOST, detail=detail)


def new_version_fails(s: Situation) -> Verdict | None:
    """Failures attributed to the new version: readers get the old one again."""
    verdict = _found(s)
    return verdict if verdict is not None and verdict.ruling is Ruling.ROLL_BACK else None


def in_doubt(s: Situation) -> Verdict | None:
    """Failures that may be the authority's, or anybody's: nothing goes on while they last."""
    verdict = _found(s)
    return verdict if verdict is not None and verdict.ruling is Ruling.HOLD else None


def _found(s: Situation) -> Verdict | None:
    """What the detector's word means. Our own probes of both versions speak first: a verifier that refuses the new where
    it accepts the old is no illness of the authority, and one that accepts neither is no fault of the new. Then the
    detector's word, where the old version's traffic gave it a control; where none did, what the probes leave of DESIGN
    §6's table."""
    finding = s.seen.usage.finding
    if finding is None:
        return None
    blame, evidence = _blame(s, finding), _evidence(s, finding)

    def ruled(ruling: Ruling, reason: Reason, detail: str) -> Verdict:
        return Verdict(ruling=ruling, reason=reason, detail=detail, evidence=evidence)

    retired = s.old in s.rotation.disabled_at
    for verifier in s.verifiers(s.new, *REFUSING):
        if retired or s.acceptance(verifier, s.old) is Acceptance.ACCEPTED:
            beside = "" if retired else f" and accepts v{s.old}"
            return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_REFUSED, f"{blame}; {verifier} refuses v{s.new}{beside}")
    if finding.verdict == "authority_ill" or (not retired and _both_fail(s)):
        return ruled(Ruling.HOLD, Reason.AUTHORITY_ILL, f"v{s.old} and v{s.new} fail alike")
    if finding.control:
        return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS, f"{blame}, {_beside(s, finding)}")
    if s.verifiers(s.new, *REFUSING, Acceptance.UNREACHABLE) or not s.seen.verifiers:
        return ruled(Ruling.HOLD, Reason.AUTHORITY_ILL, "our own probes of both versions fail")
    if confined([culprit.share for culprit in finding.culprits], len(s.seen.usage.clients)):
        return ruled(Ruling.ROLL_BACK, Reason.NEW_VERSION_FAILS, f"{blame}, {_beside(s, finding)}")
    return ruled(Ruling.HOLD, Reason.FAILURES_SPREAD, f"{blame}, {_beside(s, finding)}")


def _both_fail(s: Situation) -> bool:
    """Whether a verifier was seen to accept neither version: going back to the old one would help nobody there."""
    neither = (*REFUSING, Acceptance.UNSETTLED)
    return any(s.acceptance(verifier, s.old) in neither for verifier in s.verifiers(s.new, *neither))


def _blame(s: Situation, finding: Finding) -> str:
    if not finding.culprits:
        return f"v{s.new} fails"
    worst = finding.culprits[0]
    if not worst.failures + worst.successes:
        return f"client {worst.client} failed on v{s.new}, and has not presented it since"
    return f"client {worst.client} fails {worst.failures} of {worst.failures + worst.successes} on v{s.new}"


def _beside(s: Situation, finding: Finding) -> str:
    """What the old version did meanwhile."""
    if s.old in s.rotation.disabled_at:
        return f"v{s.old} is disabled"
    uses = finding.old_successes + finding.old_failures
    if not uses:
        return f"nobody presents v{s.old}"
    return f"v{s.old} is {'healthy' if finding.control else 'hardly used'} with {finding.old_failures} of {uses} failed"


def _evidence(s: Situation, finding: Finding) -> Evidence:
    probes = [
        f"{verifier}: v{s.old} {s.acceptance(verifier, s.old)}, v{s.new} {s.acceptance(verifier, s.new)}"
        for verifier in sorted(s.seen.verifiers)
    ]
    culprits = [f"{c.client} {c.failures}/{c.failures + c.successes}" for c in finding.culprits]
    return {
        "e_value": finding.e_value,
        "control": finding.control,
        "culprits": culprits,
        "baseline_rate": finding.baseline_rate,
        "old_successes": finding.old_successes,
        "old_failures": finding.old_failures,
        "new_successes": finding.new_successes,
        "new_failures": finding.new_failures,
        "probes": probes,
    }


def refused_use(s: Situation) -> Verdict | None:
    """A real holder of a disabled version was refused: it is still needed. Nobody's need brings back a version that is
    compromised or was disabled for good."""
    for serial in s.rotation.outgoing:
        users = s.refused_users(serial) if s.kept(serial) else ()
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
    stands = s.rotation.halted
    if stands is None:
        return None
    return Verdict(ruling=Ruling.HALT, reason=stands.reason, detail=stands.detail, evidence=stands.evidence)


def latched(s: Situation) -> Verdict | None:
    """A latched hold stays until an operator ends it."""
    standing = s.rotation.hold
    if standing is None or not standing.latched:
        return None
    return Verdict(
        ruling=Ruling.HOLD,
        reason=standing.reason,
        detail=standing.detail,
        evidence=standing.evidence,
        latch=True,
    )


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
    places = [(name, seen.obstacles) for name in s.rotation.targets if (seen := s.seen.targets.get(name)) is not None]
    # What is adopted is made already: nothing is minted beside a key that nobody knows, and it may be the very one.
    strangers = s.seen.strangers if s.rotation.adopting is None else ()
    for name, obstacles in (*places, (AUTHORITY, strangers)):
        for found in obstacles:
            if found.id in s.rotation.passed:
                continue
            age = f", {s.now - found.since} old" if found.since is not None else ""
            return hold(Reason.OBSTACLE, f"{name}: {found.what} {found.id}{age}", target=name, id=found.id)
    return None


def anothers_hand(s: Situation) -> Verdict | None:
    """Readers of a target get something that this rotation does not explain. In an emergency that holds up only what is
    to be done at that target, which its rows say."""
    for name in s.rotation.targets if not s.hurried else ():
        serving = s.serving(name)
        if serving.kind is ServingKind.OURS and serving.serial in s.explained(name):
            continue
        # Between rotations no row gives readers anything, and a late promote of ours lands nowhere: it is another's hand.
        if s.rotation.live and (s.to_reassert(name) or _to_be_adopted(s, name) or s.came_late(name)):
            continue
        if (found := anothers(s, name, latch=not s.rotation.phase.is_end)) is not None:
            return found
        if serving.kind is ServingKind.OURS:
            detail = f"{name} serves v{serving.serial}, which this phase did not put there"
            return hold(Reason.TARGET_FOREIGN, detail, latch=True, target=name, found=serving.id or "")
    return None


def _to_be_adopted(s: Situation, target: str) -> bool:
    adopting = s.rotation.adopting
    return adopting is not None and (adopting.target, adopting.id) == (target, s.serving(target).id)


def way_back_lost(s: Situation) -> Verdict | None:
    """Before the point of no return every target holds a readable copy of the old version (promise P3)."""
    seen = {t: copies for t in s.rotation.targets if (copies := s.copies(t)) is not None}
    lost = [t for t, copies in seen.items() if s.old not in copies or s.old in s.seen.lost]
    if not lost or not s.givable(s.old) or s.old in s.rotation.waived:
        return None
    return hold(Reason.ROLLBACK_VALUE_LOST, f"{', '.join(lost)} holds no copy of v{s.old}", targets=lost, serial=s.old)


def authority_changed(s: Situation) -> Verdict | None:
    """A verifier that met the post-conditions no longer does, and it was never away: reported, not silently mended."""
    parallel = s.phase_is(Phase.OVERLAP, Phase.MONITOR)
    kept = [s.survivor, *(v for v in s.rotation.outgoing if parallel and s.kept(v))]
    found = [
        (verifier, f"{verifier} refuses v{serial} now") for serial in kept for verifier in s.behind_our_back(serial)
    ]
    for serial in s.doomed if not parallel and s.rotation.soak is not None else ():
        again = s.sent(EffectKind.ENABLE, serial) or s.sent(EffectKind.INSTALL, serial) or s.marked(serial)
        accepting = s.verifiers(serial, Acceptance.ACCEPTED) if not again else ()
        found += [(v, f"{v} accepts v{serial} again") for v in accepting if v in s.rotation.up]
    if not found:
        return None
    # All of it in one word: who mends what it names must not have to wait for the next.
    verifiers = list(dict.fromkeys(verifier for verifier, _ in found))
    return hold(Reason.AUTHORITY_CHANGED, "; ".join(said for _, said in found), verifiers=verifiers)


WATCHED = frozenset({Phase.OVERLAP, Phase.MONITOR, Phase.RETIRE})
BEFORE_DESTROY = WATCHED | {Phase.INTRODUCE}
LIVE = frozenset(phase for phase in Phase if not phase.is_end)
STOPPABLE = LIVE - {Phase.ROLLBACK}
"""A rollback runs to its end under a pause or a hold (MACHINE.md, trace 6)."""
RESTING = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK})
"""Ends after which it is still watched that everything stays as it was left."""

CHAIN: tuple[tuple[Guard, frozenset[Phase]], ...] = (
    (marked, LIVE),
    (given_up, LIVE),
    (operator_rollback, BEFORE_DESTROY),
    (new_value_lost, BEFORE_DESTROY),
    (new_version_fails, WATCHED),
    (refused_use, frozenset({Phase.RETIRE})),
    (halted, LIVE),
    (latched, STOPPABLE),
    (too_many_retreats, frozenset({Phase.MONITOR})),
    (anothers_hand, STOPPABLE | RESTING),
    (in_doubt, WATCHED),
    (obstacle, frozenset({Phase.INTRODUCE})),
    (way_back_lost, WATCHED),
    (authority_changed, WATCHED | RESTING | {Phase.DESTROY}),
    (paused, STOPPABLE),
)
