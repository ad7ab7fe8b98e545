"""The rules of `rotations`, and on top of them reports of compromised versions, hands that are answered, losses that are
accepted, and rotations that are given up and taken over."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.domain.places import seconds
from tests.domain.rotations import INDEX, Rotations

from keyturn.domain import commands


class Emergencies(Rotations):
    """Rotations of one credential in which versions leak and operators answer."""

    @rule(new=st.booleans(), grace=st.sampled_from([0, 20, 60]), cut_now=st.booleans())
    def version_is_leaked(self, new: bool, grace: int, cut_now: bool) -> None:
        rotation = self.world.rotation
        if rotation is not None:
            serial = rotation.incoming if new else rotation.outgoing[0]
            told = {"grace": seconds(grace), "cut_now": cut_now, "now": self.world.now}
            self._command(commands.emergency, serial=serial, by="ada", why="leaked", **told)

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
