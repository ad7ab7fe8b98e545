"""The rules of `rotations`, and on top of them reports of compromised versions, hands that are answered, losses that are
accepted, and rotations that are given up and taken over."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.domain.places import seconds
from tests.domain.rotations import INDEX, PHASES, Rotations

from keyturn.domain import commands


class Emergencies(Rotations):
    """Rotations of one credential in which versions leak and operators answer."""

    @rule(new=st.booleans(), grace=st.sampled_from([0, 20, 60]), cut_now=st.booleans())
    def version_is_leaked(self, new: bool, grace: int, cut_now: bool) -> None:
        """Where no rotation lives, the report begins one."""
        self.world.start()
        rotation = self.world.rotation
        assert rotation is not None
        serial = rotation.incoming if new else rotation.outgoing[0]
        told = {"grace": seconds(grace), "cut_now": cut_now, "now": self.world.now}
        self._command(commands.emergency, serial=serial, by="ada", why="leaked", **told)

    @precondition(lambda self: self.world.rotation is not None and len(self.world.rotation.outgoing) > 1)
    @rule(index=INDEX, cut_now=st.booleans())
    def earlier_version_is_leaked(self, index: int, cut_now: bool) -> None:
        """One of those that a rotation took over with."""
        assert self.world.rotation is not None
        earlier = self.world.rotation.outgoing[1:]
        told = {"grace": seconds(20), "cut_now": cut_now, "now": self.world.now, "by": "ada", "why": "leaked"}
        self._command(commands.emergency, serial=earlier[index % len(earlier)], **told)

    @precondition(lambda self: self.world.rotation is not None)
    @rule(index=INDEX)
    def everything_is_leaked(self, index: int) -> None:
        """Nothing is left to go back to, and another rotation takes over; but for one that nobody has reported yet."""
        told = {"grace": seconds(20), "cut_now": False, "now": self.world.now, "by": "ada", "why": "leaked"}
        assert self.world.rotation is not None
        serials = sorted(self.world.rotation.versions)
        for serial in serials[:-1] if index == 3 else serials:
            self._command(commands.emergency, serial=serial, **told)
        self.tick(5, 2)

    @precondition(lambda self: self.world.rotation is not None)
    @rule()
    def it_comes_to_its_end(self) -> None:
        """Without the faults so far; but what a frozen worker still holds, it holds."""
        self.world.heal()
        for _ in range(60):
            self.tick(10, 1)
            if self.world.rotation is None:
                break

    @rule(spare=st.integers(0, 1))
    def authority_is_full(self, spare: int) -> None:
        """It takes so many keys more than it has, and no other."""
        self.world.room = len(self.world.listed()) + spare

    @precondition(lambda self: self.world.room is not None)
    @rule()
    def authority_has_room(self) -> None:
        self.world.room = None

    @rule(new=st.booleans())
    def value_is_lost(self, new: bool) -> None:
        rotation = self.world.rotation
        if rotation is not None:
            self.world.lose_value(rotation.incoming if new else rotation.outgoing[0])

    @rule(index=INDEX, new=st.booleans())
    def hand_gives_another_of_ours(self, index: int, new: bool) -> None:
        rotation, names = self.world.rotation, sorted(self.world.targets)
        if rotation is not None:
            serial = rotation.incoming if new else rotation.outgoing[0]
            self.world.give(self.world.targets[names[index % len(names)]], serial)

    @rule()
    def operator_abandons(self) -> None:
        self._command(commands.abandon, by="ada", why="in vain")

    @rule(index=INDEX, adopt=st.booleans())
    def operator_answers_a_hand(self, index: int, adopt: bool) -> None:
        names = sorted(self.world.targets)
        name = names[index % len(names)]
        if self.world.rotation is not None:
            change = commands.accept if adopt else commands.reassert
            found, seen = self.world.targets[name].id or "", self.world.observe()
            self._command(change, seen=seen, target=name, found=found, by="ada", why="looked")

    @rule()
    def operator_accepts_a_loss(self) -> None:
        rotation = self.world.rotation
        if rotation is not None:
            seen = self.world.observe()
            self._command(commands.accept_lost, seen=seen, serial=rotation.outgoing[0], by="ada", why="known")


def one_report_each() -> None:
    """A report on the old version, the new one, or both, alone, in every phase, with and without grace and lag."""
    reports = ((False,), (True,), (False, True), (True, False))
    for phase, leaked, (grace, cut_now), lag in product(PHASES, reports, ((0, False), (20, False), (60, True)), (0, 8)):
        rotations = Emergencies()
        rotations.clients_use_it(held=True, lag=lag, laggard=None, phase=phase, event="nothing")
        for new in leaked:
            rotations.version_is_leaked(new=new, grace=grace, cut_now=cut_now)
        rotations.tick(5, 2)
        rotations.outlook()
