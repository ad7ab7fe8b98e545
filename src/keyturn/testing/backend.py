"""The conformance suite of `keyturn.ports.backend.Target`."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from keyturn.domain.errors import Absent, Conflict, Failure
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded
from keyturn.testing.trouble import Trouble

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


def new_value() -> str:
    """A value that shows up nowhere by chance."""
    return f"value-{secrets.token_hex(16)}"


def new_token() -> str:
    """A token that nobody used."""
    return f"token-{secrets.token_hex(8)}"


class TargetHarness(ABC):
    """One target that is empty at first, and a back door to it that does not use the plugin."""

    @abstractmethod
    def target(self) -> Target:
        """A new instance of the plugin for the same place, as after a restart: it remembers nothing."""

    @abstractmethod
    def readers_get(self) -> str | None:
        """What an application gets that reads the target now, past every cache; None when it gets nothing."""

    @abstractmethod
    def overwrite(self, value: str) -> None:
        """Another's hand: make readers get `value` from now on."""

    def in_trouble(self, trouble: Trouble) -> Target:
        """A new instance of the plugin for the same place, each of whose calls meets this trouble."""
        pytest.skip(f"this harness cannot cause: {trouble}")

    def stored(self) -> set[str]:
        """Every value that the backend still holds at this place, copies and history included. Asked for only where
        `erases_copies` or `erases_history` is set."""
        pytest.skip("this harness does not see what is stored")


