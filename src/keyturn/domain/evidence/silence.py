"""How long the old version must be silent before it counts as unused.

A client's silence is judged by its own history: a fixed number of days is too short for a weekly
job and too long for a busy one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

#: Above this chance that the next use is by an unknown client, retirement asks for acknowledgement.
UNSEEN_LIMIT = 0.05

#: Probability, over all clients, that a client with Poisson-like uses comes back after its silence.
_RISK = 0.01
_LONGEST_GUESS = timedelta(days=60).total_seconds()

#: Uses closer than this part of the floor (an hour of 15 days) are one session of the client.
_SESSION = 1 / 360


def required_silence(
    uses: Sequence[float],
    *,
    now: float,
    clients: int,
    floor: timedelta = timedelta(days=15),
    unseen: timedelta = timedelta(days=60),
    few: timedelta = timedelta(days=14),
) -> timedelta:
    """How long one client must not have used the old version, before that version may go.

    `uses` are the ascending times in seconds at which this client presented the version before the
    rotation, refused ones too; `now`, on the same clock, closes the history (the open stretch since
    the last use is no gap); `clients` is how many clients the credential has, among whom the risk
    of 0.01 is divided. `floor` is the least answer, `unseen` the answer to a history without a gap,
    and `few` the least with one or two gaps. A policy may lower these three.

    Calls that come together are one session, and gaps are those between sessions: otherwise fifteen
    calls in the minute of a monthly job would pass for a busy client. Sessions lie more than
    1/360 of the floor apart. A history that spans less than the floor, however many its uses,
    cannot show a gap as long as that, and counts as one without a gap; one session that lasts as
    long as the floor is continuous use, for which the floor is enough.

    Raises `ValueError` when the uses are not ascending finite numbers up to `now`, or when
    `clients` is less than 1.

    Source: EVIDENCE.md §3. The Poisson-like row is the (1 - δ) prediction bound for the next gap
    of an exponential sample, T(δ^(-1/m) - 1) (Lawless, Statistical Models and Methods for Lifetime
    Data, on prediction).
    """
    gaps = _gaps(uses, now)
    if clients < 1:
        raise ValueError(f"clients must be at least 1, not {clients}")
    if not gaps or uses[-1] - uses[0] < floor.total_seconds():
        return max(floor, unseen)
    gaps = [gap for gap in gaps if gap > _SESSION * floor.total_seconds()]
    if not gaps:
        return floor
    largest = max(gaps)
    if len(gaps) <= 2:
        return max(floor, few, timedelta(seconds=3 * largest))
    seconds = 2 * largest
    total = math.fsum(gaps)
    mean = total / len(gaps)
    variation = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    if 0.5 < variation <= 1.25:
        bound = total * math.expm1(-math.log(_RISK / clients) / len(gaps))
        # Few gaps make the bound explode; three times the largest gap is then evidence enough.
        seconds = min(max(seconds, bound), max(_LONGEST_GUESS, 3 * largest))
    return max(floor, timedelta(seconds=seconds))


def unseen_share(uses: Iterable[int]) -> float:
    """The chance (0 to 1) that the next use is by a client not seen yet.

    `uses` holds each client's number of uses in the history. Without any use nothing is known,
    and the chance is 1. Raises `ValueError` when a number is negative.

    Source: I. J. Good, The population frequencies of species, Biometrika 40 (1953): N₁/N.
    """
    total = once = 0
    for count in uses:
        if count < 0:
            raise ValueError(f"a client cannot have {count} uses")
        total += count
        once += count == 1
    return once / total if total else 1.0


def _gaps(uses: Sequence[float], now: float) -> list[float]:
    """The gaps between uses at different instants, in seconds."""
    gaps: list[float] = []
    previous: float | None = None
    for use in uses:
        if not math.isfinite(use) or use > now:
            raise ValueError(f"a use at {use} s is not in a history that ends at {now} s")
        if previous is not None and use < previous:
            raise ValueError(f"uses must ascend: {use} s follows {previous} s")
        if previous is not None and use > previous:
            gaps.append(use - previous)
        previous = use
    return gaps
