"""The failure detector: what it accepts, returns, and keeps."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from tests.unit.evidence.seeds import seeded

from keyturn.domain.evidence import Bucket, Culprit, FailureDetector, Finding, series
from keyturn.domain.evidence.buckets import Arm

DAY = timedelta(days=1)


def fresh(overlap: timedelta = DAY, alpha: float = 0.01) -> FailureDetector:
    return FailureDetector.from_baseline([], planned_overlap=overlap, alpha=alpha)


def healthy(clients: int = 5, requests: int = 10) -> dict[str, tuple[int, int]]:
    return {f"client-{number}": (requests, 0) for number in range(clients)}


def failing(clients: int = 5, requests: int = 40, *, bad: int = 1) -> dict[str, tuple[int, int]]:
    return {f"client-{k}": (0, requests) if k < bad else (requests, 0) for k in range(clients)}


def quiet_baseline(hours: float) -> Iterator[Bucket]:
    rng = seeded(5)
    count = round(hours * 60)
    failures = rng.binomial(10, 0.001, size=(count, 5))
    for number in range(count):
        old = {f"client-{k}": (10 - int(f), int(f)) for k, f in enumerate(failures[number])}
        yield Bucket((number - count) * 60.0, 60.0, old, {})


def feed(
    detector: FailureDetector, news: Sequence[Arm], old: Arm | None = None, first: int = 0
) -> list[Finding | None]:
    starts = (10.0 * (first + number) for number in range(len(news)))
    buckets = (Bucket(start, 10.0, old or {}, new) for start, new in zip(starts, news, strict=True))
    return [detector.update(bucket) for bucket in buckets]


def test_buckets_and_findings_are_frozen_values() -> None:
    """A bucket takes its fields by position or name, compares by value and cannot be changed."""
    bucket = Bucket(0.0, 10.0, {"a": (1, 0)}, {})
    assert bucket == Bucket(start=0.0, length=10.0, old={"a": (1, 0)}, new={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        bucket.start = 1.0  # type: ignore[misc]
    assert not hasattr(bucket, "__dict__")


def test_a_failing_client_is_named_with_the_evidence() -> None:
    """A finding says who fails, how often, against which baseline, and how strong it is."""
    detector = fresh()
    old = {"client-9": (100, 1)}
    findings = feed(detector, [failing()], old)
    (finding,) = findings
    assert finding is not None
    assert finding.verdict == "roll_back"
    assert finding.e_value >= 100
    assert finding.culprits == (Culprit("client-0", 0, 40, 1.0),)
    assert finding.control
    assert finding.baseline_rate == detector.baseline_rate == 0.002
    assert (finding.old_successes, finding.old_failures) == (100, 1)
    assert (finding.new_successes, finding.new_failures) == (160, 40)
    assert (finding.since, finding.until) == (0.0, 10.0)


def test_culprits_come_in_the_order_of_their_share() -> None:
    """The client with the most evidence of its own comes first, equal ones by name."""
    new = {"b": (0, 40), "a": (0, 40), "worst": (0, 80), "fine": (500, 1)}
    (finding,) = feed(fresh(), [new])
    assert finding is not None
    assert [culprit.client for culprit in finding.culprits] == ["worst", "a", "b"]
    assert sum(culprit.share for culprit in finding.culprits) == pytest.approx(1)


def test_healthy_traffic_gives_no_finding() -> None:
    """As long as nobody fails, every update returns None."""
    assert feed(fresh(), [healthy()] * 100, healthy()) == [None] * 100


def test_two_failures_are_not_evidence() -> None:
    """A stream says nothing before its third failure, however unlikely the first two were."""
    assert feed(fresh(alpha=0.5), [{"a": (0, 1)}, {"a": (0, 1)}]) == [None, None]
    (finding,) = feed(fresh(alpha=0.5), [{"a": (0, 8)}])
    assert finding is not None


def test_updates_go_on_after_a_finding_and_it_passes() -> None:
    """A finding returns while it holds, and no longer once enough good traffic has followed."""
    detector = fresh()
    findings = feed(detector, [failing()] * 3 + [healthy()] * 600)
    assert all(findings[:3])
    assert findings[-1] is None
    assert feed(detector, [failing()] * 3, first=603)[-1] is not None


def test_counts_cover_the_latest_half_to_whole_hour() -> None:
    """A finding counts what happened lately, not since the rotation's start."""
    detector = fresh()
    feed(detector, [healthy()] * 1000)
    findings = feed(detector, [failing(requests=10)] * 12, first=1000)
    finding = findings[-1]
    assert finding is not None
    assert finding.until == 10120.0
    assert 1800 <= finding.until - finding.since <= 3600
    assert finding.new_failures == 120
    assert finding.new_successes + finding.new_failures == (finding.until - finding.since) * 5
    assert finding.culprits[0].client == "client-0"