class BackendConformance:
    """What every target promises. Override `harness`, and the flags where the backend cannot do better."""

    erases_copies: ClassVar[bool] = True
    """`remove` deletes the copy's data at once, not only our name for it."""
    erases_history: ClassVar[bool] = False
    """`remove(served=…)` destroys what the backend's own history holds of a version."""

    @pytest.fixture
    def harness(self) -> TargetHarness:
        """The plugin at an empty target of its own."""
        raise NotImplementedError("override the fixture `harness`")

    @pytest.fixture
    def target(self, harness: TargetHarness) -> Target:
        return harness.target()

    # What readers get

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
        first, second, kept = new_token(), new_token(), new_token()
        target.stage(first, SecretValue(new_value()))
        assert target.view().copies == {first}
        serving = target.promote(first, expected=None, token=new_token())
        assert target.view().serving == serving
        target.keep(kept, serving=serving)
        target.stage(second, SecretValue(new_value()))
        assert harness.target().view().copies == {first, second, kept}
        target.remove(second)
        assert target.view().copies == {first, kept}
        assert harness.target().view().serving == serving

    # Staging

    def test_staging_is_invisible_to_readers(self, harness: TargetHarness, target: Target) -> None:
        """A staged value changes nothing for readers, on an empty target and on one in use."""
        target.stage(new_token(), SecretValue(new_value()))
        assert harness.readers_get() is None
        assert target.view().serving is None
        value = new_value()
        harness.overwrite(value)
        serving = target.view().serving
        target.stage(new_token(), SecretValue(new_value()))
        assert harness.readers_get() == value
        assert target.view().serving == serving

    def test_stage_is_idempotent_by_token(self, harness: TargetHarness, target: Target) -> None:
        """The same stage again, also from a new instance, is no error and no second copy."""
        token, value = new_token(), new_value()
        for instance in (target, target, harness.target()):
            instance.stage(token, SecretValue(value))
        assert target.view().copies == {token}
        assert target.fetch(token).reveal() == value

    def test_used_token_keeps_its_value(self, harness: TargetHarness, target: Target) -> None:
        """A token that holds a value refuses another one, and keeps the first."""
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
        value = new_value()
        target.stage(token, SecretValue(value))
        assert target.view().copies == {token}
        assert target.fetch(token).reveal() == value
        target.promote(token, expected=None, token=f"p{token}"[:100])
        target.remove(token)
        assert target.view().copies == frozenset()
        assert harness.readers_get() == value

    @pytest.mark.parametrize("value", AWKWARD, ids=range(len(AWKWARD)))
    def test_values_come_back_exactly(self, harness: TargetHarness, target: Target, value: str) -> None:
        """No character of a value is lost or changed on its way through stage, promote and keep."""
        staged, kept = new_token(), new_token()
        target.stage(staged, SecretValue(value))
        assert target.fetch(staged).reveal() == value
        serving = target.promote(staged, expected=None, token=new_token())
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

    # Promoting

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

    def test_promote_of_an_unknown_copy_is_absent(self, harness: TargetHarness, target: Target) -> None:
        """Without the copy nothing is promoted, and readers get what they got."""
        value = new_value()
        harness.overwrite(value)
        with pytest.raises(Absent):
            target.promote(new_token(), expected=served(target), token=new_token())
        assert harness.readers_get() == value

    def test_promote_is_idempotent_by_token(self, harness: TargetHarness, target: Target) -> None:
        """The same promote again returns the same id, from an empty target and from one in use."""
        expected: str | None = None
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

    # Removing

    def test_remove_is_final_and_repeatable(self, harness: TargetHarness, target: Target) -> None:
        """A removed copy is gone, other copies stay, and removing it again, or one that never was, is success."""
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
            target.promote(token, expected=None, token=new_token())
        assert harness.readers_get() is None
        if self.erases_copies:
            assert value not in harness.stored()

    def test_remove_never_touches_what_readers_get(self, harness: TargetHarness, target: Target) -> None:
        """Removing every copy of the served version, its served id named too, leaves readers with it."""
        staged, kept, value = new_token(), new_token(), new_value()
        target.stage(staged, SecretValue(value))
        serving = target.promote(staged, expected=None, token=new_token())
        target.keep(kept, serving=serving)
        for _ in range(2):
            target.remove(staged, served=[serving])
            target.remove(kept, served=[serving])
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

    # Failures

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_trouble_maps_to_an_error_of_its_own(
        self, harness: TargetHarness, target: Target, trouble: Trouble
    ) -> None:
        """Throttling, denial and an unreachable backend are told apart, and change nothing."""
        value = new_value()
        harness.overwrite(value)
        copy = new_token()
        target.stage(copy, SecretValue(new_value()))
        before = target.view()
        troubled = harness.in_trouble(trouble)
        for call in every_call(troubled, copy=copy, serving=served(target), value=new_value()):
            with pytest.raises(Failure) as caught:
                call()
            assert type(caught.value) is trouble.failure
        assert harness.readers_get() == value
        assert harness.target().view() == before

    def test_crash_after_any_call(self, harness: TargetHarness) -> None:
        """Every call of a rotation and its rollback made twice, the second time by an instance that knows nothing:
        the same results and the same world as made once."""
        old, new = new_value(), new_value()
        harness.overwrite(old)
        kept, staged = new_token(), new_token()

        def twice(call: Callable[[Target], object]) -> object:
            first, second = call(harness.target()), call(harness.target())
            assert first == second
            return first

        first = served(harness.target())
        twice(lambda target: target.stage(staged, SecretValue(new)))
        twice(lambda target: target.keep(kept, serving=first))
        forward, back = new_token(), new_token()
        second = str(twice(lambda target: target.promote(staged, expected=first, token=forward)))
        assert harness.readers_get() == new
        third = twice(lambda target: target.promote(kept, expected=second, token=back))
        assert harness.readers_get() == old
        twice(lambda target: target.remove(staged, served=[second]))
        twice(lambda target: target.remove(kept))
        view = harness.target().view()
        assert (view.serving, view.copies) == (third, frozenset())
        assert harness.readers_get() == old

    # Secrecy

    def test_values_show_nowhere(self, harness: TargetHarness) -> None:
        """No value is in a repr, a result, an error or a log record at DEBUG, also when calls fail."""
        values = [new_value() for _ in range(4)]
        copy, kept = new_token(), new_token()
        harness.overwrite(values[0])
        with logs_recorded() as logs:
            target = harness.target()
            texts = [repr(target), repr(target.view()), repr(target.read())]
            target.stage(copy, SecretValue(values[1]))
            texts += [repr(target.fetch(copy)), f"{target.fetch(copy)}"]
            texts += attempt(lambda: target.stage(copy, SecretValue(values[2])))
            texts += attempt(lambda: target.keep(kept, serving="0"))
            texts += attempt(lambda: target.keep(kept, serving=served(target)))
            texts += attempt(lambda: target.promote(copy, expected="0", token=new_token()))
            texts += attempt(lambda: target.promote(copy, expected=served(target), token=new_token()))
            texts += attempt(lambda: target.promote(new_token(), expected=served(target), token=new_token()))
            texts += attempt(lambda: target.fetch(new_token()))
            target.remove(copy)
            target.remove(kept)
        assert find_leaks(values, texts + logs) == []

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_values_show_nowhere_in_trouble(self, harness: TargetHarness, trouble: Trouble) -> None:
        """Nor when the backend refuses, throttles or is away in the middle of it."""
        served_value, staged_value = new_value(), new_value()
        copy = new_token()
        harness.overwrite(served_value)
        harness.target().stage(copy, SecretValue(staged_value))
        serving = served(harness.target())
        with logs_recorded() as logs:
            troubled = harness.in_trouble(trouble)
            texts = [repr(troubled)]
            for call in every_call(troubled, copy=copy, serving=serving, value=staged_value):
                texts += attempt(call)
        assert find_leaks([served_value, staged_value], texts + logs) == []


def served(target: Target) -> str:
    """The id of what readers get, where they get something."""
    serving = target.view().serving
    assert serving is not None
    return serving


def promoter(harness: TargetHarness, expected: str) -> Callable[[str], str | Failure]:
    """A worker that promotes a copy with its own instance and returns the id, or how it failed."""

    def promote(copy: str) -> str | Failure:
        try:
            return harness.target().promote(copy, expected=expected, token=new_token())
        except Failure as failure:
            return failure

    return promote


def every_call(target: Target, *, copy: str, serving: str, value: str) -> list[Callable[[], object]]:
    """Each call of the port once, with arguments that would succeed on a backend that is well."""
    return [
        target.view,
        target.read,
        lambda: target.keep(new_token(), serving=serving),
        lambda: target.stage(new_token(), SecretValue(value)),
        lambda: target.fetch(copy),
        lambda: target.promote(copy, expected=serving, token=new_token()),
        lambda: target.remove(copy),
    ]
