"""Every kind of outside call, interrupted at every point: the process dies, a request or a response is lost. The world
ends as if nothing had happened (promise P5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pytest
from tests.unit.runtime.rig import NAME, Rig

from keyturn.domain import commands
from keyturn.domain.effects import EffectKind
from keyturn.domain.model import Rotation
from keyturn.domain.observations import Entry
from keyturn.domain.phases import Phase
from keyturn.ports.issuer import ValueOrigin
from keyturn.ports.records import Commit, IntentState, Outcome
from keyturn.stores.memory import MemoryStore
from keyturn.testing.fakes import Fault
from keyturn.testing.fakes.faults import Faults

T = TypeVar("T")


class KilledError(BaseException):
    """The process dies here: nothing catches it, nothing is cleaned up."""


@dataclass(frozen=True)
class Story:
    """A way through which calls of some kinds are made, to one end."""

    end: Phase
    kinds: tuple[EffectKind, ...]
    after: Phase | None = None
    word: Callable[[Rig], Callable[[Rotation], Rotation]] | None = None
    origin: ValueOrigin = ValueOrigin.KEYTURN


def _rolled_back(rig: Rig) -> Callable[[Rotation], Rotation]:
    del rig
    return partial(commands.roll_back, by="ada", why="test")


def _leaked(rig: Rig) -> Callable[[Rotation], Rotation]:
    return partial(commands.emergency, serial=1, by="ada", why="leaked", now=rig.clock.now(), cut_now=True)


STORIES = {
    "rotation": Story(
        end=Phase.COMPLETED,
        kinds=(
            EffectKind.KEEP,
            EffectKind.MINT,
            EffectKind.STAGE,
            EffectKind.INSTALL,
            EffectKind.PROMOTE,
            EffectKind.DISABLE,
            EffectKind.REVOKE,
            EffectKind.PROVE_DEAD,
            EffectKind.REMOVE,
        ),
    ),
    # With room for two keys, as an IAM user has.
    "issued": Story(
        end=Phase.COMPLETED,
        kinds=(EffectKind.MINT, EffectKind.STAGE, EffectKind.DISABLE, EffectKind.REVOKE),
        origin=ValueOrigin.AUTHORITY,
    ),
    "rollback": Story(
        end=Phase.ROLLED_BACK,
        kinds=(EffectKind.ENABLE, EffectKind.PROMOTE, EffectKind.DISABLE, EffectKind.REVOKE, EffectKind.REMOVE),
        after=Phase.RETIRE,
        word=_rolled_back,
    ),
    "emergency": Story(
        end=Phase.COMPLETED, kinds=(EffectKind.MARK, EffectKind.DISABLE), after=Phase.OVERLAP, word=_leaked
    ),
}
METHODS = {
    EffectKind.KEEP: ("keep",),
    EffectKind.MINT: ("mint", "stage"),
    EffectKind.STAGE: ("stage",),
    EffectKind.INSTALL: ("install",),
    EffectKind.PROMOTE: ("promote",),
    EffectKind.ENABLE: ("enable",),
    EffectKind.DISABLE: ("disable",),
    EffectKind.REVOKE: ("revoke",),
    EffectKind.PROVE_DEAD: ("probe",),
    EffectKind.REMOVE: ("remove",),
    EffectKind.MARK: ("mark",),
}
"""The calls of the ports that an effect is made of."""
SENDING = ("request lost", "response lost", "killed before sending", "killed after sending")
JOURNAL = ("killed after the intent", "killed before the outcome", "killed after the outcome")


class Interrupted:
    """A rig in which one call of one kind meets a trouble, once."""

    def __init__(self, kind: EffectKind, point: str, method: str, story: Story) -> None:
        self.kind, self.point, self.method, self.story = kind, point, method, story
        self.met = False
        self.armed = story.word is None
        self.running: EffectKind | None = None
        outer = self

        class Journal(MemoryStore):
            def commit(self, commit: Commit) -> Rotation:
                after = super().commit(commit)
                if any(one.kind is outer.kind for one in commit.intents):
                    outer.at("killed after the intent")
                return after

            def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
                ours = f"/{outer.kind}/" in effect_id
                if ours:
                    outer.at("killed before the outcome")
                super().record(effect_id, attempt, outcome)
                if ours:
                    outer.at("killed after the outcome")

        theirs = story.origin is ValueOrigin.AUTHORITY
        self.rig = Rig(open_store=lambda now: Journal(now=now), origin=story.origin, capacity=2 if theirs else None)
        for faults in (self.rig.backend.faults, self.rig.authority.faults):
            self._wrap(faults)

    def at(self, point: str) -> None:
        """Die, if it is here and now."""
        if point == self.point and self.armed and not self.met:
            self.met = True
            raise KilledError

    def _wrap(self, faults: Faults) -> None:
        plainly = faults.run

        def run(method: str, call: Callable[[], T], *, stale: Callable[[], T] | None = None) -> T:
            if method != self.method or not self.in_effect():
                return plainly(method, call, stale=stale)
            self.at("killed before sending")
            if self.armed and not self.met and self.point in ("request lost", "response lost"):
                self.met = True
                lost = Fault.LOST_REQUEST if self.point == "request lost" else Fault.LOST_RESPONSE
                faults.inject(lost, method)
            result = plainly(method, call, stale=stale)
            self.at("killed after sending")
            return result

        faults.run = run  # type: ignore[method-assign]

    def in_effect(self) -> bool:
        """Whether an intent of the kind is open: probes and stages are made for other reasons too."""
        return any(one.effect.kind is self.kind for one in self.rig.store.open_intents(NAME))

    def run(self) -> None:
        """The story to its end; whoever dies is started again."""
        rig = self.rig
        for _ in range(10):
            rig.second()
        rig.runtime.start(NAME, by="ada", why="test")
        if self.story.after is not None and self.story.word is not None:
            self._until(lambda rotation: rotation.phase is self.story.after)
            self.armed = True
            rig.runtime.command(NAME, self.story.word(rig), by="ada", what="a word")
        self._until(lambda rotation: rotation.phase is self.story.end)
        for _ in range(3):
            self._second()

    def _second(self) -> None:
        try:
            self.rig.second()
        except KilledError:
            self.rig.restart()

    def _until(self, done: Callable[[Rotation], bool]) -> None:
        for _ in range(200):
            rotation = self.rig.store.latest_of(NAME)
            if rotation is not None and done(rotation):
                return
            self._second()
        raise AssertionError(f"never: {self.rig.runtime.status(NAME)}")

    def world(self) -> Mapping[str, object]:
        """Everything outside, and what the journal holds of it. Keys go by their versions: one that no version knows keeps
        its name, and shows, unless it is revoked."""
        rig = self.rig
        rotation = rig.store.latest_of(NAME)
        assert rotation is not None
        serials = {version.key_id: f"v{serial}" for serial, version in rotation.versions.items()}
        places = [rig.backend.place(path) for path in rig.targets]
        return {
            "served": [serials.get((place.readers_get() or "").split("_")[1]) for place in places],
            "copies": [sorted(place.copies()) for place in places],
            "marks": [sorted(serials.get(key, key) for key in place.marked) for place in places],
            "tables": {
                name: {
                    serials.get(key, key): entry
                    for key, entry in node.entries().items()
                    if key in serials or entry is not Entry.REVOKED
                }
                for name, node in rig.authority.nodes.items()
            },
            "versions": {serial: version.state for serial, version in rotation.versions.items()},
            "refused": rig.refused if self.story.end is not Phase.ROLLED_BACK else None,
            "unknown": [one.effect.id for one in rig.store.open_intents(NAME)],
            "unfinished": [
                name
                for name, one in rig.store.journal(rotation.id).items()
                if one.outcome is None or one.outcome.state is IntentState.OPEN
            ],
        }


def cases() -> Iterator[object]:
    for name, story in STORIES.items():
        for kind in story.kinds:
            points = [(point, method) for method in METHODS[kind] for point in SENDING]
            points += [(point, "") for point in JOURNAL]
            for point, method in points:
                yield pytest.param(name, kind, point, method, id=f"{name}-{kind}-{method or 'journal'}-{point}")


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Mapping[str, object]]:
    """How each story ends when nothing goes wrong."""
    ends = {}
    for name, story in STORIES.items():
        calm = Interrupted(story.kinds[0], "never", "", story)
        calm.run()
        ends[name] = calm.world()
    return ends


@pytest.mark.parametrize(("story", "kind", "point", "method"), list(cases()))
def test_interrupted_call_leaves_the_world_as_if_it_were_not(
    story: str, kind: EffectKind, point: str, method: str, undisturbed: dict[str, Mapping[str, object]]
) -> None:
    """Same versions served and accepted, same marks, no copy left, nobody refused, and no intent without an outcome."""
    interrupted = Interrupted(kind, point, method, STORIES[story])
    interrupted.run()
    assert interrupted.met, "the trouble never came"
    assert interrupted.world() == undisturbed[story]