def test_without_old_traffic_a_finding_says_it_had_no_control() -> None:
    """With the old version silent nothing tells an outage from a failing version: control=False."""
    (finding,) = feed(fresh(), [failing()])
    assert finding is not None
    assert finding.verdict == "roll_back"
    assert not finding.control


def test_old_and_new_failing_alike_is_the_authority_not_the_version() -> None:
    """A common outage with old traffic beside it is authority_ill, while it lasts and not after."""
    detector = fresh()
    sick = {"old-1": (5, 5), "old-2": (5, 5), "old-3": (5, 5)}
    feed(detector, [healthy()] * 60, {"old-1": (10, 0), "old-2": (10, 0), "old-3": (10, 0)})
    new: Arm = {f"client-{number}": (5, 5) for number in range(5)}
    during = feed(detector, [new] * 60, sick, first=60)
    assert {finding.verdict for finding in during if finding} == {"authority_ill"}
    assert all(during[5:])
    assert all(finding.control for finding in during if finding)
    after = feed(detector, [healthy()] * 120, {"old-1": (10, 0)}, first=120)
    assert {finding.verdict for finding in after if finding} <= {"authority_ill"}
    assert after[60:] == [None] * 60


def test_an_outage_explained_once_does_not_count_when_the_old_falls_silent() -> None:
    """Evidence that the control explained away is gone, so moving on after an outage is safe."""
    detector = fresh()
    sick: Arm = {f"old-{number}": (5, 5) for number in range(4)}
    new: Arm = {f"client-{number}": (5, 5) for number in range(5)}
    feed(detector, [new] * 30, sick)
    later = feed(detector, [healthy()] * 200, first=30)
    assert not any(finding and finding.verdict == "roll_back" for finding in later)


def test_one_client_storming_on_the_old_key_hides_nothing() -> None:
    """Failures of one old client alone are left out of the control, and the finding stands."""
    old = {"old-1": (10, 0), "old-2": (10, 0), "storm": (0, 900)}
    (finding,) = feed(fresh(), [failing()], old)
    assert finding is not None
    assert finding.verdict == "roll_back"


def test_laggards_refused_on_the_disabled_version_are_left_out() -> None:
    """Refusals that keyturn caused neither fire nor hide a failing client once left out."""
    laggards: Arm = {f"late-{number}": (0, 10) for number in range(5)}
    bucket = Bucket(0.0, 10.0, laggards, failing())
    hidden = fresh().update(bucket)
    assert hidden is None or hidden.verdict == "authority_ill"
    finding = fresh().update(bucket.without_old())
    assert finding is not None
    assert finding.verdict == "roll_back"
    assert fresh().update(Bucket(0.0, 10.0, laggards, healthy()).without_old()) is None


def test_too_little_old_traffic_is_no_control() -> None:
    """Below a twentieth of the expected failures the old arm's failures excuse nothing."""
    old = {"old-1": (0, 2), "old-2": (0, 2)}
    new: Arm = {f"client-{number}": (0, 40) for number in range(5)}
    (finding,) = feed(fresh(), [new], old)
    assert finding is not None
    assert (finding.verdict, finding.control) == ("roll_back", False)


def test_a_retry_storm_is_one_failure_in_the_deduplicated_stream() -> None:
    """A bucket counts once there, whether it holds one failed request or a thousand."""
    detector = fresh()
    feed(detector, [{"a": (0, 1000)}, {"a": (0, 1)}])
    failed = series.unpacked(detector.state()["failed"])
    assert failed[:, series.FIRST_CLIENT].tolist() == [1001.0, 2.0]


def test_who_moves_first_does_not_make_the_pooled_stream_fail() -> None:
    """A client that always failed more than others may move first without a rollback."""
    rng = seeded(3)

    def arm(rates: dict[str, float]) -> dict[str, tuple[int, int]]:
        failures = {client: int(rng.binomial(100, rate)) for client, rate in rates.items()}
        return {client: (100 - count, count) for client, count in failures.items()}

    rates = {"poor": 0.08} | {f"good-{number}": 0.001 for number in range(9)}
    past = [Bucket((number - 1440) * 60.0, 60.0, arm(rates), {}) for number in range(1440)]
    detector = FailureDetector.from_baseline(past, planned_overlap=DAY)
    rest = {client: rate for client, rate in rates.items() if client != "poor"}
    for number in range(240):
        bucket = Bucket(number * 60.0, 60.0, arm(rest), arm({"poor": 0.08}))
        assert detector.update(bucket) is None


