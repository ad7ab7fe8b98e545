"""Clauses on trouble, crashes and secrecy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from keyturn.domain.errors import Failure
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded
from keyturn.testing.target_harness import TargetClauses, TargetHarness, new_token, new_value, served
from keyturn.testing.trouble import Trouble


class FailureClauses(TargetClauses):
    """What holds when calls fail, and what must show nowhere."""

    def test_calls_are_bounded(self, target: Target) -> None:
        """It says how long one call may take, so that a lease can be held for longer."""
        assert target.timeout > timedelta(0)

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_trouble_maps_to_an_error_of_its_own(
        self, harness: TargetHarness, target: Target, trouble: Trouble
    ) -> None:
        """Throttling, denial and an unreachable backend are told apart, and change nothing."""
        value = new_value()
        harness.overwrite(value)
        copy = new_token()
        target.stage(copy, SecretValue(new_value()))
        before, serving = target.view(), served(target)
        troubled = harness.in_trouble(trouble)
        for call in every_call(troubled, copy=copy, serving=serving, value=new_value()):
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
        twice(lambda target: target.mark("leaked"))
        view = harness.target().view()
        assert (view.serving, view.copies, view.marked) == (third, frozenset(), frozenset({"leaked"}))
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
        lambda: target.mark("leaked"),
    ]
