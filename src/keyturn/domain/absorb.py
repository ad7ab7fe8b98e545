"""Takes into the rotation what must be remembered of this tick's observations: first sightings, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from keyturn.domain.effects import EffectKind
from keyturn.domain.model import Rotation, Stamp
from keyturn.domain.observations import Acceptance, Observations
from keyturn.domain.phases import Phase
from keyturn.domain.situation import Situation
from keyturn.domain.steps import REFUSING, effect


def absorb(rotation: Rotation, seen: Observations, now: datetime) -> Rotation:
    """The rotation with what this tick saw for the first time."""
    s = Situation(rotation=rotation, seen=seen, now=now)
    return replace(
        _learn_mint(s),
        promoted=_promoted(s),
        up=_up(s),
        soak=_soak(s),
        proven=_proven(s),
    )


def _learn_mint(s: Situation) -> Rotation:
    rotation = s.rotation
    version = rotation.versions[s.new]
    if version.key_id is not None:
        return rotation
    # Of whichever entry: a mint whose outcome comes after a rollback or a resume has made the version all the same.
    done = next((one for one in s.seen.effects.values() if one.key_id is not None), None)
    if done is None:
        return rotation
    known = replace(version, key_id=done.key_id, fingerprint=done.fingerprint)
    return replace(rotation, versions={**rotation.versions, s.new: known})


def _promoted(s: Situation) -> dict[str, Stamp]:
    rotation = s.rotation
    promoted = dict(rotation.promoted)
    if rotation.phase not in (Phase.OVERLAP, Phase.ROLLBACK):
        return promoted
    for target in rotation.targets:
        if target in promoted or not s.serves(target, s.survivor):
            continue
        if rotation.phase is Phase.ROLLBACK:
            # Readers may get the old version here already; only our own promote spends what a late worker holds.
            done = s.seen.effects.get(effect(s, EffectKind.PROMOTE, s.survivor, target=target).id)
            if done is None or not done.succeeded:
                continue
        promoted[target] = rotation.stamp(s.now)
    return promoted


def _up(s: Situation) -> frozenset[str]:
    if s.phase_is(Phase.INTRODUCE, Phase.ROLLBACK):
        return frozenset()  # these two phases bring every verifier to where it should be, whoever changed it

    def meets(verifier: str) -> bool:
        if s.acceptance(verifier, s.new) is not Acceptance.ACCEPTED:
            return False
        old = s.acceptance(verifier, s.old)
        if s.phase_is(Phase.OVERLAP, Phase.MONITOR):
            return old is Acceptance.ACCEPTED
        return old not in (Acceptance.ACCEPTED, Acceptance.UNSETTLED)

    def away(verifier: str) -> bool:
        return s.acceptance(verifier, s.new) is Acceptance.UNREACHABLE

    there = [v for v in s.seen.verifiers if not away(v)]
    return frozenset(v for v in there if v in s.rotation.up or meets(v))


def _soak(s: Situation) -> Stamp | None:
    if s.rotation.soak is not None or not s.phase_is(Phase.RETIRE):
        return s.rotation.soak
    everyone = set(s.seen.verifiers)
    refused = all(
        serial in s.rotation.disabled_at and everyone == set(s.verifiers(serial, *REFUSING))
        for serial in s.rotation.outgoing
    )
    return s.rotation.stamp(s.now) if refused and everyone else None


def _proven(s: Situation) -> tuple[int, ...]:
    proven = list(s.rotation.proven)
    for serial in s.doomed:
        names = tuple(sorted(s.seen.verifiers))
        done = s.seen.effects.get(effect(s, EffectKind.PROVE_DEAD, serial, verifiers=names).id)
        if done is not None and done.succeeded and serial not in proven:
            proven.append(serial)
    return tuple(proven)
