"""How long the old version must be silent."""

import math
from datetime import timedelta

import numpy as np
import pytest
from benchmarks.evidence.silence import HISTORIES, KINDS, LATE_BAR, WAIT_BAR, longest, one
from tests.unit.evidence.seeds import seeded

from keyturn.domain.evidence import UNSEEN_LIMIT, required_silence, unseen_share
from keyturn.domain.evidence.silence import chance_of

DAY = 86400.0


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
    [((1,), 14), ((14 / 3,), 14), ((5,), 15), ((7, 7), 21), ((8.99, 9), 27)],
)
def test_few_gaps_ask_for_three_times_the_largest(gaps: tuple[float, ...], days: float) -> None:
    """With one gap, or two alike, the answer is three times the largest, but at least 14 days."""
    assert silence(*gaps, floor_days=1) == pytest.approx(days)


def test_a_regular_client_asks_for_twice_its_largest_gap() -> None:
    """A cron job (coefficient of variation up to 0.5) is judged by twice its largest gap."""
    assert silence(*[9.0] * 6) == pytest.approx(18)


def test_the_regular_row_holds_up_to_a_variation_of_one_half() -> None:
    """Where gaps are many, a coefficient of variation of exactly 0.5 is still regular, one above it is not."""
    assert silence(*[1, 3] * 10, floor_days=1) == pytest.approx(6)
    assert silence(*[1, 3.01] * 10, floor_days=1) > 12


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
    assert silence(*once, 20, *once, 30, *once, 25, *once) == pytest.approx(90)


def test_a_history_shorter_than_the_floor_shows_no_gap() -> None:
    """However busy it was, it cannot show that the client never pauses for the floor's length."""
    assert silence(*[0.5] * 29) == 60
    assert silence(*[0.5] * 30) == 15
    assert silence(*[0.02] * 749) == 60
    assert silence(*[0.02] * 751) == 15


@pytest.mark.parametrize("gaps", [2, 3, 4, 8])
@pytest.mark.parametrize("variation", [0.1, 0.25, 0.5])
def test_the_chance_that_random_gaps_look_regular_is_bounded(gaps: int, variation: float) -> None:
    """Of histories of exponential gaps, no more than the stated share vary as little."""
    drawn = seeded().exponential(size=(20000, gaps))
    share = float(np.mean(drawn.std(axis=1) / drawn.mean(axis=1) <= variation))
    bound = chance_of(variation, gaps)
    assert share <= bound + 5 * math.sqrt(bound / 20000) + 1e-4
    # Within the simplex the volume is exact.
    if variation <= 1 / math.sqrt(gaps - 1):
        assert share >= bound - 5 * math.sqrt(bound / 20000) - 1e-4


def test_three_gaps_that_only_happen_to_be_alike_count_as_random() -> None:
    """A few gaps of one week pass for a weekly job, a few of some two weeks do not."""
    assert silence(7, 7.01, 7.02, floor_days=1) == pytest.approx(14.04)
    assert silence(12, 15, 18) == 60
    assert silence(12, 15, 18, 13, 17, 15, 14) == pytest.approx(36)


def test_two_gaps_that_differ_ask_for_as_much_as_none() -> None:
    """Two gaps alike are a rhythm; two that differ say hardly more than a client never seen before."""
    assert silence(9, 9.01) == pytest.approx(27.03)
    assert silence(9, 11) == 60
    assert silence(9, 25) == 75


@pytest.mark.parametrize("days", HISTORIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_straggler_hardly_ever_meets_a_disabled_key(kind: str, days: int) -> None:
    """Clients of every rhythm return within the silence that their history asks for."""
    # Where only a jitter varies, a few runs show all that many would.
    runs = 60 if kind in {"hourly", "daily", "weekdays"} else 600
    rng = seeded(11)
    assert sum(one(kind, rng, days)[1] for _ in range(runs)) / runs <= LATE_BAR


@pytest.mark.parametrize("days", HISTORIES)
def test_the_wait_stays_short_with_weekly_clients_present(days: int) -> None:
    """The longest silence of 50 hourly, daily, weekday and weekly clients has a median below 22 days."""
    rng = seeded(12)
    assert np.median([longest(rng, days) / timedelta(days=1) for _ in range(7)]) <= WAIT_BAR


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
