"""Clauses on promoting: a compare-and-swap that can be reversed and not replayed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.domain.errors import Absent, Conflict, Failure, Invalid
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.target_harness import TargetClauses, TargetHarness, new_token, new_value, served


class PromotionClauses(TargetClauses):
    """Making readers get another version."""

    def test_promote_makes_readers_get_the_copy(self, harness: TargetHarness, target: Target) -> None:
        """After a promote readers get the copy's value under the id that it returned, and the copy is still ours."""
        staged, value = new_token(), new_value()
        harness.overwrite(new_value())
        before = served(target)
        target.stage(staged, SecretValue(value))
        promoted = target.promote(staged, expected=before, token=new_token())
        assert promoted != before
        assert harness.readers_get() == value
        assert target.read() == (promoted, SecretValue(value))
        assert target.fetch(staged).reveal() == value

    def test_promote_to_an_empty_target(self, harness: TargetHarness, target: Target) -> None:
        """Expecting nothing promotes where readers get nothing, and nowhere else."""
        if not self.stages_when_empty:
            pytest.skip("this backend cannot stage at an empty target")
        staged, value = new_token(), new_value()
        target.stage(staged, SecretValue(value))
        target.promote(staged, expected=None, token=new_token())
        assert harness.readers_get() == value
        other = new_token()
        target.stage(other, SecretValue(new_value()))
        with pytest.raises(Conflict):
            target.promote(other, expected=None, token=new_token())
        assert harness.readers_get() == value

    def test_expecting_something_of_an_empty_target_conflicts(self, harness: TargetHarness, target: Target) -> None:
        """A version that readers no longer get, or never got, cannot be expected."""
        if not self.stages_when_empty:
            pytest.skip("this backend cannot stage at an empty target")
        staged = new_token()
        target.stage(staged, SecretValue(new_value()))
        with pytest.raises(Conflict):
            target.promote(staged, expected="1", token=new_token())
        assert harness.readers_get() is None

    def test_promote_is_compare_and_swap(self, harness: TargetHarness, target: Target) -> None:
        """A promote that expects what readers no longer get is `Conflict` and changes nothing."""
        staged, by_others = new_token(), new_value()
        harness.overwrite(new_value())
        stale = served(target)
        target.stage(staged, SecretValue(new_value()))
        harness.overwrite(by_others)
        with pytest.raises(Conflict):
            target.promote(staged, expected=stale, token=new_token())
        assert harness.readers_get() == by_others

    def test_what_is_no_text_is_told_and_replaced(self, harness: TargetHarness, target: Target) -> None:
        """What another's hand put there that is no text has an id, is invalid to read, and gives way to a promote that
        names just this id; a promote and a copy that expect what was there before conflict."""
        harness.overwrite(new_value())
        before, copy, value = served(target), new_token(), new_value()
        target.stage(copy, SecretValue(value))
        harness.overwrite_with_no_text()
        found = served(target)
        assert found != before
        with pytest.raises(Invalid):
            target.read()
        with pytest.raises(Conflict):
            target.keep(new_token(), serving=before)
        with pytest.raises(Conflict):
            target.promote(copy, expected=before, token=new_token())
        token = new_token()
        made = target.promote(copy, expected=found, token=token)
        assert harness.readers_get() == value
        assert target.promote(copy, expected=found, token=token) == made

    @pytest.mark.parametrize("times", [1, 2])
    def test_other_fields_outlive_another_s_hand(self, harness: TargetHarness, target: Target, times: int) -> None:
        """What readers get beside the credential is as before a hand left them without it, whichever of our versions they
        are given then, and however often the hand wrote."""
        old, new, kept, staged = new_value(), new_value(), new_token(), new_token()
        harness.overwrite(old)
        expected, others = served(target), harness.beside()
        target.keep(kept, serving=expected)
        target.stage(staged, SecretValue(new))
        target.promote(staged, expected=expected, token=new_token())
        for copy, given in ((staged, new), (kept, old)):
            for _ in range(times):
                harness.overwrite_with_no_fields()
            target.promote(copy, expected=target.view().serving, token=new_token())
            assert (harness.readers_get(), harness.beside()) == (given, others)

    def test_promote_of_an_unknown_copy_is_absent(self, harness: TargetHarness, target: Target) -> None:
        """Without the copy nothing is promoted, and readers get what they got."""
        value = new_value()
        harness.overwrite(value)
        with pytest.raises(Absent):
            target.promote(new_token(), expected=served(target), token=new_token())
        assert harness.readers_get() == value

    def test_promote_is_idempotent_by_token(self, harness: TargetHarness, target: Target) -> None:
        """The same promote again returns the same id, from an empty target and from one in use."""
        expected = self.begin(harness)
        for _ in range(3):
            staged, attempted = new_token(), new_token()
            target.stage(staged, SecretValue(new_value()))
            ids = {
                instance.promote(staged, expected=expected, token=attempted)
                for instance in (target, target, harness.target())
            }
            assert ids == {target.view().serving}
            (expected,) = ids

    def test_promote_is_reversible(self, harness: TargetHarness, target: Target) -> None:
        """The kept old version comes back under an id that is new, and so does the new one after it."""
        old, new = new_value(), new_value()
        kept, staged = new_token(), new_token()
        harness.overwrite(old)
        ids = [served(target)]
        target.keep(kept, serving=ids[0])
        target.stage(staged, SecretValue(new))
        for copy, value in ((staged, new), (kept, old), (staged, new), (kept, old)):
            ids.append(target.promote(copy, expected=ids[-1], token=new_token()))
            assert harness.readers_get() == value
        assert len(set(ids)) == len(ids)

    def test_promote_of_what_readers_get_spends_the_expectation(self, harness: TargetHarness, target: Target) -> None:
        """Promoting the value that readers get already takes a new id, so that a worker who still holds the old
        expectation can do nothing with it."""
        value, kept, staged = new_value(), new_token(), new_token()
        harness.overwrite(value)
        before = served(target)
        target.keep(kept, serving=before)
        target.stage(staged, SecretValue(new_value()))
        after = target.promote(kept, expected=before, token=new_token())
        assert after != before
        with pytest.raises(Conflict):
            harness.target().promote(staged, expected=before, token=new_token())
        assert harness.readers_get() == value
        assert target.view().serving == after

    def test_late_promote_after_a_rollback_changes_nothing(self, harness: TargetHarness, target: Target) -> None:
        """Every promote of a finished rotation, replayed after its rollback, finds its expectation gone for ever."""
        old = new_value()
        kept, staged = new_token(), new_token()
        harness.overwrite(old)
        first = served(target)
        target.keep(kept, serving=first)
        target.stage(staged, SecretValue(new_value()))
        forward, back = new_token(), new_token()
        second = target.promote(staged, expected=first, token=forward)
        third = target.promote(kept, expected=second, token=back)
        for token in (forward, new_token()):
            with pytest.raises(Conflict):
                harness.target().promote(staged, expected=first, token=token)
        assert harness.target().promote(kept, expected=second, token=back) == third
        assert harness.readers_get() == old
        assert target.view().serving == third

    def test_late_first_promote_changes_nothing(self, harness: TargetHarness, target: Target) -> None:
        """A promote that expected an empty target is spent once something was promoted after it."""
        if not self.stages_when_empty:
            pytest.skip("this backend cannot stage at an empty target")
        copies = {new_token(): new_value() for _ in range(2)}
        (one, other) = copies
        for copy, value in copies.items():
            target.stage(copy, SecretValue(value))
        attempted = new_token()
        serving = target.promote(one, expected=None, token=attempted)
        serving = target.promote(other, expected=serving, token=new_token())
        with pytest.raises(Conflict):
            target.promote(one, expected=None, token=attempted)
        serving = target.promote(one, expected=serving, token=new_token())
        with pytest.raises(Conflict):
            target.promote(other, expected=None, token=new_token())
        assert harness.readers_get() == copies[one]
        assert target.view().serving == serving

    def test_of_two_promotes_at_once_one_wins(self, harness: TargetHarness, target: Target) -> None:
        """Several workers with the same expectation: exactly one succeeds, and readers get its value."""
        harness.overwrite(new_value())
        for _ in range(3):
            expected = served(target)
            copies = {new_token(): new_value() for _ in range(3)}
            for copy, value in copies.items():
                target.stage(copy, SecretValue(value))
            with ThreadPoolExecutor(len(copies)) as threads:
                results = dict(zip(copies, threads.map(promoter(harness, expected), copies), strict=True))
            winners = [copy for copy, result in results.items() if not isinstance(result, Failure)]
            assert len(winners) == 1
            assert target.view().serving == results[winners[0]]
            assert harness.readers_get() == copies[winners[0]]
            assert all(isinstance(result, Conflict) for copy, result in results.items() if copy not in winners)


def promoter(harness: TargetHarness, expected: str) -> Callable[[str], str | Failure]:
    """A worker that promotes a copy with its own instance and returns the id, or how it failed."""

    def promote(copy: str) -> str | Failure:
        try:
            return harness.target().promote(copy, expected=expected, token=new_token())
        except Failure as failure:
            return failure

    return promote
