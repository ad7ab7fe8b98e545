"""How long the old version must be silent."""

import math
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from keyturn.domain.evidence import UNSEEN_LIMIT, required_silence, unseen_share

DAY = 86400.0


def seeded(seed: int) -> np.random.Generator:
    sys.stdout.write(f"seed {seed}\n")
    return np.random.default_rng(seed)


def history(*gaps_in_days: float) -> list[float]:
    uses = [0.0]
    for gap in gaps_in_days:
        uses.append(uses[-1] + gap * DAY)
    return uses


def silence(*gaps_in_days: float, clients: int = 50, floor_days: float = 15) -> float:
    uses = history(*gaps_in_days)
    floor = timedelta(days=floor_days)
    answer = required_silence(uses, now=uses[-1] + 1, clients=clients, floor=floor)
    return answer / timedelta(days=1)


@pytest.mark.parametrize("uses", [[], [5.0], [5.0, 5.0, 5.0]])
def test_a_history_without_a_gap_asks_for_sixty_days(uses: list[float]) -> None:
    """No use, one use, or uses at one instant show no gap, so the answer is 60 days."""
    assert required_silence(uses, now=10, clients=1) == timedelta(days=60)


@pytest.mark.parametrize(
    ("gaps", "days"),
    [((1,), 14), ((14 / 3,), 14), ((5,), 15), ((7, 7), 21), ((0.01, 9), 27)],
)
def test_few_gaps_ask_for_three_times_the_largest(gaps: tuple[float, ...], days: float) -> None:
    """With one or two gaps the answer is three times the largest, but at least 14 days."""
    assert silence(*gaps, floor_days=1) == pytest.approx(days)


def test_a_regular_client_asks_for_twice_its_largest_gap() -> None:
    """A cron job (coefficient of variation up to 0.5) is judged by twice its largest gap."""
    assert silence(*[9.0] * 6) == pytest.approx(18)


def test_the_regular_row_holds_up_to_a_variation_of_one_half() -> None:
    """A coefficient of variation of exactly 0.5 still counts as regular, one above it does not."""
    assert silence(1, 3, 1, 3, floor_days=1) == pytest.approx(6)
    assert silence(1, 3.01, 1, 3.01, floor_days=1) > 12


def test_a_bursty_client_asks_for_twice_its_largest_gap() -> None:
    """A client of bursts (coefficient of variation above 1.25) is judged by its largest gap."""
    assert silence(*[0.1] * 20, 12, *[0.1] * 20, 12) == pytest.approx(24)


def test_a_poisson_like_client_asks_for_a_prediction_bound() -> None:
    """In between, the answer is the bound on the next gap at a risk of 0.01 over all clients."""
    gaps = [0.5, 1.0, 4.0] * 10
    expected = sum(gaps) * ((0.01 / 50) ** (-1 / 30) - 1)
    assert silence(*gaps, floor_days=1) == pytest.approx(expected)
    assert silence(*gaps, clients=500, floor_days=1) > expected


def test_a_poisson_like_client_never_gets_less_than_twice_its_largest_gap() -> None:
    """With very many gaps the bound falls below twice the largest gap, which then stands."""
    gaps = [0.02, 0.05, 0.2] * 2000 + [1.0]
    mean = sum(gaps) / len(gaps)
    variation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    assert 0.5 < variation <= 1.25
    assert silence(*gaps, floor_days=1) == pytest.approx(2)


@pytest.mark.parametrize(("scale", "days"), [(2, 60), (10, 3 * 40)])
def test_the_prediction_bound_is_capped(scale: float, days: float) -> None:
    """With few gaps the bound explodes, so 60 days or three times the largest gap is enough."""
    assert silence(0.5 * scale, scale, 4 * scale) == pytest.approx(days)


@pytest.mark.parametrize("floor_days", [8, 15, 62])
def test_the_floor_holds_in_every_row(floor_days: float) -> None:
    """No history, however busy or short, asks for less than the floor."""
    rows: tuple[tuple[float, ...], ...] = ((), (1,), (0.1,) * 90, (0.5, 2.0, 0.5) * 21)
    for gaps in rows:
        assert silence(*gaps, floor_days=floor_days) >= floor_days
    assert silence(*[0.5] * 180, floor_days=floor_days) == floor_days


def test_a_policy_may_lower_the_floor_and_the_first_two_rows() -> None:
    """With lower `floor`, `unseen` and `few` the rule works in seconds, as the demo needs it."""

    def quick(*uses: float) -> float:
        return required_silence(
            uses,
            now=100,
            clients=8,
            floor=timedelta(seconds=2),
            unseen=timedelta(seconds=9),
            few=timedelta(seconds=4),
        ).total_seconds()

    assert quick(1) == 9
    assert quick(1, 3) == 6
    assert quick(1, 2, 3) == 4
    assert quick(1, 2, 3, 4, 5) == 2


def test_the_open_stretch_since_the_last_use_is_no_gap() -> None:
    """How long ago the last use was does not change what silence is asked for."""
    uses = history(1, 1, 1, 1)
    near = required_silence(uses, now=uses[-1], clients=3)
    assert required_silence(uses, now=uses[-1] + 50 * DAY, clients=3) == near


