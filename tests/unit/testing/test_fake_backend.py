"""The fake backends pass the kit, and their faults and rules are real."""

import pytest

from keyturn.domain.errors import Conflict, Denied, Invalid, Throttled, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target
from keyturn.testing.backend import BackendConformance, TargetHarness, Trouble, new_value
from keyturn.testing.fakes import FakeBackend, Fault, LabelledPlace, Rules

FAULTS = {Trouble.THROTTLED: Fault.THROTTLED, Trouble.DENIED: Fault.DENIED, Trouble.UNREACHABLE: Fault.LOST_REQUEST}


class FakeTargetHarness(TargetHarness):
    """One path of a fake backend."""

    def __init__(self, rules: Rules) -> None:
        self.backend = FakeBackend(rules=rules, max_versions=4)
        self.place = self.backend.place("a")

    def target(self) -> Target:
        self.backend.faults.clear()
        return self.backend.target({"path": "a"})

    def in_trouble(self, trouble: Trouble) -> Target:
        self.backend.faults.inject(FAULTS[trouble], times=None)
        return self.backend.target({"path": "a"})

    def readers_get(self) -> str | None:
        return self.place.readers_get()

    def overwrite(self, value: str) -> None:
        self.place.overwrite(value)

    def overwrite_with_no_text(self) -> None:
        self.place.overwrite_with_no_text()

    def stored(self) -> set[str]:
        return self.place.stored()


class TestKvRules(BackendConformance):
    """The fake with KV v2's rules."""

    erases_history = True

    @pytest.fixture
    def harness(self) -> TargetHarness:
        return FakeTargetHarness(Rules.KV)


class TestLabelRules(BackendConformance):
    """The fake with AWS's rules."""

    stages_when_empty = False
    erases_copies = False

    @pytest.fixture
    def harness(self) -> TargetHarness:
        return FakeTargetHarness(Rules.LABELS)


@pytest.mark.parametrize("rules", list(Rules))
class TestFaults:
    """What a test plans is what a caller meets."""

    @pytest.fixture
    def backend(self, rules: Rules) -> FakeBackend:
        backend = FakeBackend(rules=rules)
        backend.place("a").overwrite("first")
        return backend

    @pytest.fixture
    def target(self, backend: FakeBackend) -> Target:
        return backend.target({"path": "a"})

    def test_lost_response_takes_effect(self, backend: FakeBackend, target: Target) -> None:
        """The caller sees `Transient`, the world has changed, and the same call again finds it so."""
        target.stage("new", SecretValue("second"))
        before = target.view().serving
        backend.faults.inject(Fault.LOST_RESPONSE, "promote")
        with pytest.raises(Transient):
            target.promote("new", expected=before, token="t")
        assert backend.place("a").readers_get() == "second"
        assert target.promote("new", expected=before, token="t") == target.view().serving

    def test_mark_with_a_lost_response_is_there(self, backend: FakeBackend, target: Target) -> None:
        """The caller sees `Transient`, the mark is written, and marking again is no error; a stale look lacks it."""
        backend.faults.inject(Fault.LOST_RESPONSE, "mark")
        with pytest.raises(Transient):
            target.mark("leaked")
        backend.faults.inject(Fault.STALE_READ, "view")
        assert target.view().marked == frozenset()
        target.mark("leaked")
        assert target.view().marked == {"leaked"}

    def test_lost_request_changes_nothing(self, backend: FakeBackend, target: Target) -> None:
        """The caller sees `Transient` and the world is as it was."""
        backend.faults.inject(Fault.LOST_REQUEST, "stage")
        with pytest.raises(Transient):
            target.stage("new", SecretValue("second"))
        assert target.view().copies == frozenset()

    def test_stale_read_shows_the_world_before_the_last_write(self, backend: FakeBackend, target: Target) -> None:
        """Only the planned look is stale, only looks are, and both our writes and others' count."""
        before = target.view()
        backend.faults.inject(Fault.STALE_READ)
        target.stage("new", SecretValue("second"))
        assert target.view() == before
        assert target.view().copies == {"new"}
        backend.place("a").overwrite("third")
        backend.faults.inject(Fault.STALE_READ, "read")
        assert target.read() == (before.serving, SecretValue("first"))
        assert target.read()[1].reveal() == "third"

    def test_faults_wait_for_their_method_and_are_counted(self, backend: FakeBackend, target: Target) -> None:
        """A fault meets the methods it names, as often as planned, and is on record."""
        backend.faults.inject(Fault.THROTTLED, "fetch", times=2)
        backend.faults.inject(Fault.DENIED, "remove", times=None)
        target.view()
        for _ in range(2):
            with pytest.raises(Throttled):
                target.fetch("new")
            with pytest.raises(Denied):
                target.remove("new")
        backend.faults.clear()
        target.remove("new")
        assert backend.faults.happened == [("fetch", Fault.THROTTLED), ("remove", Fault.DENIED)] * 2


