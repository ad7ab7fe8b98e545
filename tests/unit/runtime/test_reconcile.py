"""What became of a call that nobody wrote down, by what is seen: done, not done, or unknown."""

from __future__ import annotations

import pytest

from keyturn.domain.effects import Effect, EffectKind
from keyturn.domain.observations import Entry, Observations, Serving, ServingKind, TargetSeen, VerifierSeen
from keyturn.runtime.reconcile import LOOKS

OURS = Serving(kind=ServingKind.OURS, serial=2, id="8")
AWAY = TargetSeen(serving=Serving(kind=ServingKind.UNKNOWN), copies=None)


def seen(target: TargetSeen = AWAY, **entries: Entry) -> Observations:
    """A target t0, and verifiers with what they list for v2."""
    verifiers = {name: VerifierSeen(acceptance={}, entries={2: entry}) for name, entry in entries.items()}
    return Observations(targets={"t0": target}, verifiers=verifiers)


def at_target(kind: EffectKind, expected: str | None = None, target: str = "t0") -> Effect:
    return Effect(id="e", kind=kind, serial=2, target=target, expected=expected)


HOLDS = TargetSeen(serving=OURS, copies=frozenset({1, 2}), marked=frozenset({2}))
LACKS = TargetSeen(serving=Serving(kind=ServingKind.OURS, serial=1, id="7"), copies=frozenset({1}))
COPYING = (EffectKind.KEEP, EffectKind.MINT, EffectKind.STAGE, EffectKind.MARK)


@pytest.mark.parametrize("kind", COPYING)
def test_what_puts_something_at_a_target_is_seen_there(kind: EffectKind) -> None:
    """A copy or a mark that is there was put there, one that is not was not; of a target that is away nothing is known."""
    assert LOOKS[kind](at_target(kind), seen(HOLDS)) is True
    assert LOOKS[kind](at_target(kind), seen(LACKS)) is False
    assert LOOKS[kind](at_target(kind), seen(AWAY)) is None
    assert LOOKS[kind](at_target(kind, target="gone"), seen(HOLDS)) is None


def test_removal_is_seen_by_what_is_not_there() -> None:
    """A copy that is gone was removed; of a target that is away nothing is known."""
    remove = at_target(EffectKind.REMOVE)
    assert [LOOKS[remove.kind](remove, seen(target)) for target in (LACKS, HOLDS, AWAY)] == [True, False, None]


def test_promote_is_seen_by_the_version_under_another_id() -> None:
    """Readers get the version, and not under the id that the promote was to replace: where they had it before, only a new
    id tells that the compare-and-swap was spent."""
    promote = LOOKS[EffectKind.PROMOTE]
    assert promote(at_target(EffectKind.PROMOTE, "7"), seen(HOLDS)) is True
    assert promote(at_target(EffectKind.PROMOTE, "8"), seen(HOLDS)) is False
    assert promote(at_target(EffectKind.PROMOTE, "7"), seen(LACKS)) is False
    assert promote(at_target(EffectKind.PROMOTE, "7"), seen(AWAY)) is None


@pytest.mark.parametrize(
    ("kind", "done", "undone"),
    [
        (EffectKind.INSTALL, {Entry.ACTIVE}, {Entry.ABSENT, Entry.DISABLED, Entry.REVOKED}),
        (EffectKind.ENABLE, {Entry.ACTIVE}, {Entry.ABSENT, Entry.DISABLED, Entry.REVOKED}),
        (EffectKind.DISABLE, {Entry.DISABLED, Entry.REVOKED}, {Entry.ACTIVE, Entry.ABSENT}),
        (EffectKind.REVOKE, {Entry.REVOKED}, {Entry.ACTIVE, Entry.ABSENT, Entry.DISABLED}),
    ],
)
def test_what_is_done_at_verifiers_is_seen_in_every_listing(
    kind: EffectKind, done: set[Entry], undone: set[Entry]
) -> None:
    """All of the verifiers that it was for must list the key so; one that cannot be asked leaves it unknown, and one that
    has left has nothing to say."""
    effect = Effect(id="e", kind=kind, serial=2, verifiers=("one", "two"))
    good = min(done)
    for entry in done:
        assert LOOKS[kind](effect, seen(one=good, two=entry, three=Entry.UNKNOWN)) is True
    for entry in undone:
        assert LOOKS[kind](effect, seen(one=good, two=entry)) is False
    assert LOOKS[kind](effect, seen(one=good, two=Entry.UNKNOWN)) is None
    assert LOOKS[kind](effect, seen(one=good)) is True
    assert LOOKS[kind](effect, seen(three=good)) is None


def test_proof_that_nobody_wrote_down_is_none() -> None:
    """A death is proven again."""
    prove = Effect(id="e", kind=EffectKind.PROVE_DEAD, serial=2, verifiers=("one",))
    assert LOOKS[prove.kind](prove, seen(one=Entry.REVOKED)) is False


def test_every_kind_of_call_can_be_looked_for() -> None:
    """None is forgotten."""
    assert set(LOOKS) == set(EffectKind)
