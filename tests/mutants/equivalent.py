"""Mutants that do what the machine does, each with the reason why."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

BOTH_WAIT = "both only wait; which of them is named first is all that changes"
APART = "the two do not depend on each other: both are done, in one order or the other, before the phase goes on"
TOGETHER = "every row is asked, whatever the others say, and what they bring goes out together"
BESIDE = "both wait where they are not done, and what accepts goes out by its standing row whatever waits"

EQUIVALENT: Mapping[str, str] = {
    "added edge *": "without the edge the ruling would raise KeyError, and neither explorer nor any scenario meets that",
    "guard refused_use before new_version_fails": "the retreat is followed by the rollback with the next decision, and "
    "between the two MONITOR's guard rules before any call",
    "guard latched before halted": "a halt ends the hold that was, and while it lasts none begins: there are never both",
    "guard too_many_retreats before latched": "a retreat ends the hold that was, and the count is told with the next look, "
    "before anything else can latch",
    "guard obstacle before in_doubt": "they are asked in different phases",
    "guard way_back_lost before obstacle": "they are asked in different phases",
    "guard authority_changed before way_back_lost": "both hold with the same rows standing, neither latches, and each is "
    "asked again when the other is over",
    "guard new_version_fails before new_value_lost": "both are failures and go back alike; only the reason told differs",
    "introduce: make_room before keep_old": APART,
    "overlap: accept_new before old_accepted": BESIDE,
    "monitor: accept_new before old_accepted": APART,
    "monitor: served_everywhere before accept_new": BESIDE,
    "retire: served_everywhere before accept_new": BESIDE,
    "destroy: served_everywhere before accept_new": BESIDE,
    "monitor: clients_moved before served_everywhere": BOTH_WAIT,
    "retire: old_silent before served_everywhere": BOTH_WAIT,
    "unknown in withdraw.clients_moved: s.seen.usage.watermark is all told": "what is awaited here `old_silent` awaits "
    "too, which waits for the same word; which of them is named first is all that changes",
    "unknown in situation._moved: self.seen.usage.watermark is all told": "asked only where `clients_moved` has seen a "
    "watermark",
    "destroy: mark_beside before prove_dead": APART,
    "rollback: mark_beside before prove_dead": APART,
    "completed: accept_survivor before bury_again": APART,
    "completed: remove_copies before revoke_doomed": APART,
    "rolled_back: accept_survivor before bury_again": APART,
    "rolled_back: remove_copies before revoke_doomed": APART,
    "standing *: * before *": TOGETHER,
    "always: * before *": TOGETHER,
}
"""By name, or pattern of names."""


def reason(name: str) -> str | None:
    """Why a mutant is no other machine, if it is none."""
    return next((why for pattern, why in EQUIVALENT.items() if fnmatchcase(name, pattern)), None)