class TestRules:
    """What the real backends insist on."""

    def test_kv_evicts_beyond_max_versions(self) -> None:
        """The oldest numbers go, whoever would still want them."""
        place = FakeBackend(max_versions=3).place("a")
        values = [new_value() for _ in range(5)]
        for value in values:
            place.overwrite(value)
        assert place.stored() == set(values[2:])

    def test_copy_that_a_hand_has_removed_is_staged_again(self) -> None:
        """The version still exists without its label, and a repeated put alone would put none on."""
        backend = FakeBackend(rules=Rules.LABELS)
        backend.place("a").overwrite("first")
        target = backend.target({"path": "a"})
        target.stage("copy", SecretValue("new"))
        target.remove("copy")
        target.stage("copy", SecretValue("new"))
        assert target.fetch("copy") == SecretValue("new")

    def test_used_token_with_another_value_is_refused(self) -> None:
        """AWS: a version's id is its token, and a version never changes."""
        place = LabelledPlace()
        place.overwrite("first")
        place.put("token", SecretValue("one"), "label")
        place.put("token", SecretValue("one"), "other")
        with pytest.raises(Conflict):
            place.put("token", SecretValue("two"), "label")

    def test_current_is_never_left_without_a_holder(self) -> None:
        """AWS: the label moves only, and only by naming who holds it; PREVIOUS follows it."""
        place = LabelledPlace()
        place.overwrite("first")
        serving = place.serving()
        assert serving is not None
        place.put("token", SecretValue("second"), "label")
        with pytest.raises(Invalid):
            place.take_off("CURRENT")
        with pytest.raises(Conflict):
            place.move("CURRENT", to="token", taken_from="token")
        place.move("CURRENT", to="token", taken_from=serving[0])
        place.move("CURRENT", to=serving[0], taken_from="token")
        assert place.readers_get() == "first"

    def test_unlabelled_versions_are_pruned(self) -> None:
        """AWS: what no label holds is taken away in time, and what one holds stays."""
        place = LabelledPlace(unlabelled_kept=1)
        values = [new_value() for _ in range(5)]
        place.overwrite(values[0])
        serving = place.serving()
        assert serving is not None
        place.keep("kept", serving[0])
        for value in values[1:]:
            place.overwrite(value)
        assert place.stored() == {values[0], *values[2:]}

    def test_foreign_label_is_seen(self) -> None:
        """A pending version of somebody else's shows with its id."""
        backend = FakeBackend(rules=Rules.LABELS)
        place = backend.place("a")
        assert isinstance(place, LabelledPlace)
        place.overwrite("first")
        place.add_foreign_label("AWSPENDING", "theirs")
        (foreign,) = backend.target({"path": "a"}).view().foreign
        assert foreign.id == "other-2"

    def test_room_for_marks_is_limited(self) -> None:
        """Beyond the room a mark is refused for good, while one that is there is still no error."""
        target = FakeBackend().target({"path": "a"})
        for number in range(50):
            target.mark(f"k{number}")
        target.mark("k0")
        with pytest.raises(Invalid, match="k50"):
            target.mark("k50")
        assert len(target.view().marked) == 50

    def test_token_outside_the_alphabet_is_invalid(self) -> None:
        """A caller that breaks the contract's own words hears it from the fake first."""
        target = FakeBackend().target({"path": "a"})
        for token in ("", "a/b", "a" * 101, "ä"):
            with pytest.raises(Invalid):
                target.stage(token, SecretValue("x"))
            with pytest.raises(Invalid):
                target.mark(token)