@pytest.mark.parametrize("length", [7.0, 0.0, -10.0, 600.0, math.nan, math.inf])
def test_a_length_that_does_not_divide_300_is_refused(length: float) -> None:
    """Such a bucket raises an error that names it, in the baseline and in the rotation."""
    bucket = Bucket(40.0, length, {}, {})
    with pytest.raises(ValueError, match=r"bucket at 40\.0 s: .* does not divide 300 s"):
        fresh().update(bucket)
    with pytest.raises(ValueError, match=r"bucket at 40\.0 s"):
        FailureDetector.from_baseline([bucket], planned_overlap=DAY)


@pytest.mark.parametrize("start", [0.0, 20.0, -10.0, 11.0, math.nan])
def test_a_bucket_out_of_order_is_refused_and_leaves_no_trace(start: float) -> None:
    """A repeat, a gap, a step back or a shift raises an error; the right bucket then goes on."""
    detector = fresh()
    detector.update(Bucket(0.0, 10.0, {}, healthy()))
    before = detector.state()
    with pytest.raises(ValueError, match=r"bucket at .* s: out of order, 10\.0 s is next"):
        detector.update(Bucket(start, 10.0, {}, {"stranger": (1, 0)}))
    assert detector.state() == before
    assert detector.update(Bucket(10.0, 10.0, {}, {})) is None


def test_a_first_bucket_without_a_finite_start_is_refused() -> None:
    """Nothing could follow it in order."""
    with pytest.raises(ValueError, match="its start is not finite"):
        fresh().update(Bucket(math.nan, 10.0, {}, {}))


def test_the_first_bucket_may_lie_across_the_rotation_start() -> None:
    """Buckets keep the clock's grid, so the first may begin before second 0."""
    detector = fresh()
    assert detector.update(Bucket(-3.7, 10.0, {}, {})) is None
    assert detector.update(Bucket(6.3, 10.0, {}, {})) is None


def test_the_length_stays_what_it_was() -> None:
    """Another length than the baseline's, or the first bucket's, raises an error naming it."""
    detector = FailureDetector.from_baseline(quiet_baseline(1), planned_overlap=DAY)
    with pytest.raises(ValueError, match=r"bucket at 0\.0 s: its length is not 60\.0 s"):
        detector.update(Bucket(0.0, 10.0, {}, {}))
    detector = fresh()
    detector.update(Bucket(0.0, 10.0, {}, {}))
    with pytest.raises(ValueError, match=r"bucket at 10\.0 s: its length is not 10\.0 s"):
        detector.update(Bucket(10.0, 60.0, {}, {}))


def test_negative_counts_are_refused_and_leave_no_trace() -> None:
    """A count below zero raises an error that names the bucket, whichever arm it is in."""
    detector = fresh()
    before = detector.state()
    with pytest.raises(ValueError, match=r"bucket at 0\.0 s: a count is negative"):
        detector.update(Bucket(0.0, 10.0, {"a": (1, -1)}, healthy()))
    assert detector.state() == before


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    """The tolerated probability lies strictly between 0 and 1."""
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        fresh(alpha=alpha)


def test_an_overlap_must_last() -> None:
    """An overlap of no time is refused."""
    with pytest.raises(ValueError, match="planned_overlap must be positive"):
        fresh(timedelta(0))


def test_the_baseline_must_ascend_in_one_length() -> None:
    """Overlapping or differently long baseline buckets raise an error that names them."""
    twice = [Bucket(-60.0, 10.0, {}, {}), Bucket(-60.0, 10.0, {}, {})]
    with pytest.raises(ValueError, match=r"bucket at -60\.0 s: out of order"):
        FailureDetector.from_baseline(twice, planned_overlap=DAY)
    mixed = [Bucket(-60.0, 10.0, {}, {}), Bucket(-50.0, 1.0, {}, {})]
    with pytest.raises(ValueError, match=r"bucket at -50\.0 s: its length is not 10\.0 s"):
        FailureDetector.from_baseline(mixed, planned_overlap=DAY)


