"""Effects: the outside calls that a decision asks for. All are idempotent, and each has a deterministic id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EffectKind(StrEnum):
    """What is to be done."""

    KEEP = "keep"
    """Keep the outgoing version's value at a target, out of others' reach."""
    MINT = "mint"
    """Make the new version and stage it at a first target, in one go: between the two its value is in memory alone."""
    STAGE = "stage"
    """Keep the new version's value at a target, out of readers' sight."""
    INSTALL = "install"
    """Have verifiers accept a version."""
    PROMOTE = "promote"
    """Have a target's readers get a version."""
    ENABLE = "enable"
    """Have verifiers accept a version that was disabled."""
    DISABLE = "disable"
    """Have verifiers refuse a version, reversibly."""
    REVOKE = "revoke"
    """Have verifiers refuse a version for good."""
    PROVE_DEAD = "prove_dead"
    """Present a revoked version to every verifier and be refused."""
    REMOVE = "remove"
    """Remove a target's copy of a version."""
    MARK = "mark"
    """Write beside the secret, at a target, that a version is compromised."""


FEW = 6
"""So many tries in vain to cut off what is compromised, some two minutes, are a person's matter."""
MANY = 20
"""So many tries of one call in vain, a quarter of an hour with the runtime's backoff, are a person's matter too: it goes
on being tried, and pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One outside call, made whole by the executor from the rotation it belongs to."""

    id: str
    """`rotation/entry-phase/kind/vN[/target[/expected]]`: the idempotency token; a phase entered again makes new ones,
    and so do a promote that expects something else and the removal of another copy."""
    kind: EffectKind
    serial: int
    target: str | None = None
    expected: str | None = None
    """The backend's id of what readers get now. For a promote it is the other half of the compare-and-swap; a mint that
    has one makes nothing, but takes over the value that readers get under it. For a removal it is the token of the copy,
    where that is not the rotation's own."""
    verifiers: tuple[str, ...] = ()
    """For what is done at the authority: the verifiers that lack it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something people or clients are told, through the outbox; the id makes it once only."""

    id: str
    topic: str
    """`rotation.phase`, `rotation.held`, `client.refresh`, `client.remind`, …"""
    text: str
    details: tuple[tuple[str, str], ...] = ()
