"""When calls that failed are tried again, by the journal, by the outbox and within one tick."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.unit.runtime.rig import NAME, Rig

from keyturn.domain.errors import Denied, Failure, Throttled, Transient
from keyturn.domain.observations import Acceptance, ServingKind
from keyturn.domain.phases import Phase
from keyturn.runtime.retries import AT_ONCE, BUDGET, HEEDED, AtOnce, backoff, delay
from keyturn.testing.fakes import FakeClock, Fault, InlineExecutor

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TIMEOUT = Transient("no answer")


class Call:
    """A call that fails in these ways, one after another, and then succeeds."""

    def __init__(self, *failures: Failure, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.failures = list(failures)
        self.made = 0
        self._meanwhile = meanwhile

    def __call__(self) -> str:
        self.made += 1
        self._meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def test_backoff_doubles_up_to_the_longest_less_half_by_chance() -> None:
    """Each wait lies between half of the doubled time and all of it, and none is longer than the longest."""
    waits = backoff("promote", first=SECOND, longest=MINUTE)
    for attempt in range(1, 2000):
        doubled = min(MINUTE, SECOND * 2.0 ** min(attempt - 1, 20))
        assert doubled / 2 <= delay(TIMEOUT, attempt, waits) <= doubled


def test_waits_are_spread_by_name_and_attempt_and_are_the_same_again() -> None:
    """A hundred callers that failed at once do not come back at once; the same caller always waits the same."""
    waited = {name: delay(TIMEOUT, 8, backoff(name, first=SECOND, longest=MINUTE)) for name in map(str, range(100))}
    assert len(set(waited.values())) == 100
    assert max(waited.values()) - min(waited.values()) > MINUTE / 3
    again = {name: delay(TIMEOUT, 8, backoff(name, first=SECOND, longest=MINUTE)) for name in waited}
    assert again == waited


@pytest.mark.parametrize(
    ("asked", "expected"), [(90 * SECOND, 90 * SECOND), (timedelta(days=300), HEEDED)], ids=["heeded", "absurd"]
)
def test_vendor_s_own_wish_is_heeded_within_reason(asked: timedelta, expected: timedelta) -> None:
    """Retry-after is waited for where it is longer than our own wait; a slip in a header stops nothing for a year."""
    waits = backoff("promote", first=SECOND, longest=MINUTE)
    assert delay(Throttled("slow down", asked), 1, waits) == expected
    assert delay(Throttled("slow down", timedelta(0)), 1, waits) == delay(TIMEOUT, 1, waits)


def test_transient_failures_are_repeated_at_once_a_few_times() -> None:
    """Two failures are passed over after short pauses that grow; a third is the caller's."""
    executor = InlineExecutor()
    at_once = AtOnce(clock=FakeClock(), executor=executor)
    good = Call(*[TIMEOUT] * (AT_ONCE - 1))
    assert at_once.run("look", good) == "done"
    assert len(executor.paused) == AT_ONCE - 1
    assert executor.paused == sorted(executor.paused)
    bad = Call(*[TIMEOUT] * AT_ONCE)
    with pytest.raises(Transient):
        at_once.run("look", bad)
    assert (good.made, bad.made) == (AT_ONCE, AT_ONCE)


def test_refusal_after_a_hiccup_is_final() -> None:
    """What was repeated for a lost answer is not repeated for a refusal."""
    call = Call(TIMEOUT, Denied("not permitted"))
    with pytest.raises(Denied):
        AtOnce(clock=FakeClock(), executor=InlineExecutor()).run("look", call)
    assert call.made == 2


@pytest.mark.parametrize(
    ("failure", "takes"),
    [
        (Denied("not permitted"), timedelta(0)),
        (Throttled("slow down", BUDGET + SECOND), timedelta(0)),
        (TIMEOUT, BUDGET),
    ],
    ids=["refused", "vendor asks for longer", "took long"],
)
def test_what_would_hold_up_the_tick_or_is_vain_is_not_repeated(failure: Failure, takes: timedelta) -> None:
    """One attempt, and no pause: for what is no transient failure, for a vendor that asks for more than the tick has, and
    for a call that has used up its time."""
    clock, executor = FakeClock(), InlineExecutor()
    call = Call(failure, meanwhile=lambda: clock.advance(takes))
    with pytest.raises(type(failure)):
        AtOnce(clock=clock, executor=executor).run("look", call)
    assert (call.made, executor.paused) == (1, [])


def test_look_at_a_target_survives_a_hiccup() -> None:
    """One lost answer leaves nothing unknown: the same tick looks again."""
    rig = Rig()
    rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    rig.backend.faults.inject(Fault.LOST_REQUEST, "view", times=1)
    rig.authority.faults.inject(Fault.LOST_RESPONSE, "entries", "room", times=2)
    seen = rig.runtime.look(NAME)
    assert {target.serving.kind for target in seen.targets.values()} == {ServingKind.OURS}
    assert all(verifier.entries for verifier in seen.verifiers.values())


def test_verifier_is_asked_again_before_it_counts_as_unreachable() -> None:
    """Two lost answers at one verifier do not make it one that an emergency leaves out; a third does."""
    rig = Rig()
    rig.second()
    rig.runtime.start(NAME, by="ada", why="test")
    found = []
    for lost in (AT_ONCE - 1, AT_ONCE):
        rig.authority.faults.inject(Fault.LOST_REQUEST, "probe", times=lost)
        seen = rig.runtime.look(NAME)
        found.append([verifier.acceptance[1] for _, verifier in sorted(seen.verifiers.items())])
    accepted = [Acceptance.ACCEPTED] * len(found[0])
    assert found == [accepted, [Acceptance.UNREACHABLE, *accepted[1:]]]


def test_effect_is_tried_once_a_tick_and_its_attempts_are_counted() -> None:
    """A promote that is throttled goes out once in each tick whose time has come, and the journal counts."""
    rig = Rig()
    rig.warm_up()
    rig.runtime.start(NAME, by="ada", why="test")
    rotation = rig.until_phase(Phase.OVERLAP)
    rig.backend.faults.inject(Fault.THROTTLED, "promote", times=None)
    counted = []
    for _ in range(12):
        before = len(rig.backend.faults.happened)
        rig.second()
        counted.append(len(rig.backend.faults.happened) - before)
    assert set(counted) == {0, 1}
    journal = rig.store.journal(rotation.id).values()
    (intent,) = [one for one in journal if "/promote/" in one.effect.id and one.effect.target == "t1"]
    assert intent.attempts == len(rig.backend.faults.happened) >= 3
    rig.backend.faults.clear()
    rig.until_phase(Phase.COMPLETED)
