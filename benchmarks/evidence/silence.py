"""How often a straggler still needs the old version when it is disabled, by the rhythm of its uses.

Each run is one client with a history of 30 or 90 days before second 0, and uses that go on after it. It is a straggler
whose next use of the old version is its next use at all, and it is late if the version has gone by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from keyturn.domain.evidence import required_silence

Times = npt.NDArray[np.floating]

DAY = 86400.0
HISTORIES = (30, 90)
CLIENTS = 50
LATE_BAR, WAIT_BAR = 0.005, 22.0
_FIRST, _LAST = -90, 150


def _every(days: float, jitter: float) -> Callable[[np.random.Generator], Times]:
    def times(rng: np.random.Generator) -> Times:
        regular: Times = np.arange(_FIRST - days, _LAST, days) * DAY + rng.uniform(0, days * DAY)
        regular += rng.normal(0, jitter, len(regular))
        return regular

    return times


def _at_random(days: float, calls: int = 1) -> Callable[[np.random.Generator], Times]:
    """Sessions at random with a mean gap in days, each of so many calls within minutes."""

    def times(rng: np.random.Generator) -> Times:
        # From three mean gaps before the history on, so that its start falls anywhere in a gap.
        starts = np.cumsum(rng.exponential(days * DAY, int(600 / days) + 60)) + (_FIRST - 3 * days) * DAY
        uses: Times = starts[:, None] + rng.exponential(20, (len(starts), calls)).cumsum(axis=1)
        return uses.ravel()

    return times


def _weekdays(rng: np.random.Generator) -> Times:
    days = np.arange(_FIRST, _LAST)
    return days[(days + rng.integers(7)) % 7 < 5] * DAY + 0.5 * DAY


def _monthly(calls: int, span: float) -> Callable[[np.random.Generator], Times]:
    def times(rng: np.random.Generator) -> Times:
        months = np.arange(-5, 6) * 30.44 * DAY + rng.uniform(0, 30.44 * DAY)
        return (months[:, None] + rng.uniform(0, span, (len(months), calls))).ravel()

    return times


KINDS: Mapping[str, Callable[[np.random.Generator], Times]] = MappingProxyType(
    {
        "hourly": _every(1 / 24, 60),
        "daily": _every(1, 600),
        "weekdays": _weekdays,
        "weekly": _every(7, 1800),
        "weekly, to the day": _every(7, 0.25 * DAY),
        "weekly in hourly traffic": _every(7, 1800),
        "every 2 days at random": _at_random(2),
        "bursts, every 3 days at random": _at_random(3, 20),
        "every 5 days at random": _at_random(5),
        "monthly": _monthly(1, 1.0),
        "monthly, 15 calls in a minute": _monthly(15, 60.0),
        "monthly, 200 calls in an hour": _monthly(200, 3600.0),
        "monthly, 40 calls in a day": _monthly(40, DAY),
    }
)
BEYOND: Mapping[str, Callable[[np.random.Generator], Times]] = MappingProxyType(
    {
        "bursts, every 10 days at random": _at_random(10, 20),
        "bursts, every 30 days at random": _at_random(30, 20),
    }
)
"""What no silence of bearable length makes safe, and no bar is set for."""


def one(kind: str, rng: np.random.Generator, days: int) -> tuple[timedelta, bool]:
    """The silence required of one straggler with a history of so many days, and whether it came too late."""
    uses = np.sort({**KINDS, **BEYOND}[kind](rng))
    past = uses[(uses >= -days * DAY) & (uses < 0)]
    coming = uses[uses >= 0][0]
    last = past[-1] if len(past) else 0.0
    if kind == "weekly in hourly traffic":
        # The hourly traffic has moved to the new version; the weekly job is yet to come.
        past = np.sort(np.concatenate([past, np.arange(1 - days * 24, 0) * 3600.0]))
    required = required_silence(past.tolist(), now=0, clients=CLIENTS)
    return required, required.total_seconds() < coming - last


def longest(rng: np.random.Generator, days: int) -> timedelta:
    """The silence awaited with weekly clients present: the longest of 50 clients'."""
    kinds = ["hourly", "daily", "weekdays", "weekly", "weekly"]
    return max(one(kinds[number % len(kinds)], rng, days)[0] for number in range(CLIENTS))


def table(runs: int, seed: int, *, chance: float = 0.0) -> tuple[list[Sequence[str]], bool]:
    """A line a kind: share late and median wait by history, and whether all bars hold, give or take so many standard
    deviations of what chance does in so few runs."""
    lines: list[Sequence[str]] = []
    held = True
    for number, kind in enumerate((*KINDS, *BEYOND)):
        cells = []
        for days in HISTORIES:
            rng = np.random.default_rng([seed, number, days])
            results = [one(kind, rng, days) for _ in range(runs)]
            late = sum(missed for _, missed in results) / runs
            wait = float(np.median([required / timedelta(days=1) for required, _ in results]))
            allowed = LATE_BAR + chance * (LATE_BAR * (1 - LATE_BAR) / runs) ** 0.5
            held &= late <= allowed or kind in BEYOND
            cells += [f"{late:.4f}", f"{wait:.1f} d"]
        lines.append((kind, *cells, "none" if kind in BEYOND else f"≤ {LATE_BAR}"))
    waits = []
    for days in HISTORIES:
        rng = np.random.default_rng([seed, days])
        waits.append(float(np.median([longest(rng, days) / timedelta(days=1) for _ in range(max(5, runs // 50))])))
    held &= max(waits) <= WAIT_BAR
    cells = [cell for wait in waits for cell in ("", f"{wait:.1f} d")]
    lines.append(("the longest of 50, weekly ones among them", *cells, f"≤ {WAIT_BAR:.0f} d"))
    return lines, held
