"""Why a rotation does what it does: a closed set, each with what it means to an operator (promise P9).

`docs/reasons.md` is held to this table by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """Machine-readable reason of a verdict."""

    # what moves a rotation on
    STARTED = "started"
    ACCEPTED_EVERYWHERE = "accepted_everywhere"
    OVERLAP_PASSED = "overlap_passed"
    OLD_SILENT = "old_silent"
    FORCED = "forced"
    SOAKED = "soaked"
    PROVEN_DEAD = "proven_dead"
    RESTORED = "restored"
    # what undoes
    OPERATOR_ROLLBACK = "operator_rollback"
    NEW_VERSION_FAILS = "new_version_fails"
    NEW_VERSION_REFUSED = "new_version_refused"
    NEW_VALUE_LOST = "new_value_lost"
    REFUSED_USE = "refused_use"
    COMPROMISED = "compromised"
    ABANDONED = "abandoned"
    FOREIGN_ACCEPTED = "foreign_accepted"
    # what waits
    EFFECTS_OUTSTANDING = "effects_outstanding"
    EFFECT_RETRYING = "effect_retrying"
    NOT_ACCEPTED_YET = "not_accepted_yet"
    BAKING = "baking"
    MINIMUM_OVERLAP = "minimum_overlap"
    WATERMARK_BEHIND = "watermark_behind"
    CLIENTS_NOT_MOVED = "clients_not_moved"
    OLD_IN_USE = "old_in_use"
    CLIENTS_UNSEEN = "clients_unseen"
    SILENCE_UNKNOWN = "silence_unknown"
    SOAKING = "soaking"
    DRAINING = "draining"
    TARGET_UNKNOWN = "target_unknown"
    SURVIVOR_NOT_SERVED = "survivor_not_served"
    VERIFIER_UNREACHABLE = "verifier_unreachable"
    GRACE = "grace"
    NO_ROOM = "no_room"
    AT_REST = "at_rest"
    # what holds and pages
    PAUSED = "paused"
    PAUSE_EXPIRED = "pause_expired"
    AUTHORITY_ILL = "authority_ill"
    FAILURES_SPREAD = "failures_spread"
    AUTHORITY_CHANGED = "authority_changed"
    TARGET_FOREIGN = "target_foreign"
    TARGET_MISSING = "target_missing"
    ROLLBACK_VALUE_LOST = "rollback_value_lost"
    OBSTACLE = "obstacle"
    ORPHAN = "orphan"
    DEADLINE = "deadline"
    DEADLINE_EXTENDED = "deadline_extended"
    TOO_MANY_RETREATS = "too_many_retreats"
    TOO_MANY_REMINTS = "too_many_remints"
    UNPROVEN = "unproven"
    QUARANTINED = "quarantined"
    EFFECT_FAILED = "effect_failed"


MEANING: Mapping[Reason, str] = {
    Reason.STARTED: "The rotation has begun: a schedule or an operator asked for it.",
    Reason.ACCEPTED_EVERYWHERE: "Every verifier accepts the new version, and nothing that serves older rules is left.",
    Reason.OVERLAP_PASSED: "Every wave is promoted and has baked, and the minimum overlap has passed under watch.",
    Reason.OLD_SILENT: "Every client has moved, and the old version is known silent for long enough.",
    Reason.FORCED: "A named person, or a deadline in its owner's name, has put their word in the place of silence.",
    Reason.SOAKED: "The old version was disabled for the whole soak, and no refused use of it is known.",
    Reason.PROVEN_DEAD: "Every verifier refuses the old version, and no copy of it is left.",
    Reason.RESTORED: "Readers get the old version again, and the new one is gone.",
    Reason.OPERATOR_ROLLBACK: "An operator asked for the old version back.",
    Reason.NEW_VERSION_FAILS: "Clients fail with the new version while the old one is healthy.",
    Reason.NEW_VERSION_REFUSED: "Clients fail, and our own probes find a verifier that refuses the new version.",
    Reason.NEW_VALUE_LOST: "Nobody can be given the new version any more: its value is lost, or a verifier has revoked it.",
    Reason.REFUSED_USE: "Somebody who really holds the disabled version tried to use it and was refused.",
    Reason.COMPROMISED: "A version that readers were to get was reported compromised: it never comes back.",
    Reason.ABANDONED: "An operator gave this rotation up; another takes over every version of it by name.",
    Reason.FOREIGN_ACCEPTED: "An operator accepted a value that someone put there by hand; another rotation adopts it.",
    Reason.EFFECTS_OUTSTANDING: "Calls of this phase are being made.",
    Reason.EFFECT_RETRYING: "A call failed and is tried again later.",
    Reason.NOT_ACCEPTED_YET: "A verifier does not accept the version yet, or may still serve older rules.",
    Reason.BAKING: "The last wave is being watched before the next.",
    Reason.MINIMUM_OVERLAP: "Both versions stay accepted until the slowest client has fetched and its pool has turned over.",
    Reason.WATERMARK_BEHIND: "The usage sources have not yet reported the time that must be judged.",
    Reason.CLIENTS_NOT_MOVED: "Named clients have not succeeded with the new version.",
    Reason.OLD_IN_USE: "Named clients used the old version too recently.",
    Reason.CLIENTS_UNSEEN: "The history is too thin: the old version may have users that were never seen.",
    Reason.SILENCE_UNKNOWN: "No usage source covers the time needed, so silence cannot be known.",
    Reason.SOAKING: "The old version is disabled and watched for refused use before it is destroyed.",
    Reason.DRAINING: "The withdrawn version stays accepted until its users are back.",
    Reason.TARGET_UNKNOWN: "A target cannot be read, so what its readers get is not known.",
    Reason.SURVIVOR_NOT_SERVED: "Nothing is taken away while a target still gives it to readers.",
    Reason.VERIFIER_UNREACHABLE: "A verifier cannot be asked, so what it accepts is not known.",
    Reason.GRACE: "A compromised version is disabled when its grace is over; until then its users can fetch the new one.",
    Reason.NO_ROOM: "The authority takes no further key until another one is gone.",
    Reason.AT_REST: "Nothing is under way, and everything is as the last rotation left it.",
    Reason.PAUSED: "An operator has paused the rotation.",
    Reason.PAUSE_EXPIRED: "A pause has run out and nobody has resumed: it pages like a hold.",
    Reason.AUTHORITY_ILL: "Old and new version fail alike: the authority has trouble, not the new version.",
    Reason.FAILURES_SPREAD: "Failures are spread over many clients while every verifier accepts both versions.",
    Reason.AUTHORITY_CHANGED: "A verifier that agreed before no longer does: someone changed it behind our back.",
    Reason.TARGET_FOREIGN: "Readers of a target get a value that is not ours: someone changed the secret by hand.",
    Reason.TARGET_MISSING: "Readers of a target get nothing any more.",
    Reason.ROLLBACK_VALUE_LOST: "A target no longer holds a readable copy of the old value: there would be no way back.",
    Reason.OBSTACLE: "Something of another's is in the way: a pending value, native rotation, a key we do not know.",
    Reason.ORPHAN: "A late mint of ours has left a key whose secret nobody has: the next rotation revokes it.",
    Reason.DEADLINE: "The phase has taken longer than its deadline.",
    Reason.DEADLINE_EXTENDED: "The phase has passed its deadline, and its policy waits once more.",
    Reason.TOO_MANY_RETREATS: "The old version was disabled and needed again too often.",
    Reason.TOO_MANY_REMINTS: "New versions failed too often while nothing could be restored; a person must look.",
    Reason.UNPROVEN: "The value of a revoked version cannot be read back, so its death cannot be tried; an operator signs.",
    Reason.QUARANTINED: "A call was refused for good; it is not tried again until a person mends the cause and resumes.",
    Reason.EFFECT_FAILED: "A call was refused for good, and nothing better is left to do; a person must mend the cause.",
}