@pytest.mark.parametrize(
    ("uses", "now", "message"),
    [
        ([2.0, 1.0], 3.0, r"ascend: 1\.0 s follows 2\.0 s"),
        ([1.0, 4.0], 3.0, r"4\.0 s is not in a history that ends at 3\.0 s"),
        ([math.nan], 3.0, "nan s is not in a history"),
        ([-math.inf], 3.0, "-inf s is not in a history"),
    ],
)
def test_a_history_that_cannot_be_is_refused(uses: list[float], now: float, message: str) -> None:
    """Uses out of order, after the history's end, or not finite raise an error naming them."""
    with pytest.raises(ValueError, match=message):
        required_silence(uses, now=now, clients=1)


def test_at_least_one_client_is_needed() -> None:
    """The risk cannot be divided among no clients."""
    with pytest.raises(ValueError, match="clients must be at least 1, not 0"):
        required_silence([1.0], now=2.0, clients=0)


def test_calls_that_come_together_are_one_session() -> None:
    """Fifteen calls in a minute are judged by the gaps between such minutes, not within them."""
    call = 4 / 86400
    once = [call] * 14
    assert silence(*once) == 60
    assert silence(*once, 30, *once) == pytest.approx(90)
    assert silence(*once, 20, *once, 30, *once, 25, *once) == pytest.approx(60)


def test_a_history_shorter_than_the_floor_shows_no_gap() -> None:
    """However busy it was, it cannot show that the client never pauses for the floor's length."""
    assert silence(*[0.5] * 29) == 60
    assert silence(*[0.5] * 30) == 15
    assert silence(*[0.02] * 749) == 60
    assert silence(*[0.02] * 751) == 15


def calls(rng: np.random.Generator, kind: str) -> list[float]:
    """Uses of one client from 30 or 90 days before second 0 to months after it."""
    hours, days = np.arange(-90 * 24, 120 * 24) * 3600.0, np.arange(-90, 120) * DAY
    weeks = np.arange(-14, 18) * 7 * DAY + rng.uniform(0, 7 * DAY)
    months = np.arange(-5, 6) * 30.44 * DAY + rng.uniform(0, 30.44 * DAY)
    uses: npt.NDArray[np.floating[Any]]
    match kind:
        case "hourly":
            uses = hours + rng.normal(0, 60, len(hours))
        case "daily":
            uses = days + rng.normal(0, 600, len(days))
        case "weekdays":
            uses = days[(days // DAY + rng.integers(7)) % 7 < 5]
        case "weekly":
            uses = weeks + rng.normal(0, 1800, len(weeks))
        case "every two days at random":
            uses = np.cumsum(rng.exponential(2 * DAY, 300)) - 100 * DAY
        case "bursts":
            starts = np.cumsum(rng.exponential(3 * DAY, 200)) - 100 * DAY
            uses = (starts[:, None] + rng.exponential(20, (200, 20)).cumsum(axis=1)).ravel()
        case "monthly":
            uses = months
        case _:
            count, span = {"in a minute": (15, 60.0), "in an hour": (200, 3600.0), "in a day": (40, DAY)}[kind]
            uses = (months[:, None] + rng.uniform(0, span, (len(months), count))).ravel()
    return [float(use) for use in np.sort(uses)]


KINDS = ["hourly", "daily", "weekdays", "weekly", "every two days at random", "bursts", "monthly"]
MONTHLY_BURSTS = ["in a minute", "in an hour", "in a day"]


@pytest.mark.parametrize("days", [30, 90])
@pytest.mark.parametrize("kind", [*KINDS, *MONTHLY_BURSTS, "weekly in hourly"])
def test_a_straggler_hardly_ever_meets_a_disabled_key(kind: str, days: int) -> None:
    """Clients of every rhythm return within the silence that their history asks for."""
    rng = seeded(11)
    late = 0
    for _ in range(600):
        uses = calls(rng, "weekly" if kind == "weekly in hourly" else kind)
        past = [use for use in uses if -days * DAY <= use < 0]
        if kind == "weekly in hourly":
            # The hourly traffic moves to the new version; the weekly job has yet to come.
            past = sorted([*past, *(-3600.0 * hour for hour in range(1, days * 24))])
        coming = next(use for use in uses if use >= 0)
        last = past[-1] if past else 0.0
        late += required_silence(past, now=0, clients=50).total_seconds() < coming - last
    assert late / 600 <= 0.005


@pytest.mark.parametrize("days", [30, 90])
def test_the_wait_stays_short_with_weekly_clients_present(days: int) -> None:
    """The longest silence of 50 hourly, daily, weekday and weekly clients has a median below 22 days."""
    rng = seeded(12)
    waits = []
    for _ in range(20):
        answers = [
            required_silence([use for use in calls(rng, kind) if -days * DAY <= use < 0], now=0, clients=50)
            for kind in (["hourly", "daily", "weekdays", "weekly", "weekly"] * 10)
        ]
        waits.append(max(answers) / timedelta(days=1))
    assert np.median(waits) <= 22


def test_the_chance_of_an_unseen_client_is_the_share_of_clients_seen_once() -> None:
    """Good-Turing: clients seen exactly once over all uses; without uses nothing is known."""
    assert unseen_share([1, 1, 8, 10]) == 0.1
    assert unseen_share([0, 5, 5]) == 0.0
    assert unseen_share([]) == 1.0
    assert unseen_share([1] * 2 + [49] * 2) < UNSEEN_LIMIT


def test_a_negative_number_of_uses_is_refused() -> None:
    """A client cannot have been seen less than never."""
    with pytest.raises(ValueError, match="-1 uses"):
        unseen_share([3, -1])
