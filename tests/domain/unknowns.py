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


def before_any_rules(world: World) -> None:
    """Connections held open at a verifier meet rules from before there was any version."""
    verifier = world.verifiers["g0"]
    verifier.older = [(world.now + seconds(120), {})]
    verifier.excused |= set(world.keys)


def values_and_earliest_rules(world: World) -> None:
    """The same, and nobody can try anything."""
    before_any_rules(world)
    all_targets(world)


def values_and_listings(world: World) -> None:
    """Nobody can try anything, nor ask the authority what it holds."""
    listings(world)
    all_targets(world)


def room_and_listings(world: World) -> None:
    """The authority is full, and does not say of what."""
    world.room = len(world.listed())
    listings(world)


def room_and_one_target(world: World) -> None:
    """The authority is full, and a target away."""
    world.room = len(world.listed())
    one_target(world)


def uses_alone(world: World) -> None:
    """The source that sees no failures is mute."""
    world.sources["reports"].down = world.sources["reports"].mute = True


def failures_at_all(world: World) -> None:
    """No source sees any."""
    world.sources["gateway"].sees_failures = False


UNKNOWN: Sequence[Callable[[World], None]] = (
    *(one_target, all_targets, one_copy, one_verifier, all_verifiers, no_verifier, listings, older_rules),
    *(values_and_rules, before_any_rules, values_and_earliest_rules, values_and_listings, room_and_listings),
    *(room_and_one_target, failures, failures_at_all, one_ear, uses, uses_alone, young_source, late),
)


def both_leak(rotations: Interludes) -> None:
    """At once, so that nothing that readers get may stay."""
    for new in (False, True):
        rotations.version_is_leaked(new=new, grace=20, cut_now=False)


def accept_in_haste(rotations: Interludes) -> None:
    """Since what readers had has leaked."""
    rotations.version_is_leaked(new=False, grace=20, cut_now=False)
    rotations.operator_answers_a_hand(0, adopt=True)


WORDS: Mapping[str, Callable[[Interludes], None]] = {
    "nothing": lambda _: None,
    "roll back": lambda rotations: rotations.operator_rolls_back(),
    "force": lambda rotations: rotations.operator_forces(final=False),
    "emergency": lambda rotations: rotations.version_is_leaked(new=False, grace=20, cut_now=False),
    "the new leaks": lambda rotations: rotations.version_is_leaked(new=True, grace=0, cut_now=False),
    "it fails": lambda rotations: rotations.detector_accuses(control=True, clients=1),
    "it fails alone": lambda rotations: rotations.detector_accuses(control=False, clients=1),
    "both leak": both_leak,
    "reassert": lambda rotations: rotations.operator_answers_a_hand(0, adopt=False),
    "accept": lambda rotations: rotations.operator_answers_a_hand(0, adopt=True),
    "accept in haste": accept_in_haste,
}
HANDS = ("reassert", "accept", "accept in haste")
"""Answers to what another's hand has put at the first target, or taken from it."""


def unknown_each() -> None:
    """Before a word and after it, as long as a phase may take; and then the ways on are open."""
    for phase, unknown, word in product(PHASES, UNKNOWN, WORDS):
        for looks, first in ((0, True), (1, True), (0, False)):
            rotations = come_to(phase)
            if word in HANDS:
                rotations.secret_overwritten(0, missing=word == "reassert")
                rotations.tick(5, 1)
            rotations.tick(5, looks)
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
            rotations.tick(15, 6)
            if unknown is not no_verifier:
                rotations.world.heal()
                rotations.tick(10, 3)
