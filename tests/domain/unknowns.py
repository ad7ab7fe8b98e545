"""Everything that may be unknown, in every phase, under every word of an operator: no chance about it (promise P4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from tests.domain.interludes import Interludes, come_to
from tests.domain.places import seconds
from tests.domain.rotations import PHASES
from tests.domain.world import World


def one_target(world: World) -> None:
    """The first."""
    world.targets["t0"].away = True


def all_targets(world: World) -> None:
    """Nobody can read anything."""
    for target in world.targets.values():
        target.away = True


def one_copy(world: World) -> None:
    """The target with the only copy of the new version."""
    one_target(world)
    world.targets["t1"].copies.discard(1)
    world.robbed.add("t1")


def one_verifier(world: World) -> None:
    """It answers nobody."""
    world.set_away(world.verifiers["g0"], True)


def all_verifiers(world: World) -> None:
    """None answers."""
    for verifier in world.verifiers.values():
        world.set_away(verifier, True)


def listings(world: World) -> None:
    """They answer, and nobody can ask the authority what they hold."""
    for verifier in world.verifiers.values():
        verifier.unlisted = True


def older_rules(world: World) -> None:
    """Connections held open meet other rules for two minutes."""
    for verifier in world.verifiers.values():
        verifier.lag = seconds(120)


def failures(world: World) -> None:
    """The only source that sees them is mute."""
    world.sources["gateway"].down = world.sources["gateway"].mute = True


def uses(world: World) -> None:
    """All sources are mute."""
    for source in world.sources.values():
        source.down = source.mute = True


def late(world: World) -> None:
    """The sources are minutes behind."""
    for source in world.sources.values():
        source.lag = seconds(200)


def one_ear(world: World) -> None:
    """Of two sources that see failures one is mute."""
    reports = world.sources["reports"]
    reports.sees_failures = reports.down = reports.mute = True


def young_source(world: World) -> None:
    """One has never told anything."""
    world.since = None


def no_verifier(world: World) -> None:
    """The authority names none."""
    world.verifiers.clear()


def values_and_rules(world: World) -> None:
    """Nobody can try anything, and connections held open may meet other rules."""
    older_rules(world)
    all_targets(world)


UNKNOWN: Sequence[Callable[[World], None]] = (
    *(one_target, all_targets, one_copy, one_verifier, all_verifiers, no_verifier, listings, older_rules),
    *(values_and_rules, failures, one_ear, uses, young_source, late),
)
WORDS: Mapping[str, Callable[[Interludes], None]] = {
    "nothing": lambda _: None,
    "roll back": lambda rotations: rotations.operator_rolls_back(),
    "force": lambda rotations: rotations.operator_forces(final=False),
    "emergency": lambda rotations: rotations.version_is_leaked(new=False, grace=20, cut_now=False),
    "the new leaks": lambda rotations: rotations.version_is_leaked(new=True, grace=0, cut_now=False),
    "it fails": lambda rotations: rotations.detector_accuses(control=True, clients=1),
    "it fails alone": lambda rotations: rotations.detector_accuses(control=False, clients=1),
    "reassert": lambda rotations: rotations.operator_answers_a_hand(0, adopt=False),
}


def unknown_each() -> None:
    """Before a word and after it, as long as a phase may take; and then the ways on are open."""
    for phase, unknown, word, first in product(PHASES, UNKNOWN, WORDS, (False, True)):
        rotations = come_to(phase)
        if word == "reassert":
            rotations.secret_overwritten(0, missing=True)
            rotations.tick(5, 1)
        if first:
            unknown(rotations.world)
            rotations.tick(5, 1)
        WORDS[word](rotations)
        if not first:
            rotations.tick(5, 1)
            unknown(rotations.world)
        rotations.tick(5, 2)
        if word == "roll back":
            rotations.operator_forces(final=False)
        rotations.tick(10, 6)
        if unknown is not no_verifier:
            rotations.world.heal()
            rotations.tick(10, 3)
