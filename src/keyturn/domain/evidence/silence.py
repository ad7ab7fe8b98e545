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
#: Gaps count as regular only if a client that comes at random shows as regular ones less often.
_CHANCE = 0.01

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
    and `few` the least with one gap or two alike. A policy may lower these three.

    Calls that come together are one session, and gaps are those between sessions: otherwise fifteen
    calls in the minute of a monthly job would pass for a busy client. Sessions lie more than
    1/360 of the floor apart. A history that spans less than the floor, however many its uses,
    cannot show a gap as long as that, and counts as one without a gap; one session that lasts as
    long as the floor is continuous use, for which the floor is enough.

    Few gaps may be alike by chance: they are a cron job's only if a client that comes at random
    would show such ones in less than 1 of 100 histories. The bound for one that does explodes with
    few gaps and is cut at `unseen`, or at three times the largest. So one whose mean gap is more
    than an eighth of `unseen` may still come back: after a silence of s, at a mean gap of g, with
    a chance of up to (1 + s/g)·exp(-s/g).

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
    total = math.fsum(gaps)
    mean = total / len(gaps)
    variation = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    regular = variation <= 0.5 and chance_of(variation, len(gaps)) <= _CHANCE
    if len(gaps) <= 2:
        return max(floor, few if regular or len(gaps) == 1 else unseen, timedelta(seconds=3 * largest))
    seconds = 2 * largest
    if not regular and variation <= 1.25:
        bound = total * math.expm1(-math.log(_RISK / clients) / len(gaps))
        seconds = min(max(seconds, bound), max(unseen.total_seconds(), 3 * largest))
    return max(floor, timedelta(seconds=seconds))


def chance_of(variation: float, gaps: int) -> float:
    """At most how likely exponential gaps show no more than this coefficient of variation.

    Divided by their sum such gaps are uniform on a simplex, on which the coefficient of variation
    is the distance from its centre; so this is a ball's volume over the simplex's. Exact while the
    ball lies within, up to 1/√(gaps - 1), and a bound beyond. (The statistic is Greenwood's, The
    statistical study of infectious diseases, Journal of the Royal Statistical Society 109, 1946.)
    """
    if variation == 0:
        return 0.0 if gaps > 1 else 1.0
    dimensions = gaps - 1
    radius = variation / math.sqrt(gaps)
    ball = dimensions / 2 * math.log(math.pi) + dimensions * math.log(radius) - math.lgamma(dimensions / 2 + 1)
    simplex = math.log(gaps) / 2 - math.lgamma(gaps)
    return math.exp(min(ball - simplex, 0.0))


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
