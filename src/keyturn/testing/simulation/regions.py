"""One credential's place in one region's secret backend, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from keyturn.domain.secret_value import SecretValue
from keyturn.testing.fakes import KvPlace, LabelledPlace, Place
from keyturn.testing.fakes.backend import checked, copied
from keyturn.testing.simulation.replica import Replica

if TYPE_CHECKING:
    from keyturn.testing.simulation.world import Key, World


class Region:
    """A target: the storage behind it, its calls, and what the world remembers of it."""

    def __init__(self, world: World, name: str, credential: str, *, labelled: bool) -> None:
        self.world = world
        self.name = name
        self.credential = credential
        self.place: Place = LabelledPlace() if labelled else KvPlace(max_versions=1000)
        self.gave: dict[str, float] = {}
        """Each value that readers ever got, and until when (infinite: they get it now)."""
        self.first: dict[str, float] = {}
        """When readers got each value first."""
        self.since = 0.0
        """Since when readers get what they get now."""
        self.answered = -1000.0
        """When somebody's hand was last overwritten by keyturn."""
        self.promoted_at = 0.0
        """When keyturn last gave readers something: a grace runs from there, and no hand puts it off."""
        self.touched = False
        """Whether another's hand left something here that nobody has answered yet."""
        self.robbed: set[str] = set()
        """Copies that another's hand took away."""

    @property
    def value(self) -> str | None:
        """What readers get."""
        return self.place.readers_get()

    def holds(self, key: Key) -> bool:
        """Whether readers get a key's value, or a copy of it is kept here."""
        return self.value == key.value or any(copy.reveal() == key.value for copy in self.place.copies().values())

    def keep(self, token: str, *, serving: str) -> None:
        self.place.remember()
        self.place.keep(checked(token), serving)

    def stage(self, token: str, value: SecretValue) -> None:
        self.place.remember()
        self.place.stage(checked(token), value)
        self.world.staged(value.reveal())

    def mark(self, key_id: str) -> None:
        self.place.remember()
        self.place.mark(checked(key_id))

    def promoting(self, replica: Replica) -> Callable[..., str]:
        """The promote of one replica."""

        def promote(copy: str, *, expected: str | None, token: str) -> str:
            self.place.remember()
            before, serving = self.value, self.place.serving()
            made = self.place.promote(copied(self.place, copy), expected=expected, token=checked(token))
            if self.place.serving() != serving:  # the same call delivered again changes nothing
                self.promoted_at = self.world.timeline.now
            if self.value != before:
                self.given()
            found = serving and serving[0]
            if found not in (expected, made):
                self.world.promises.check(
                    [("P7", f"{self.name} is promoted over {found}, where {expected} was expected")]
                )
            self.world.promises.promoted(replica, self)
            return made

        return promote

    def removing(self, replica: Replica) -> Callable[..., None]:
        """The removal of a copy by one replica."""

        def remove(token: str, *, served: Collection[str] = ()) -> None:
            self.world.promises.removing(replica, self, token)
            self.place.remember()
            self.place.remove(checked(token), served)
            if self.world.landing_late or not replica.undisturbed:
                # A copy has one name for ever, so a removal that arrives a rotation late takes the next one's copy.
                self.robbed.add(token)

        return remove

    def given(self) -> None:
        """Readers get something else from now on."""
        now = self.world.timeline.now
        self.since = now
        for value, until in self.gave.items():
            if until == float("inf"):
                self.gave[value] = now
        if self.value is not None:
            self.gave[self.value] = float("inf")
            self.first.setdefault(self.value, now)
