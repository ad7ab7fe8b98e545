"""An emergency does not wait for a target that is away: where the answer of its mint there was lost, the next target gets a
mint of its own, and the version has two values until one of them is on record. Readers get that one everywhere."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.runtime.rig import NAME, Rig
from tests.unit.runtime.test_adoption import sign_for_what_is_lost

from keyturn.domain.phases import Phase
from keyturn.ports.issuer import ValueOrigin
from keyturn.runtime.retries import AT_ONCE
from keyturn.testing.fakes import Fault


def minted_twice(origin: ValueOrigin, *, answered: bool) -> Rig:
    """A rig in which t0 and t1 hold another value each of the version to come."""
    rig = Rig(origin=origin)
    for _ in range(3):
        rig.second()
    rig.runtime.emergency(NAME, serial=1, by="ada", why="leaked", grace=timedelta(seconds=30), cut_now=False)
    faults = rig.backend.faults
    faults.inject(Fault.LOST_RESPONSE, "stage", times=1 if answered else 2)
    rig.until(lambda _: bool(faults.happened))
    faults.inject(Fault.THROTTLED, "view", times=AT_ONCE)
    rig.second()
    values = [
        copy.reveal()
        for path in rig.targets
        for token, copy in rig.backend.place(path).copies().items()
        if "v2" in token
    ]
    assert len(values) == len(set(values)) == 2
    return rig


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("origin", list(ValueOrigin))
def test_a_version_that_was_minted_twice_is_given_to_readers_as_one(origin: ValueOrigin, *, answered: bool) -> None:
    rig = minted_twice(origin, answered=answered)
    rig.until_phase(Phase.COMPLETED)
    given = {rig.backend.place(path).readers_get() for path in rig.targets}
    assert len(given) == 1
    assert all(node.accepts(value or "") for node in rig.authority.nodes.values() for value in given)
    assert rig.refused == {}
    assert not any(rig.backend.place(path).copies() for path in rig.targets)


def test_a_version_of_which_only_the_other_value_is_left_is_given_up() -> None:
    """The value that is on record is taken away by another's hand, and the one of the lost answer stands under its name:
    that is no copy of it, and another version is made."""
    rig = minted_twice(ValueOrigin.KEYTURN, answered=True)
    place = rig.backend.place("t1")
    for token in [token for token in place.copies() if "v2" in token]:
        place.remove(token, ())
    for _ in range(100):
        rig.second()
        sign_for_what_is_lost(rig)
    rotation = rig.until_phase(Phase.COMPLETED, seconds=1)
    assert rotation.incoming == 3
    (value,) = {rig.backend.place(path).readers_get() for path in rig.targets}
    assert all(node.accepts(value or "") for node in rig.authority.nodes.values())
    assert not any(rig.backend.place(path).copies() for path in rig.targets)
