"""Clauses on what keyturn keeps at a target, and on what it sees there."""

from __future__ import annotations

import pytest

from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.target_harness import TargetClauses, TargetHarness, new_token, new_value, served

AWKWARD = (
    "quotes \" ' and \\ backslash",
    " spaces around ",
    "two\nlines\r\n",
    "ünïcödé ☃ 𝄞",
    "%2F/../?a=b&c#d",
    '{"json": 1}',
    "x" * 4096,
)
TOKENS = ("x", "A" * 100, "rotation-7.stage_2", ".", "..", "-")
"""The edges of `[A-Za-z0-9._-]{1,100}`."""


class CopyClauses(TargetClauses):
    """Reading, staging, keeping, removing."""

    def test_empty_target_serves_nothing(self, harness: TargetHarness, target: Target) -> None:
        """An empty target is seen as one: nothing served, no copies, and reading it is `Absent`."""
        assert harness.readers_get() is None
        view = target.view()
        assert (view.serving, view.copies) == (None, frozenset())
        with pytest.raises(Absent):
            target.read()

    def test_view_and_read_tell_what_readers_get(self, harness: TargetHarness, target: Target) -> None:
        """What another's hand wrote is seen under an id of its own, each time a new one."""
        ids = []
        for value in (new_value(), new_value()):
            harness.overwrite(value)
            serving, read = target.read()
            assert read.reveal() == value
            assert target.view().serving == serving
            ids.append(serving)
        assert ids[0] != ids[1]

    def test_view_sees_our_own_last_write(self, harness: TargetHarness, target: Target) -> None:
        """Each write of ours is in the very next look, from this instance and from a new one."""
        expected = self.begin(harness)
        first, second, kept = new_token(), new_token(), new_token()
        target.stage(first, SecretValue(new_value()))
        assert target.view().copies == {first}
        serving = target.promote(first, expected=expected, token=new_token())
        assert target.view().serving == serving
        target.keep(kept, serving=serving)
        target.stage(second, SecretValue(new_value()))
        assert harness.target().view().copies == {first, second, kept}
        target.remove(second)
        assert target.view().copies == {first, kept}
        assert harness.target().view().serving == serving

    # Staging

    def test_staging_is_invisible_to_readers(self, harness: TargetHarness, target: Target) -> None:
        """A staged value changes nothing for readers of a target in use."""
        value = new_value()
        harness.overwrite(value)
        serving = target.view().serving
        target.stage(new_token(), SecretValue(new_value()))
        assert harness.readers_get() == value
        assert target.view().serving == serving

    def test_staging_at_an_empty_target_is_invisible(self, harness: TargetHarness, target: Target) -> None:
        """A value staged where readers get nothing leaves them with nothing, or is refused for good."""
        if self.stages_when_empty:
            target.stage(new_token(), SecretValue(new_value()))
        else:
            with pytest.raises(Invalid):
                target.stage(new_token(), SecretValue(new_value()))
        assert harness.readers_get() is None
        assert target.view().serving is None

    def test_stage_is_idempotent_by_token(self, harness: TargetHarness, target: Target) -> None:
        """The same stage again, also from a new instance, is no error and no second copy."""
        self.begin(harness)
        token, value = new_token(), new_value()
        for instance in (target, target, harness.target()):
            instance.stage(token, SecretValue(value))
        assert target.view().copies == {token}
        assert target.fetch(token).reveal() == value

    def test_used_token_keeps_its_value(self, harness: TargetHarness, target: Target) -> None:
        """A token that holds a value refuses another one, and keeps the first."""
        self.begin(harness)
        token, value = new_token(), new_value()
        target.stage(token, SecretValue(value))
        for instance in (target, harness.target()):
            with pytest.raises(Conflict):
                instance.stage(token, SecretValue(new_value()))
        assert target.fetch(token).reveal() == value

    def test_fetch_of_an_unknown_copy_is_absent(self, target: Target) -> None:
        """A copy that was never made cannot be fetched."""
        with pytest.raises(Absent):
            target.fetch(new_token())

    @pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:20])
    def test_every_allowed_token_names_a_copy(self, harness: TargetHarness, target: Target, token: str) -> None:
        """Tokens at the edges of the allowed alphabet name a copy like any other, through its whole life."""
        expected = self.begin(harness)
        value = new_value()
        target.stage(token, SecretValue(value))
        assert target.view().copies == {token}
        assert target.fetch(token).reveal() == value
        target.promote(token, expected=expected, token=f"p{token}"[:100])
        target.remove(token)
        assert target.view().copies == frozenset()
        assert harness.readers_get() == value

    @pytest.mark.parametrize("value", AWKWARD, ids=range(len(AWKWARD)))
    def test_values_come_back_exactly(self, harness: TargetHarness, target: Target, value: str) -> None:
        """No character of a value is lost or changed on its way through stage, promote and keep."""
        expected = self.begin(harness)
        staged, kept = new_token(), new_token()
        target.stage(staged, SecretValue(value))
        assert target.fetch(staged).reveal() == value
        serving = target.promote(staged, expected=expected, token=new_token())
        assert harness.readers_get() == value
        target.keep(kept, serving=serving)
        assert target.fetch(kept).reveal() == value

    # Keeping

    def test_kept_copy_outlives_others(self, harness: TargetHarness, target: Target) -> None:
        """What readers got is still ours to fetch and promote after others overwrote the target many times."""
        value, kept = new_value(), new_token()
        harness.overwrite(value)
        target.keep(kept, serving=served(target))
        assert harness.readers_get() == value
        for _ in range(12):
            harness.overwrite(new_value())
        assert target.view().copies == {kept}
        assert harness.target().fetch(kept).reveal() == value
        target.promote(kept, expected=target.view().serving, token=new_token())
        assert harness.readers_get() == value

    def test_keep_only_what_the_caller_believes(self, harness: TargetHarness, target: Target) -> None:
        """Keeping is `Conflict` when readers get another version by now, and then leaves no copy."""
        harness.overwrite(new_value())
        believed = served(target)
        harness.overwrite(new_value())
        with pytest.raises(Conflict):
            target.keep(new_token(), serving=believed)
        assert target.view().copies == frozenset()

    def test_keep_of_nothing_is_absent(self, target: Target) -> None:
        """There is nothing to keep where readers get nothing."""
        with pytest.raises(Absent):
            target.keep(new_token(), serving="1")

    def test_keep_is_idempotent_by_token(self, harness: TargetHarness, target: Target) -> None:
        """The same keep again is no error, also when its response was lost and others wrote meanwhile."""
        value, kept = new_value(), new_token()
        harness.overwrite(value)
        serving = served(target)
        target.keep(kept, serving=serving)
        target.keep(kept, serving=serving)
        harness.overwrite(new_value())
        harness.target().keep(kept, serving=serving)
        assert target.fetch(kept).reveal() == value

    # Removing

    def test_remove_is_final_and_repeatable(self, harness: TargetHarness, target: Target) -> None:
        """A removed copy is gone, other copies stay, and removing it again, or one that never was, is success."""
        self.begin(harness)
        token, other, value = new_token(), new_token(), new_value()
        target.stage(token, SecretValue(value))
        target.stage(other, SecretValue(new_value()))
        for instance in (target, target, harness.target()):
            instance.remove(token)
        target.remove(new_token())
        assert target.view().copies == {other}
        with pytest.raises(Absent):
            target.fetch(token)
        with pytest.raises(Absent):
            target.promote(token, expected=target.view().serving, token=new_token())
        assert harness.readers_get() != value
        if self.erases_copies:
            assert value not in harness.stored()

    def test_copies_of_one_version_are_removed_apart(self, harness: TargetHarness, target: Target) -> None:
        """Two copies of the very same version go each by its own token: a removal that comes late leaves what was kept
        since, which can still be given to readers."""
        self.begin(harness)
        value, first, second = new_value(), new_token(), new_token()
        harness.overwrite(value)
        serving = served(target)
        target.keep(first, serving=serving)
        target.keep(second, serving=serving)
        target.remove(first)
        harness.overwrite(new_value())
        target.remove(first, served=[serving])
        assert target.view().copies == {second}
        assert target.fetch(second).reveal() == value
        target.promote(second, expected=target.view().serving, token=new_token())
        assert harness.readers_get() == value

    def test_remove_never_touches_what_readers_get(self, harness: TargetHarness, target: Target) -> None:
        """Removing every copy of the served version leaves readers with it. Where its served id is named too, it is not said
        to be destroyed, and the copies stay."""
        expected = self.begin(harness)
        staged, kept, value = new_token(), new_token(), new_value()
        target.stage(staged, SecretValue(value))
        serving = target.promote(staged, expected=expected, token=new_token())
        target.keep(kept, serving=serving)
        if self.erases_history:
            for token in (staged, kept):
                with pytest.raises(Transient):
                    target.remove(token, served=[serving])
            assert target.view().copies == {staged, kept}
        for _ in range(2):
            target.remove(staged)
            target.remove(kept)
        assert harness.readers_get() == value
        assert target.view().serving == serving
        assert target.view().copies == frozenset()

    def test_remove_with_ids_that_were_served(self, harness: TargetHarness, target: Target) -> None:
        """Naming the ids that once gave a version to readers destroys them where the backend can, again and again
        without error; what readers get stays."""
        old, new = new_value(), new_value()
        kept, staged = new_token(), new_token()
        harness.overwrite(old)
        first = served(target)
        target.keep(kept, serving=first)
        target.stage(staged, SecretValue(new))
        second = target.promote(staged, expected=first, token=new_token())
        third = target.promote(kept, expected=second, token=new_token())
        fourth = target.promote(staged, expected=third, token=new_token())
        for instance in (target, harness.target()):
            instance.remove(kept, served=[first, third])
        assert harness.readers_get() == new
        assert target.view().serving == fourth
        assert target.view().copies == {staged}
        if self.erases_history:
            assert old not in harness.stored()
