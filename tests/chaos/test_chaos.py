"""Real daemons among real parts, killed, put to sleep and cut off: the short forms of `make chaos`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.asleep import SLEEPS, play
from tests.chaos.house import House
from tests.chaos.kills import kill_through, sqlite_in
from tests.chaos.replicas import replicas
from tests.chaos.storm import weather

from keyturn.demo.processes import Family

pytestmark = pytest.mark.long

SECONDS = 240.0
"""A limit, on a machine however slow."""


@pytest.fixture
def family() -> Iterator[Family]:
    """Everything started through it is gone at the end of the test."""
    with Family() as parts:
        yield parts


def test_a_daemon_killed_at_writes_of_its_journal_goes_unnoticed(family: Family, tmp_path: Path) -> None:
    """SIGKILLed before, within and after writes and outside calls that a seed draws, a daemon ends its rotations as one that
    nobody kills: nobody refused, nothing orphaned, each change made once."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to be had again
    killed = kill_through(
        family,
        tmp_path,
        database=sqlite_in(tmp_path),
        seed=seed,
        share=0.1,
        cycles=1,
        seconds=SECONDS,
        say=print,
    )
    assert killed.broken == []
    assert killed.kills


@pytest.fixture
def two(family: Family, tmp_path: Path) -> Iterator[House]:
    """Two replicas on one PostgreSQL."""
    with replicas(family, tmp_path, count=2, credentials=2, nodes=2, busy=2) as house:
        yield house


@pytest.mark.parametrize("name", ["promote", "disable"])
def test_a_replica_that_slept_before_its_call_does_no_lasting_harm(name: str, two: House) -> None:
    """Stopped between its last look at the lease and the call, and woken when another has rolled back, a replica promotes
    nothing, and what it disables is accepted again."""
    subject, bystander = two.ground.secrets
    woken = play(two, subject, bystander, next(sleep for sleep in SLEEPS if sleep.name == name))
    assert woken.broken == []


def test_a_storm_over_three_replicas_leaves_every_rotation_well(family: Family, tmp_path: Path) -> None:
    """With replicas killed, paused, added and stopped, PostgreSQL and OpenBao restarted and connections cut, every rotation
    completes, every change is made once, and nothing waits for longer than a lease and two ticks once it is calm."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to be had again
    with replicas(family, tmp_path, count=3, authorities=2, credentials=5, nodes=1, busy=1, begin_after=20) as house:
        weathered = weather(house, seed=seed, seconds=SECONDS, say=print)
    assert weathered.broken == []
    assert weathered.faults.total() > 0