def test_a_hole_in_the_baseline_is_allowed() -> None:
    """A source that was down for some hours leaves a baseline that can still be learnt from."""
    buckets = [b for b in quiet_baseline(26) if not -40000 < b.start < -30000]
    detector = FailureDetector.from_baseline(buckets, planned_overlap=DAY)
    assert detector.shortfall is None
    assert detector.baseline_rate == pytest.approx(0.001, rel=0.5)


def test_a_client_may_come_late_in_the_baseline() -> None:
    """A client that was first seen within a block is learnt from there on."""
    past = [Bucket(n * 60.0, 60.0, {"early": (10, 0)}, {}) for n in range(-1440, 0)]
    past[-2:] = [Bucket(n * 60.0, 60.0, {"early": (10, 0), "late": (9, 1)}, {}) for n in (-2, -1)]
    detector = FailureDetector.from_baseline(past, planned_overlap=DAY)
    assert detector.state()["clients"] == ["early", "late"]


@pytest.mark.parametrize(
    ("hours", "overlap_days", "says"),
    [
        (0, 1, "no baseline"),
        (2, 1, "covers 2.0 h of the 24 h"),
        (24, 7, "covers 24.0 h of the 72 h"),
        (24, 1, None),
        (24, 2, None),
        (72, 30, None),
    ],
)
def test_a_short_baseline_says_so(hours: float, overlap_days: float, says: str | None) -> None:
    """Less than a day, or than three days for an overlap of a week, is reported as a shortfall."""
    overlap = timedelta(days=overlap_days)
    detector = FailureDetector.from_baseline(quiet_baseline(hours), planned_overlap=overlap)
    if says is None:
        assert detector.shortfall is None
    else:
        assert detector.shortfall is not None
        assert says in detector.shortfall


def test_an_empty_day_is_no_baseline() -> None:
    """A day of buckets in which nobody came teaches nothing."""
    idle = [Bucket(number * 60.0, 60.0, {}, {}) for number in range(-1440, 0)]
    detector = FailureDetector.from_baseline(idle, planned_overlap=DAY)
    assert detector.shortfall is not None
    assert "no baseline" in detector.shortfall


def test_of_a_long_history_the_latest_week_counts() -> None:
    """What was learnt follows the last seven days, so the state and the memory stay bounded."""
    old = [Bucket((n - 4032) * 300.0, 300.0, {"a": (50, 50)}, {}) for n in range(2016)]
    new = [Bucket((n - 2016) * 300.0, 300.0, {"a": (100, 0)}, {}) for n in range(2016)]
    detector = FailureDetector.from_baseline(old + new, planned_overlap=DAY)
    assert detector.baseline_rate < 0.001


def test_rates_that_wander_are_judged_in_longer_blocks() -> None:
    """When a block tells of its neighbour, blocks grow until they do not, up to four hours."""

    def block_for(period: float, swing: float) -> int:
        rng = seeded(8)
        buckets = []
        for number in range(-3 * 1440, 0):
            phase = math.sin(number * 60 * math.tau / period)
            failures = rng.binomial(200, 0.05 * (1 + swing * math.copysign(1.0, phase)), 5)
            old = {f"c{k}": (200 - int(f), int(f)) for k, f in enumerate(failures)}
            buckets.append(Bucket(number * 60.0, 60.0, old, {}))
        detector = FailureDetector.from_baseline(buckets, planned_overlap=DAY)
        block = detector.state()["baseline"]["block"]
        assert isinstance(block, int)
        return block

    assert block_for(1, 0.0) == 300
    assert 300 < block_for(3600, 0.8) < 14400
    assert block_for(86400, 0.8) == 14400


def test_a_long_block_ends_early_when_the_authority_is_ill() -> None:
    """Even where blocks last four hours, a hold ends minutes after the outage has."""
    rng = seeded(9)
    past = []
    for number in range(-1440, 0):
        rate = 0.005 * (1 + 0.8 * math.sin(number / 1440 * math.tau))
        old = {f"c{k}": (200 - int(f), int(f)) for k, f in enumerate(rng.binomial(200, rate, 5))}
        past.append(Bucket(number * 60.0, 60.0, old, {}))
    detector = FailureDetector.from_baseline(past, planned_overlap=DAY)
    assert detector.state()["baseline"]["block"] == 14400

    def minutes(first: int, count: int, failures: int) -> list[Finding | None]:
        arm = (200 - failures, failures)
        old = {"c0": arm, "c1": arm, "c2": arm}
        new = {"c3": arm, "c4": arm}
        starts = (60.0 * number for number in range(first, first + count))
        return [detector.update(Bucket(start, 60.0, old, new)) for start in starts]

    assert not any(minutes(0, 33, 1))
    during = minutes(33, 20, 150)
    assert {finding.verdict for finding in during if finding} == {"authority_ill"}
    assert all(during[10:])
    assert minutes(53, 60, 1)[15:] == [None] * 45


