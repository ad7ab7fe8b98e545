"""The rules of `emergencies`, and on top of them stories that chance would hardly ever tell: several causes between one look
and the next, what comes again and again, calls that are denied for a while, standstills in which something is to be mended,
and ends that do not stay as they were left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.domain.emergencies import Emergencies
from tests.domain.findings import failing
from tests.domain.ground import Fate
from tests.domain.outlook import dead_stay_dead, stand_mended
from tests.domain.places import seconds
from tests.domain.promises import at_rest
from tests.domain.rotations import PHASES

from keyturn.domain.effects import EffectKind
from keyturn.domain.observations import Entry, Obstacle
from keyturn.domain.phases import Phase
from keyturn.domain.reasons import Reason


def _leaks(rotations: Emergencies, *, new: bool) -> None:
    rotations.version_is_leaked(new=new, grace=20, cut_now=False)


def _answered(rotations: Emergencies, *, adopt: bool) -> None:
    rotations.secret_overwritten(0, missing=False)
    rotations.tick(5, 1)
    rotations.operator_answers_a_hand(0, adopt=adopt)


CAUSES: Mapping[str, Callable[[Emergencies], object]] = {
    "the old leaks": partial(_leaks, new=False),
    "the new leaks": partial(_leaks, new=True),
    "it is abandoned": Emergencies.operator_abandons,
    "it is rolled back": Emergencies.operator_rolls_back,
    "it is paused": lambda told: told.operator_pauses(500),
    "the new fails": lambda told: told.detector_accuses(control=True, clients=1),
    "all fails": Emergencies.detector_sees_trouble,
    "the new is lost": lambda told: told.value_is_lost(new=True),
    "a hand writes": lambda told: told.secret_overwritten(0, missing=False),
    "a hand takes copies": lambda told: told.copies_stolen(0),
    "a hand changes a table": lambda told: told.table_loses_entry(1, new=True),
    "a hand's value is accepted": partial(_answered, adopt=True),
    "a hand's value is overwritten": partial(_answered, adopt=False),
    "an obstacle": lambda told: told.obstacle(there=True),
    "a late user": lambda told: told.world.add_client(every=70, refresh=None, holds=0),
    "a verifier joins": lambda told: told.world.join(),
    "it is forced": lambda told: told.operator_forces(final=False),
    "a target is away": lambda told: told.target_away(1, away=True),
    "a verifier is away": lambda told: told.verifier_away(1, away=True),
    "a listing fails": lambda told: told.listing_fails(0, unlisted=True),
    "a call is lost": lambda told: told.calls_go_wrong([Fate.LOST], 0),
}
"""What a rotation may be told between one look and the next."""
LIVE = precondition(lambda self: self.world.rotation is not None)
SOON = 12
"""Ticks of 5 s in which what can be mended is mended."""


class Interludes(Emergencies):
    """Rotations of one credential in which much happens at once."""

    @LIVE
    @rule()
    def every_new_version_fails(self) -> None:
        """One after another, since the old one has leaked: at last that is a person's matter, also when they fail no
        longer."""
        self.version_is_leaked(new=False, grace=60, cut_now=False)
        for _ in range(30):
            self.world.finding = failing(control=True)
            self.tick(10, 1)
            if self.world.rotation is None or self.world.rotation.halted is not None:
                break
        self.world.finding = None
        self.tick(5, 2)

    @LIVE
    @rule()
    def it_halts_before_a_late_user_comes(self) -> None:
        """As many new versions have failed as may; the last one fails where its forerunner is disabled already, and then
        somebody presents that."""
        self.version_is_leaked(new=False, grace=60, cut_now=False)
        for _ in range(100):
            rotation = self.world.rotation
            if rotation is None or len(rotation.failed) >= rotation.policy.maximum_remints:
                break
            self.world.finding = failing(control=True)
            self.tick(10, 1)
        self.world.finding = None
        self.on_to(Phase.RETIRE)
        self.tick(5, 2)
        rotation = self.world.rotation
        if rotation is None or rotation.phase is not Phase.RETIRE:
            return
        self.world.finding = failing(control=True)
        self.tick(5, 1)
        self.world.finding = None
        for serial in sorted(set(rotation.outgoing) & rotation.served - set(rotation.marks) - rotation.revoked)[:1]:
            self.world.add_client(every=70, refresh=None, holds=serial)
        self.tick(5, 3)

    @LIVE
    @rule()
    def it_retreats_too_often(self) -> None:
        """One client after another comes late with the old version; then somebody overwrites the secret."""
        rotation = self.world.rotation
        assert rotation is not None
        for _ in range(rotation.policy.maximum_retreats + 1):
            self.on_to(Phase.RETIRE)
            self.world.add_client(every=70, refresh=20, holds=rotation.outgoing[0])
            self.on_to(Phase.MONITOR)
        self.secret_overwritten(0, missing=False)
        self.tick(5, 2)

    @LIVE
    @rule(revoke=st.booleans(), away=st.booleans())
    def call_is_denied_for_a_while(self, revoke: bool, away: bool) -> None:
        """When it is allowed again, what was true when it was first decided may be so no longer."""
        rotation = self.world.rotation
        assert rotation is not None
        self.denied(EffectKind.REVOKE if revoke else EffectKind.DISABLE)
        self.on_to(Phase.DESTROY if revoke else Phase.RETIRE)
        self.tick(5, 2)
        old = rotation.outgoing[0]
        if away or revoke:
            self.target_away(0, away=True)
        elif all(verifier.always_accepts(old, self.world.now) for verifier in self.world.verifiers.values()):
            self.world.add_client(refresh=None, holds=old)
        self.tick(5, 2)
        self.world.denied.clear()
        self.operator_resumes()
        self.tick(5, 2)

    def on_to(self, phase: Phase) -> None:
        """Tick until the phase is reached, or for some minutes."""
        for _ in range(40):
            self.tick(5, 1)
            if self.world.rotation is None or self.world.rotation.phase is phase:
                break

    @LIVE
    @rule(first=st.sampled_from(list(CAUSES)), second=st.sampled_from(list(CAUSES)))
    def two_causes_speak(self, first: str, second: str) -> None:
        """Between one look and the next; one of them may be over again while the other lasts."""
        CAUSES[first](self)
        CAUSES[second](self)
        self.tick(5, 1)
        self.world.finding, self.world.obstacle = None, None
        self.world.put_back()
        self.tick(5, 1)

    @LIVE
    @rule(joins=st.booleans(), robbed=st.booleans(), returns=st.just(False))
    def it_is_mended_while_it_stands(self, joins: bool, robbed: bool, returns: bool) -> None:
        """Under a pause what was true is made so again: at a verifier that joins or comes back (which chance draws as a rule
        of its own), and at a target whose copies are gone."""
        self.operator_pauses(500)
        self.tick(5, 1)
        if joins:
            self.verifier_joins()
        if robbed:
            self.copies_stolen(1)
        if returns:
            self._older_image()
        dead_stay_dead(self.world)
        stand_mended(self.world)

    def _older_image(self) -> None:
        self.verifier_away(0, away=True)
        self.tick(5, 1)
        self.verifier_returns_stale(older=True)

    @LIVE
    @rule(back=st.booleans(), hand=st.booleans(), orphan=st.booleans(), joins=st.booleans())
    def its_end_is_kept(self, back: bool, hand: bool, orphan: bool, joins: bool) -> None:
        """Whatever comes after it is undone, also while a person is called for something else, and an orphan is told."""
        if back:
            self.operator_rolls_back()
        self.it_comes_to_its_end()
        ended = self.world.ended
        if self.world.rotation is not None or ended is None:
            return
        if hand:
            self.secret_overwritten(1, missing=False)
            self.tick(5, 2)
        if orphan:
            self.world.orphan = Obstacle(what="nobody can use", id="k9", since=None)
        self._older_image()
        made = set(ended.versions) & set(self.world.keys)
        if joins:
            self.world.join()
            for serial in made - {self.world.current.serial}:  # by a call of ours that comes late
                list(self.world.verifiers.values())[-1].table[serial] = Entry.ACTIVE
        self.world.targets["t0"].copies |= made
        self.tick(5, SOON)
        self.world.put_back()
        at_rest(self.world)
        told = self.world.ended.hold if self.world.ended is not None else None
        assert hand or not orphan or (told is not None and told.reason is Reason.ORPHAN), "nobody is told of an orphan"
        self.world.orphan = None

    @LIVE
    @rule()
    def its_way_back_is_overdue(self) -> None:
        """A target is away for longer than a rollback may take."""
        self.operator_rolls_back()
        self.target_away(1, away=True)
        self.tick(40, 20)
        self.target_away(1, away=False)

    @LIVE
    @rule()
    def it_is_needed_while_older_rules_go(self) -> None:
        """Somebody comes late with a version that not every held connection is refused with yet."""
        for verifier in self.world.verifiers.values():
            verifier.lag = seconds(120)
        self.on_to(Phase.RETIRE)
        rotation = self.world.rotation
        if rotation is not None and rotation.phase is Phase.RETIRE:
            self.world.add_client(every=70, refresh=20, holds=rotation.outgoing[0])
        self.on_to(Phase.MONITOR)

    @LIVE
    @rule()
    def nobody_sees_that_a_disable_was_lost(self) -> None:
        """Neither by its value nor in any listing."""
        self.world.fates = [Fate.FAILED]
        self.on_to(Phase.RETIRE)
        for target in self.world.targets.values():
            target.away = True
        for verifier in self.world.verifiers.values():
            verifier.unlisted = True
        self.tick(5, 3)
        self.world.heal()

    @LIVE
    @rule()
    def new_one_leaks_over_a_proven_death(self) -> None:
        """While a target is away, which alone still holds a copy of what is dead."""
        self.on_to(Phase.DESTROY)
        self.tick(5, 1)
        self.target_away(1, away=True)
        self.tick(5, 1)
        self.copies_stolen(0)
        if self.world.rotation is not None:
            self.version_is_leaked(new=True, grace=20, cut_now=False)
        self.tick(5, 2)
        self.target_away(1, away=False)

    @LIVE
    @rule()
    def what_is_out_of_sight_is_to_be_given_again(self) -> None:
        """A hand overwrites what readers of one target get, and the only other place of it is away: an operator may want it
        back all the same."""
        self.on_to(Phase.DESTROY)
        rotation, other = self.world.rotation, self.world.targets["t1"]
        if rotation is None or other.away or other.serial != rotation.survivor:
            return
        self.secret_overwritten(0, missing=False)
        self.copies_stolen(0)
        self.target_away(1, away=True)
        self.tick(5, 1)
        self.operator_answers_a_hand(0, adopt=False)
        after, given = self.world.rotation, self.world.targets["t0"]
        if after is not None and after.phase is Phase.DESTROY and given.taken_by_hand is not None and not given.away:
            assert "t0" in after.reasserted or after.marks, "P4: what is out of sight is taken for lost"
        self.target_away(1, away=False)

    @LIVE
    @rule()
    def it_is_forced_back_without_a_target(self) -> None:
        """Nobody was given the new version yet, and an operator's word stands in for a target that is away."""
        rotation = self.world.rotation
        assert rotation is not None
        for _ in range(SOON):
            if all(rotation.incoming in verifier.table for verifier in self.world.verifiers.values()):
                break
            self.tick(5, 1)
        self.target_away(0, away=True)
        self.operator_rolls_back()
        self.tick(5, 2)
        self.operator_forces(final=False)
        self.tick(10, 6)
        self.target_away(0, away=False)

    @LIVE
    @rule()
    def nobody_lists_what_is_lost(self) -> None:
        """The old value is lost, as somebody has signed, and one verifier says no more what it knows."""
        self.value_is_lost(new=False)
        self.tick(5, 1)
        self.operator_accepts_a_loss()
        self.listing_fails(1, unlisted=True)
        self.tick(10, 20)
        self.listing_fails(1, unlisted=False)

    @LIVE
    @rule(new=st.booleans())
    def mark_is_not_written(self, new: bool) -> None:
        """A backend that lets nobody write the mark keeps the last trace of what leaked."""
        self.denied(EffectKind.MARK)
        self.version_is_leaked(new=new, grace=0, cut_now=False)
        self.tick(10, 2 * SOON)
        self.world.denied.clear()
        self.operator_resumes()


