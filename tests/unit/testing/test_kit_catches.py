"""The kit can fail: each deliberate fault in an implementation is caught by the clause that is about it."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest

from keyturn.domain.errors import Conflict, Failure
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import TargetView
from keyturn.ports.issuer import Issued, Issuer, Minted, ValueOrigin
from keyturn.testing.backend import BackendConformance, TargetHarness, Trouble
from keyturn.testing.fakes import FakeAuthority, FakeIssuer, FakeTarget, KvPlace, Place
from keyturn.testing.fakes.faults import Faults
from keyturn.testing.issuer import IssuerConformance, IssuerHarness

CAUGHT = (AssertionError, Failure, pytest.fail.Exception)


class OneTarget(TargetHarness):
    """Targets of a given class over one place."""

    def __init__(self, kind: type["Sound"]) -> None:
        self.kind = kind
        self.place = KvPlace()

    def target(self) -> "Sound":
        return self.kind(self.place)

    def readers_get(self) -> str | None:
        return self.place.readers_get()

    def overwrite(self, value: str) -> None:
        self.place.overwrite(value)

    def in_trouble(self, trouble: Trouble) -> "Sound":
        raise NotImplementedError

    def stored(self) -> set[str]:
        return self.place.stored()


class Sound(FakeTarget):
    """A target without a fault, to be spoiled."""

    def __init__(self, place: Place) -> None:

        super().__init__(place, Faults(), threading.RLock())
        self.place = place


class SwapsBlindly(Sound):
    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        return super().promote(copy, expected=self.view().serving, token=token)


class StagesInSight(Sound):
    def stage(self, token: str, value: SecretValue) -> None:
        super().stage(token, value)
        self.place.overwrite(value.reveal())


class OverwritesUsedTokens(Sound):
    def stage(self, token: str, value: SecretValue) -> None:
        super().remove(token)
        super().stage(token, value)


class KeepsWhateverIsThere(Sound):
    def keep(self, token: str, *, serving: str) -> None:
        super().keep(token, serving=self.view().serving or serving)


class CannotRepeat(Sound):
    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        if self.view().serving != expected:
            raise Conflict("somebody was here before")
        return super().promote(copy, expected=expected, token=token)


class ForgetsAtRestart(Sound):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.staged: set[str] = set()

    def stage(self, token: str, value: SecretValue) -> None:
        super().stage(token, value)
        self.staged.add(token)

    def view(self) -> TargetView:
        view = super().view()
        return TargetView(serving=view.serving, copies=view.copies & self.staged)


class LeavesHistory(Sound):
    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        super().remove(token)


class TakesFromReaders(Sound):
    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        if self.view().serving in served:
            self.place._versions.clear()  # type: ignore[attr-defined]
        super().remove(token, served=served)


class CallsItDestroyed(Sound):
    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        super().remove(token, served=[one for one in served if one != self.view().serving])


class KeepsOneMark(Sound):
    def mark(self, key_id: str) -> None:
        self.place.marked = frozenset({key_id})


class MarksInMemory(Sound):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.marks: set[str] = set()

    def mark(self, key_id: str) -> None:
        self.marks.add(key_id)

    def view(self) -> TargetView:
        return replace(super().view(), marked=frozenset(self.marks))


class MarksOnce(Sound):
    def mark(self, key_id: str) -> None:
        if key_id in self.place.marked:
            raise Conflict(f"{key_id} is marked already")
        super().mark(key_id)


class MarksTheVersion(Sound):
    """As a label on a version would be: gone with it."""

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        promoted = super().promote(copy, expected=expected, token=token)
        self.place.marked = frozenset()
        return promoted


class ForgivesAtTheEnd(Sound):
    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        super().remove(token, served=served)
        self.place.marked = frozenset()


class MarksInTheDocument(Sound):
    def mark(self, key_id: str) -> None:
        super().mark(key_id)
        self.place.overwrite(self.read()[1].reveal())


class Tells(Sound):
    def stage(self, token: str, value: SecretValue) -> None:
        try:
            super().stage(token, value)
        except Conflict:
            raise Conflict(f"{token} does not hold {value.reveal()}") from None


class Kit(BackendConformance):
    """The suite, called by hand."""

    erases_history = True


KIT = Kit()


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        (SwapsBlindly, KIT.test_promote_is_compare_and_swap),
        (SwapsBlindly, KIT.test_late_promote_after_a_rollback_changes_nothing),
        (SwapsBlindly, KIT.test_of_two_promotes_at_once_one_wins),
        (StagesInSight, KIT.test_staging_is_invisible_to_readers),
        (StagesInSight, KIT.test_staging_at_an_empty_target_is_invisible),
        (OverwritesUsedTokens, KIT.test_used_token_keeps_its_value),
        (KeepsWhateverIsThere, KIT.test_keep_only_what_the_caller_believes),
        (CannotRepeat, KIT.test_promote_is_idempotent_by_token),
        (ForgetsAtRestart, KIT.test_view_sees_our_own_last_write),
        (LeavesHistory, KIT.test_remove_with_ids_that_were_served),
        (CallsItDestroyed, KIT.test_remove_never_touches_what_readers_get),
        (TakesFromReaders, KIT.test_remove_never_touches_what_readers_get),
        (KeepsOneMark, KIT.test_marks_stand_side_by_side),
        (KeepsOneMark, KIT.test_marks_made_at_once_are_all_there),
        (MarksInMemory, KIT.test_mark_is_seen_and_changes_nothing_for_readers),
        (MarksOnce, KIT.test_mark_is_idempotent),
        (MarksTheVersion, KIT.test_marks_outlive_what_happens_to_versions),
        (ForgivesAtTheEnd, KIT.test_marks_outlive_what_happens_to_versions),
        (MarksInTheDocument, KIT.test_mark_is_seen_and_changes_nothing_for_readers),
    ],
)
def test_faulty_target_is_caught(kind: type[Sound], clause: Callable[[TargetHarness, Sound], None]) -> None:
    """The clause passes for a sound target, and not for one with this fault."""
    sound, faulty = OneTarget(Sound), OneTarget(kind)
    clause(sound, sound.target())
    with pytest.raises(CAUGHT):
        clause(faulty, faulty.target())


def test_telling_target_is_caught() -> None:
    """A value in an error is a leak."""
    KIT.test_values_show_nowhere(OneTarget(Sound))
    with pytest.raises(AssertionError):
        KIT.test_values_show_nowhere(OneTarget(Tells))


class OneAuthority(IssuerHarness):
    """Issuers of a given class at one authority."""

    def __init__(self, kind: type[FakeIssuer], origin: ValueOrigin = ValueOrigin.KEYTURN) -> None:
        self.kind = kind
        self.authority = FakeAuthority(capacity=3, origin=origin)

    def issuer(self) -> Issuer:
        return self.kind(self.authority)

    def accepts(self, verifier: str, value: str) -> bool:
        return self.authority.nodes[verifier].accepts(value)


class Revives(FakeIssuer):
    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        for verifier in verifiers:
            self._authority.nodes[verifier].put(key_id, Entry.ACTIVE, value)


class DeletesWhenDisabling(FakeIssuer):
    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        for verifier in verifiers:
            self._authority.nodes[verifier].lose(key_id)


class BelievesItself(FakeIssuer):
    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        entry = self.entries(verifier).get(key_id)
        said = {Entry.ACTIVE: Acceptance.ACCEPTED, Entry.DISABLED: Acceptance.DISABLED}
        return said.get(entry, Acceptance.REFUSED) if entry else Acceptance.REFUSED


class CountsTheRevoked(FakeIssuer):
    def room(self) -> int | None:
        return (self._authority.capacity or 0) - len(self.entries("one"))


class ThrowsOneOut(FakeIssuer):
    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        if self.room() == 0:
            for node in self._authority.nodes.values():
                node.lose(next(iter(node.entries())))
        super().install(key_id, value, verifiers)


class ForgetsWhoAsked(FakeIssuer):
    def issued(self) -> Sequence[Issued]:
        return [replace(one, token=None) for one in super().issued()]


class HidesTheDisabled(FakeIssuer):
    def issued(self) -> Sequence[Issued]:
        tables = [node.entries() for node in self._authority.nodes.values()]
        return [one for one in super().issued() if all(table[one.key_id] is Entry.ACTIVE for table in tables)]


class GivesTheSameAgain(FakeIssuer):
    def mint(self, token: str) -> Minted:
        for one in self.issued():
            if one.token == token:
                return Minted(key_id=one.key_id, value=SecretValue(f"fake_{one.key_id}_"))
        return super().mint(token)


ISSUERS = IssuerConformance()


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        (Revives, ISSUERS.test_nothing_revives_a_revoked_key),
        (Revives, ISSUERS.test_install_does_not_enable),
        (DeletesWhenDisabling, ISSUERS.test_disabled_key_is_refused_by_name),
        (BelievesItself, ISSUERS.test_another_value_under_an_accepted_key_id_is_refused),
        (CountsTheRevoked, ISSUERS.test_room_is_taken_by_keys_and_given_back),
        (ThrowsOneOut, ISSUERS.test_full_authority_refuses_another_key),
    ],
)
def test_faulty_issuer_is_caught(kind: type[FakeIssuer], clause: Callable[[IssuerHarness, Issuer], None]) -> None:
    """The clause passes for a sound issuer, and not for one with this fault."""
    sound, faulty = OneAuthority(FakeIssuer), OneAuthority(kind)
    clause(sound, sound.issuer())
    with pytest.raises(CAUGHT):
        clause(faulty, faulty.issuer())


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        (ForgetsWhoAsked, ISSUERS.test_minted_key_is_listed_under_its_token),
        (HidesTheDisabled, ISSUERS.test_revoked_key_is_not_issued_any_more),
    ],
)
def test_faulty_issuer_of_the_authority_s_own_values_is_caught(
    kind: type[FakeIssuer], clause: Callable[[IssuerHarness, Issuer], None]
) -> None:
    """The same where the authority makes the values: an orphan must be found again, and told from a stranger's key."""
    sound, faulty = OneAuthority(FakeIssuer, ValueOrigin.AUTHORITY), OneAuthority(kind, ValueOrigin.AUTHORITY)
    clause(sound, sound.issuer())
    with pytest.raises(CAUGHT):
        clause(faulty, faulty.issuer())


def test_issuer_that_gives_a_key_twice_is_caught() -> None:
    """A second mint that gives the first key, whose value it cannot have any more, is no mint."""
    sound, faulty = (
        OneAuthority(FakeIssuer, ValueOrigin.AUTHORITY),
        OneAuthority(GivesTheSameAgain, ValueOrigin.AUTHORITY),
    )
    ISSUERS.test_second_mint_under_a_token_makes_a_second_key(sound.issuer())
    with pytest.raises(CAUGHT):
        ISSUERS.test_second_mint_under_a_token_makes_a_second_key(faulty.issuer())
