"""How much a source may send: an average with a burst, and so many batches at a time."""

from collections import Counter

import pytest
from tests.unit.api.house import House

from keyturn.api.meters import AT_A_TIME, BURST, Meter, Meters
from keyturn.api.problems import ApiProblem
from keyturn.config import load_config


def test_average_holds_over_any_time() -> None:
    """However the batches come, what is let in is the average with one burst before it and one batch beyond."""
    now = 100.0
    meter = Meter(10, lambda: now)
    taken = 0
    for _ in range(1000):
        if meter.wait() == 0:
            meter.charge(70)
            taken += 70
        now += 0.5
    assert 10 * 500 <= taken <= 10 * (500 + BURST) + 70


def test_wait_is_what_it_takes() -> None:
    """Exactly after the time told the next batch is let in, and not before."""
    now = 0.0
    meter = Meter(10, lambda: now)
    meter.charge(170)
    assert meter.wait() == pytest.approx(7)
    now = 6.9
    assert meter.wait() > 0
    now = 7.1
    assert meter.wait() == 0


def test_batches_at_a_time_are_limited(house: House) -> None:
    """Beyond so many under way the next is refused, until one of them ends, however it ends."""
    counts = Counter[tuple[str, str]]()
    meters = Meters(load_config(house.file), counts, lambda: 0.0)
    opened = [meters.admitted("pushed") for _ in range(AT_A_TIME)]
    for one in opened:
        one.__enter__()
    with pytest.raises(ApiProblem, match="at a time"), meters.admitted("pushed"):
        pass
    assert counts == {("pushed", "batches over the limit"): 1}
    with meters.admitted("other"):
        pass
    error = ValueError()
    assert not opened[0].__exit__(ValueError, error, None)
    with meters.admitted("pushed"):
        pass