def stories() -> None:
    """Each of the stories once, told in every phase where it can be."""
    flags = (False, True)
    for phase in PHASES:
        come_to(phase).every_new_version_fails()
        for joins, robbed, returns in product(flags, repeat=3):
            come_to(phase).it_is_mended_while_it_stands(joins, robbed, returns)
        _again(phase).it_is_mended_while_it_stands(False, False, True)
        for new in flags:
            come_to(phase).mark_is_not_written(new)
    for back, hand, orphan, joins in product(flags, repeat=4):
        _again(Phase.MONITOR).its_end_is_kept(back, hand, orphan, joins)
    for revoke, away in product(flags, repeat=2):
        come_to(Phase.MONITOR).call_is_denied_for_a_while(revoke, away)
    for story in (
        Interludes.it_is_needed_while_older_rules_go,
        Interludes.nobody_sees_that_a_disable_was_lost,
        Interludes.nobody_lists_what_is_lost,
        Interludes.new_one_leaks_over_a_proven_death,
        Interludes.what_is_out_of_sight_is_to_be_given_again,
    ):
        rotations = come_to(Phase.MONITOR)
        story(rotations)
        rotations.it_comes_to_its_end()
        assert rotations.world.rotation is None
    forced = come_to(Phase.INTRODUCE)
    forced.it_is_forced_back_without_a_target()
    forced.it_comes_to_its_end()
    overdue = come_to(Phase.MONITOR)
    overdue.its_way_back_is_overdue()
    overdue.it_comes_to_its_end()
    assert overdue.world.rotation is None, "P10: a rollback that is overdue waits for a word"
    come_to(Phase.MONITOR).it_halts_before_a_late_user_comes()
    retreating = come_to(Phase.MONITOR)
    retreating.it_retreats_too_often()
    rotation = retreating.world.rotation
    assert rotation is not None
    assert rotation.retreats > rotation.policy.maximum_retreats


def two_causes_each() -> None:
    """Every two causes at once, in every phase."""
    for phase, first, second in product(PHASES, CAUSES, CAUSES):
        come_to(phase).two_causes_speak(first, second)


def _again(phase: Phase) -> Interludes:
    """The next rotation, which remembers what the last one destroyed."""
    rotations = come_to(Phase.MONITOR)
    rotations.it_comes_to_its_end()
    rotations.world.start()
    rotations.on_to(phase)
    return rotations


def come_to(phase: Phase) -> Interludes:
    """A calm world, whose rotation has just come to a phase."""
    rotations = Interludes()
    rotations.clients_use_it(held=True, lag=0, laggard=None, phase=phase, event="nothing")
    if rotations.world.rotation is None:
        rotations.world.start()
    return rotations
