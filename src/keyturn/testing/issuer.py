"""The conformance suite of `keyturn.ports.issuer.Issuer`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from keyturn.domain.errors import Absent, Conflict, Failure, Invalid
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.issuer import Issuer, ValueOrigin
from keyturn.testing.issuer_harness import HeldConnection, IssuerClauses, IssuerHarness, accepting, listed, mint
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded
from keyturn.testing.trouble import Trouble

__all__ = ["HeldConnection", "IssuerConformance", "IssuerHarness", "Trouble"]


FILLABLE = 8
"""Authorities with room for more keys than this are not filled to see what they say then."""


class IssuerConformance(IssuerClauses):
    """What every issuer promises. Override the fixture `harness`."""

    # Minting

    def test_minted_keys_are_unique(self, issuer: Issuer) -> None:
        """No two mints share an id or a value, and each id is the one that its value shows."""
        count = 50 if issuer.origin is ValueOrigin.KEYTURN else 2
        minted = [mint(issuer) for _ in range(count)]
        assert len({one.key_id for one in minted}) == count
        assert len({one.value.reveal() for one in minted}) == count
        assert [issuer.key_id(one.value) for one in minted] == [one.key_id for one in minted]

    def test_calls_are_bounded(self, issuer: Issuer) -> None:
        """It says how long one call may take, so that a lease can be held for longer."""
        assert issuer.timeout > timedelta(0)

    def test_key_id_does_not_give_the_value_away(self, issuer: Issuer) -> None:
        """The public id is no more than a name: at least half of the value is not in it."""
        minted = mint(issuer)
        assert minted.value.reveal() not in minted.key_id
        assert len(minted.key_id) <= len(minted.value.reveal()) / 2

    def test_key_id_can_be_part_of_a_name(self, issuer: Issuer) -> None:
        """Backends write public ids into names and tags: `[A-Za-z0-9._-]{1,100}`."""
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", mint(issuer).key_id)

    @pytest.mark.parametrize("nonsense", ["x", "not a key", "_", "☃" * 20, "a" * 5000])
    def test_key_id_of_another_kind_of_value_is_invalid(self, issuer: Issuer, nonsense: str) -> None:
        """A value that this issuer never makes has no key id, and the error does not show it."""
        with pytest.raises(Invalid) as caught:
            issuer.key_id(SecretValue(nonsense))
        assert len(nonsense) < 5 or nonsense not in str(caught.value)

    def test_minting_changes_nothing_where_keyturn_makes_the_value(
        self, harness: IssuerHarness, issuer: Issuer
    ) -> None:
        """A key that was only minted is listed nowhere and accepted nowhere."""
        if issuer.origin is not ValueOrigin.KEYTURN:
            pytest.skip("the authority makes the value")
        minted = mint(issuer)
        assert listed(issuer, minted) == {Entry.ABSENT}
        assert accepting(harness, issuer, minted) == {False}
        assert self.settle(harness, issuer, minted) == {Acceptance.REFUSED}

    # Where the authority makes the value

    def test_minted_key_is_listed_under_its_token(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Whoever comes after a crash finds the key by the token that the mint was told, with its time; a key of keyturn's
        own making is listed nowhere."""
        minted = issuer.mint("mint-orphan.v7")
        issued = {one.key_id: one for one in harness.issuer().issued()}
        if issuer.origin is ValueOrigin.KEYTURN:
            assert minted.key_id not in issued
            return
        assert issued[minted.key_id].token == "mint-orphan.v7"  # noqa: S105 - a name
        assert issued[minted.key_id].created_at is not None
        assert listed(issuer, minted) == {Entry.ACTIVE}
        assert self.settle(harness, issuer, minted) == {Acceptance.ACCEPTED}

    def test_revoked_key_is_not_issued_any_more(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """A disabled key is still there to be found, a revoked one is not."""
        if issuer.origin is ValueOrigin.KEYTURN:
            pytest.skip("keyturn makes the value")
        minted = mint(issuer)
        issuer.disable(minted.key_id, issuer.verifiers())
        assert minted.key_id in {one.key_id for one in harness.issuer().issued()}
        issuer.revoke(minted.key_id, issuer.verifiers())
        assert minted.key_id not in {one.key_id for one in harness.issuer().issued()}

    def test_second_mint_under_a_token_makes_a_second_key(self, issuer: Issuer) -> None:
        """Its value is shown once, so a rerun can have no other; both keys are found under the token."""
        if issuer.origin is ValueOrigin.KEYTURN:
            pytest.skip("keyturn makes the value")
        both = {issuer.mint("mint-twice.v1").key_id for _ in range(2)}
        assert len(both) == 2
        assert both <= {one.key_id for one in issuer.issued() if one.token == "mint-twice.v1"}  # noqa: S105 - a name

    # Installing

    def test_there_is_a_verifier(self, issuer: Issuer) -> None:
        """The authority names its verifiers, each once."""
        verifiers = issuer.verifiers()
        assert verifiers
        assert len(set(verifiers)) == len(verifiers)

    def test_installed_key_is_accepted(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """After an install every verifier lists the key, says that it accepts it, and does."""
        minted = self.installed(harness, issuer)
        assert listed(issuer, minted) == {Entry.ACTIVE}
        assert accepting(harness, issuer, minted) == {True}

    def test_install_leaves_other_keys_alone(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Keys of one authority live side by side: what happens to one changes no other."""
        other = self.installed(harness, issuer)
        minted = self.installed(harness, issuer)
        issuer.disable(minted.key_id, issuer.verifiers())
        issuer.revoke(minted.key_id, issuer.verifiers())
        assert self.settle(harness, issuer, minted) == {Acceptance.REFUSED}
        assert self.settle(harness, issuer, other) == {Acceptance.ACCEPTED}
        assert listed(issuer, other) == {Entry.ACTIVE}
        assert accepting(harness, issuer, other) == {True}

    def test_install_verifier_by_verifier(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Installing on the verifiers one at a time ends as installing on all at once does."""
        minted = mint(issuer)
        for verifier in issuer.verifiers():
            issuer.install(minted.key_id, minted.value, [verifier])
        assert self.settle(harness, issuer, minted) == {Acceptance.ACCEPTED}
        assert accepting(harness, issuer, minted) == {True}

    def test_another_value_under_an_accepted_key_id_is_refused(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """A key id is public: acceptance is of the whole value."""
        minted = self.installed(harness, issuer)
        text = minted.value.reveal()
        # Another letter, and not the same one in another case: nginx's `map` looks up without regard to case.
        forged = text[:-1] + ("a" if text[-1] not in "aA" else "b")
        for verifier in issuer.verifiers():
            assert not harness.accepts(verifier, forged)
            assert issuer.probe(verifier, minted.key_id, SecretValue(forged)) is Acceptance.REFUSED

    # Disabling and enabling

    def test_disabled_key_is_refused_by_name(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """A disabled key is refused by every verifier, and still listed, so that its users stay recognisable."""
        minted = self.disabled(harness, issuer)
        assert listed(issuer, minted) == {Entry.DISABLED}
        assert accepting(harness, issuer, minted) == {False}

    def test_enabled_key_is_accepted_again(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Disabling is reversible, more than once."""
        minted = self.installed(harness, issuer)
        for _ in range(2):
            issuer.disable(minted.key_id, issuer.verifiers())
            assert self.settle(harness, issuer, minted) == {Acceptance.DISABLED}
            issuer.enable(minted.key_id, issuer.verifiers())
            assert self.settle(harness, issuer, minted) == {Acceptance.ACCEPTED}
        assert listed(issuer, minted) == {Entry.ACTIVE}
        assert accepting(harness, issuer, minted) == {True}

    def test_install_does_not_enable(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """A late install of a disabled key leaves it disabled: enabling is `enable`'s word alone."""
        minted = self.disabled(harness, issuer)
        harness.issuer().install(minted.key_id, minted.value, issuer.verifiers())
        assert self.settle(harness, issuer, minted) == {Acceptance.DISABLED}
        assert listed(issuer, minted) == {Entry.DISABLED}
        assert accepting(harness, issuer, minted) == {False}

    def test_enable_without_an_entry_is_absent(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Where no entry of the key is left there is nothing to enable, and nothing is accepted."""
        if issuer.origin is not ValueOrigin.KEYTURN:
            pytest.skip("a minted key has an entry at once")
        minted = mint(issuer)
        with pytest.raises(Absent):
            issuer.enable(minted.key_id, issuer.verifiers())
        assert accepting(harness, issuer, minted) == {False}

    # Revoking

    @pytest.mark.parametrize("disabled_before", [True, False])
    def test_revoked_key_leaves_a_tombstone(
        self, harness: IssuerHarness, issuer: Issuer, disabled_before: bool
    ) -> None:
        """A revoked key is refused, disabled before or not, and stays listed as revoked."""
        minted = self.disabled(harness, issuer) if disabled_before else self.installed(harness, issuer)
        issuer.revoke(minted.key_id, issuer.verifiers())
        assert self.settle(harness, issuer, minted) == {Acceptance.REFUSED}
        assert listed(issuer, minted) == {Entry.REVOKED}
        assert accepting(harness, issuer, minted) == {False}

    def test_nothing_revives_a_revoked_key(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Late calls of any kind, from any instance, leave a revoked key revoked; install and enable say `Conflict`."""
        minted = self.installed(harness, issuer)
        issuer.revoke(minted.key_id, issuer.verifiers())
        for late in (issuer, harness.issuer()):
            with pytest.raises(Conflict):
                late.install(minted.key_id, minted.value, late.verifiers())
            with pytest.raises(Conflict):
                late.enable(minted.key_id, late.verifiers())
            attempt(partial(late.disable, minted.key_id, late.verifiers()))
        assert listed(issuer, minted) == {Entry.REVOKED}
        assert self.settle(harness, issuer, minted) == {Acceptance.REFUSED}
        assert accepting(harness, issuer, minted) == {False}

    def test_revoking_what_was_never_installed_stops_a_late_install(
        self, harness: IssuerHarness, issuer: Issuer
    ) -> None:
        """The tombstone is there even if the install that it answers is still on its way."""
        if issuer.origin is not ValueOrigin.KEYTURN:
            pytest.skip("a minted key has an entry at once")
        minted = mint(issuer)
        issuer.revoke(minted.key_id, issuer.verifiers())
        with pytest.raises(Conflict):
            harness.issuer().install(minted.key_id, minted.value, issuer.verifiers())
        assert accepting(harness, issuer, minted) == {False}

    # Room

    def test_room_is_taken_by_keys_and_given_back(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Where a limit is known, each key takes one place of it, also while it is disabled, and a revoked one none."""
        before = issuer.room()
        if before is None:
            pytest.skip("no limit is known")
        minted = self.installed(harness, issuer)
        assert issuer.room() == harness.issuer().room() == before - 1
        issuer.install(minted.key_id, minted.value, issuer.verifiers())
        assert issuer.room() == before - 1
        issuer.disable(minted.key_id, issuer.verifiers())
        assert issuer.room() == before - 1
        issuer.revoke(minted.key_id, issuer.verifiers())
        assert issuer.room() == before

    def test_full_authority_refuses_another_key(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """Where there is no room another key is `Conflict`, and those that are there stay as they are; once one is
        revoked it can be made."""
        room = issuer.room()
        if room is None or not 0 < room <= FILLABLE:
            pytest.skip("no limit is known, or it is too high to be reached here")
        there = [self.installed(harness, issuer) for _ in range(room)]
        assert issuer.room() == 0
        with pytest.raises(Conflict):
            self.installed(harness, issuer)
        assert issuer.room() == 0
        assert all(self.settle(harness, issuer, one) == {Acceptance.ACCEPTED} for one in there)
        issuer.revoke(there[0].key_id, issuer.verifiers())
        self.installed(harness, issuer)
        assert issuer.room() == 0

    # Connections that are open already

    def test_held_connections_follow(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """`ACCEPTED`, `DISABLED` and `REFUSED` hold on connections from before the change too."""
        minted = mint(issuer)
        held = [harness.hold(verifier) for verifier in issuer.verifiers()]
        steps: list[tuple[Callable[[], None], Acceptance]] = [
            (lambda: issuer.install(minted.key_id, minted.value, issuer.verifiers()), Acceptance.ACCEPTED),
            (lambda: issuer.disable(minted.key_id, issuer.verifiers()), Acceptance.DISABLED),
            (lambda: issuer.enable(minted.key_id, issuer.verifiers()), Acceptance.ACCEPTED),
            (lambda: issuer.revoke(minted.key_id, issuer.verifiers()), Acceptance.REFUSED),
        ]
        try:
            for change, said in steps:
                change()
                assert self.settle(harness, issuer, minted) == {said}
                accepted = {connection.accepts(minted.value.reveal()) for connection in held}
                assert accepted == {said is Acceptance.ACCEPTED}
        finally:
            for connection in held:
                connection.close()

    # Failures and crashes

    def test_crash_after_any_call(self, harness: IssuerHarness) -> None:
        """Every call of a key's life made twice, the second time by an instance that knows nothing: no error, and the
        same world as made once."""
        minted = mint(harness.issuer())
        verifiers = harness.issuer().verifiers()
        steps: list[tuple[Callable[[Issuer], None], Acceptance, Entry]] = [
            (lambda i: i.install(minted.key_id, minted.value, verifiers), Acceptance.ACCEPTED, Entry.ACTIVE),
            (lambda i: i.disable(minted.key_id, verifiers), Acceptance.DISABLED, Entry.DISABLED),
            (lambda i: i.enable(minted.key_id, verifiers), Acceptance.ACCEPTED, Entry.ACTIVE),
            (lambda i: i.disable(minted.key_id, verifiers), Acceptance.DISABLED, Entry.DISABLED),
            (lambda i: i.revoke(minted.key_id, verifiers), Acceptance.REFUSED, Entry.REVOKED),
        ]
        for call, acceptance, entry in steps:
            for _ in range(2):
                call(harness.issuer())
            assert self.settle(harness, harness.issuer(), minted) == {acceptance}
            assert listed(harness.issuer(), minted) == {entry}

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_trouble_maps_to_an_error_of_its_own(
        self, harness: IssuerHarness, issuer: Issuer, trouble: Trouble
    ) -> None:
        """Throttling, denial and an unreachable authority are told apart."""
        minted = mint(issuer)
        verifiers = issuer.verifiers()
        troubled = harness.in_trouble(trouble)
        with pytest.raises(Failure) as caught:
            troubled.install(minted.key_id, minted.value, verifiers)
        assert type(caught.value) is trouble.failure

    def test_unreachable_verifier_is_said_not_raised(self, harness: IssuerHarness, issuer: Issuer) -> None:
        """A probe of a verifier that is away says so; the others answer as always."""
        minted = self.installed(harness, issuer)
        away, *others = issuer.verifiers()
        seen = harness.unreachable(away)
        assert seen.probe(away, minted.key_id, minted.value) is Acceptance.UNREACHABLE
        assert {seen.probe(other, minted.key_id, minted.value) for other in others} <= {Acceptance.ACCEPTED}

    # Secrecy

    def test_values_show_nowhere(self, harness: IssuerHarness) -> None:
        """No value is in a repr, an error or a log record at DEBUG, through a key's whole life and calls that fail."""
        with logs_recorded() as logs:
            issuer = harness.issuer()
            minted = mint(issuer)
            verifiers = issuer.verifiers()
            texts = [repr(issuer), repr(minted), str(minted)]
            for _ in range(2):
                texts += attempt(lambda: issuer.install(minted.key_id, minted.value, verifiers))
                texts += [str(issuer.probe(one, minted.key_id, minted.value)) for one in verifiers]
                texts += attempt(lambda: issuer.disable(minted.key_id, verifiers))
                texts += attempt(lambda: issuer.enable(minted.key_id, verifiers))
                texts += attempt(lambda: issuer.revoke(minted.key_id, verifiers))
            texts += [repr(issuer.entries(one)) for one in verifiers]
            texts += attempt(lambda: issuer.key_id(SecretValue(minted.value.reveal() + "x")))
        assert find_leaks([minted.value.reveal()], texts + logs) == []

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_values_show_nowhere_in_trouble(self, harness: IssuerHarness, issuer: Issuer, trouble: Trouble) -> None:
        """Nor when the authority refuses, throttles or is away in the middle of it."""
        minted = mint(issuer)
        verifiers = issuer.verifiers()
        with logs_recorded() as logs:
            troubled = harness.in_trouble(trouble)
            texts = [repr(troubled)]
            texts += attempt(lambda: troubled.install(minted.key_id, minted.value, verifiers))
            texts += attempt(lambda: troubled.probe(verifiers[0], minted.key_id, minted.value))
            texts += attempt(lambda: troubled.revoke(minted.key_id, verifiers))
        assert find_leaks([minted.value.reveal()], texts + logs) == []