def test_watching_goes_on_long_after_the_planned_overlap() -> None:
    """A client that starts to fail at ten times the planned overlap is still found."""
    detector = fresh(timedelta(minutes=10))
    assert feed(detector, [healthy()] * 600) == [None] * 600
    assert any(feed(detector, [failing()] * 5, first=600))


def scenario() -> list[Bucket]:
    rng = seeded(21)
    buckets = []
    for number in range(90):
        new = {}
        for client in rng.permutation(6):
            rate = 0.5 if client == 2 and number > 70 else 0.01
            failed = int(rng.binomial(10, rate))
            new[f"client-{client}"] = (10 - failed, failed)
        old = {"client-7": (9, int(rng.integers(0, 2)))} if number % 3 else {}
        buckets.append(Bucket(number * 10.0, 10.0, old, new))
    return buckets


def test_the_state_goes_through_json_at_any_bucket() -> None:
    """Written and read back after every bucket, the detector ends as one that never stopped."""
    straight = fresh()
    expected = [straight.update(bucket) for bucket in scenario()]
    broken = fresh()
    got = []
    for bucket in scenario():
        broken = FailureDetector.from_state(json.loads(json.dumps(broken.state(), allow_nan=False)))
        got.append(broken.update(bucket))
    assert any(expected)
    assert got == expected
    assert broken.state() == straight.state()


def test_the_state_keeps_what_was_learnt() -> None:
    """A detector with a baseline, too, is the same after a round trip."""
    detector = FailureDetector.from_baseline(quiet_baseline(3), planned_overlap=3 * DAY, alpha=0.1)
    again = FailureDetector.from_state(detector.state())
    assert again.state() == detector.state()
    assert again.shortfall == detector.shortfall


def test_the_order_within_a_bucket_does_not_matter() -> None:
    """The same counts in mappings of another order give the same state."""
    one, other = fresh(), fresh()
    for bucket in scenario():
        turned = dict(reversed(list(bucket.new.items())))
        first = one.update(bucket)
        assert other.update(Bucket(bucket.start, bucket.length, bucket.old, turned)) == first
    assert one.state() == other.state()


def test_a_state_of_another_format_is_refused() -> None:
    """What a later version wrote is not guessed at."""
    with pytest.raises(ValueError, match="format 99, not 4"):
        FailureDetector.from_state(fresh().state() | {"format": 99})


def test_made_up_client_names_do_not_make_the_state_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of clients all further ones are watched as one, and still found."""
    monkeypatch.setattr(series, "MOST_CLIENTS", 20)
    detector = fresh()
    for number in range(50):
        new = {f"name-{number}-{k}": (5, 0) for k in range(10)}
        assert detector.update(Bucket(number * 10.0, 10.0, {}, new)) is None
    assert len(detector.state()["clients"]) == 21
    finding = detector.update(Bucket(500.0, 10.0, {}, {f"x-{k}": (0, 200) for k in range(3)}))
    assert finding is not None
    assert finding.culprits[0] == Culprit(series.OTHERS, finding.culprits[0].successes, 600, 1.0)


def test_a_bucket_that_is_only_counted_hides_nothing() -> None:
    """Looking at every bucket, and only where a failure or a block's end is, gives the same word and state."""
    rng = seeded()
    lazy, eager = fresh(), fresh()
    skipped = 0
    for number in range(400):
        sick = 0.6 if 150 < number < 165 or number > 380 else 0.004
        new, old = (
            {name: (10 - bad, bad) for name, bad in zip(names, rng.binomial(10, sick, 4).tolist(), strict=True)}
            for names in (["a", "b", "c", "d"], ["e", "f", "g", "h"])
        )
        bucket = Bucket(number * 10.0, 10.0, old if number < 300 else {}, new)
        eager._calm = False
        skipped += lazy._calm
        assert lazy.update(bucket) == eager.update(bucket)
        assert lazy.state() == eager.state()
    assert skipped > 100


def test_overwhelming_evidence_stays_a_finite_number() -> None:
    """Millions of failures, for hours, neither overflow nor stop the detector."""
    detector = fresh()
    findings = feed(detector, [failing(requests=10**7, bad=5)] * 100)
    assert all(finding is not None and math.isfinite(finding.e_value) for finding in findings)
    json.dumps(detector.state(), allow_nan=False)
