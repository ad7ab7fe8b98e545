"""Tells whether the new version fails, from its failures and those of the old one beside it.

A negative-binomial mixture Shiryaev-Roberts e-process for each client and for all together. It may
be looked at after every bucket for as long as an overlap lasts: the probability that a healthy
rotation is ever rolled back stays below alpha.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from keyturn.domain.evidence import eprocess
from keyturn.domain.evidence.baseline import Baseline, learn
from keyturn.domain.evidence.blame import blame, confined
from keyturn.domain.evidence.buckets import (
    BLOCK_SECONDS,
    Bucket,
    Finding,
    Verdict,
    buckets_per_block,
)
from keyturn.domain.evidence.control import Control
from keyturn.domain.evidence.processes import STAKE, Processes
from keyturn.domain.evidence.series import (
    DEDUPLICATED,
    FIRST_CLIENT,
    NEWCOMER,
    POOLED,
    RAW,
    Floats,
    enrol,
    packed,
    tally,
    unpacked,
    widened,
)
from keyturn.domain.evidence.trouble import Trouble
from keyturn.domain.evidence.window import Window

#: A stream says nothing before it has this many failures on the new version.
_LEAST_FAILURES = 3.0 - 1e-9
_FORMAT = 4

_NONE_FAILED: Floats = np.zeros(2)

_RATE, _NULL = 0, 1
_NEW, _NEW_FAILED, _OLD, _OLD_FAILED = range(4)


class FailureDetector:
    """Watches one rotation, bucket by bucket; its state is a plain value.

    Make one with `from_baseline` or `from_state`.
    """

    def __init__(self, baseline: Baseline, *, planned_overlap: timedelta, alpha: float) -> None:
        """A detector that has seen nothing yet. Raises `ValueError` as `from_baseline` does."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
        if planned_overlap <= timedelta():
            raise ValueError(f"planned_overlap must be positive, not {planned_overlap}")
        self._alpha = alpha
        self._planned = max(1, math.ceil(planned_overlap.total_seconds() / baseline.block))
        self._baseline = baseline
        self._clients = {client: number for number, client in enumerate(baseline.clients)}
        self._laws = baseline.laws
        self._derive()
        series = baseline.laws.shape[2]
        self._processes = Processes.none(series)
        self._block: Floats = np.zeros((4, 2, series))
        self._control = Control.none(series)
        self._failed: Floats = np.zeros((2, series))
        self._window = Window.empty(len(self._clients))
        self._length = baseline.length
        self._anchor: float | None = None
        self._count = 0
        self._ill = 0.0
        self._calm = False
        self._trouble = Trouble.none(eprocess.ALTERNATIVES)

    @classmethod
    def from_baseline(
        cls, buckets: Iterable[Bucket], *, planned_overlap: timedelta, alpha: float = 0.01
    ) -> FailureDetector:
        """Learn what is normal, then watch a rotation that is to overlap for `planned_overlap`.

        `buckets` hold the traffic before the rotation in their old arms: at least 24 h, 3 days for
        an overlap of a week. With less, or none, a widened prior stands in and `shortfall` says so.
        `alpha` is the tolerated probability that a healthy rotation is ever rolled back; it is
        nominal, because the baseline is estimated.

        Raises `ValueError` when a bucket overlaps its predecessor, has another length than the
        first, or a length that does not divide 300 s, when `alpha` is not between 0 and 1, and
        when `planned_overlap` is not positive.
        """
        baseline = learn(buckets, planned_overlap=planned_overlap)
        return cls(baseline, planned_overlap=planned_overlap, alpha=alpha)

    @property
    def baseline_rate(self) -> float:
        """Failures per authentication of all clients, as learnt before the rotation."""
        return float(self._laws[_RATE, RAW, POOLED])

    @property
    def shortfall(self) -> str | None:
        """What the baseline lacks, so that a prior stands in for it; None when it is enough."""
        return self._baseline.shortfall

    def update(self, bucket: Bucket) -> Finding | None:
        """Take in the next bucket; say what all buckets so far amount to, if anything.

        Buckets ascend without gaps, an empty one included. A finding is returned after every
        bucket for which it holds, not only the first.

        Raises `ValueError`, naming the bucket and leaving the state as it was, when it is not the
        next one, has another length than those before, or a negative count.
        """
        anchor = self._place(bucket)
        clients = enrol(enrol(self._clients, bucket.new), bucket.old)
        arms = tally([(bucket.start, bucket.new), (bucket.start, bucket.old)], clients).reshape(4, 2, -1)
        # From here on nothing raises, so that a refused bucket leaves no trace.
        self._anchor, self._length = anchor, bucket.length
        self._admit(clients)
        any_failed = bool(arms[_NEW_FAILED::2, RAW].any())
        failed = arms[_NEW_FAILED].sum(axis=1) if any_failed else _NONE_FAILED
        self._add(arms, failed, any_failed)
        self._count += 1
        passed = (any_failed or bool(self._trouble.level.any())) and self._shared(arms)
        # Good requests alone take evidence away. So what was not enough in this block is not enough
        # now, and needs no look before the next failure.
        if self._calm and not failed[RAW] and self._count % buckets_per_block(bucket):
            return None
        return self._look(bucket, passed)

    def _place(self, bucket: Bucket) -> float:
        """Where the first bucket starts, after checking that this one is the next."""
        buckets_per_block(bucket)
        if self._length is not None and bucket.length != self._length:
            raise ValueError(f"bucket at {bucket.start} s: its length is not {self._length} s")
        if self._anchor is None:
            if not math.isfinite(bucket.start):
                raise ValueError(f"bucket at {bucket.start} s: its start is not finite")
            return bucket.start
        due = self._anchor + self._count * bucket.length
        if not abs(bucket.start - due) <= 1e-3 * bucket.length:
            raise ValueError(f"bucket at {bucket.start} s: out of order, {due} s is next")
        return self._anchor

    def _admit(self, clients: dict[str, int]) -> None:
        """Give each client that the baseline does not know a series with a newcomer's rates."""
        more = len(clients) - len(self._clients)
        self._clients = clients
        if not more:
            return
        newcomers = np.repeat(self._laws[:, :, NEWCOMER, None], more, axis=2)
        self._laws = np.concatenate([self._laws, newcomers], axis=2)
        self._derive()
        self._processes.admit(more)
        self._block = widened(self._block, more)
        self._control.admit(more)
        self._failed = widened(self._failed, more)
        self._window.admit(more)

    def _derive(self) -> None:
        """What follows from the laws alone."""
        rate = self._laws[_RATE]
        self._ratio = eprocess.alternatives(self._laws[_NULL])
        self._log_ratio: Floats = np.log(self._ratio)
        self._weight: Floats = rate[:, FIRST_CLIENT:] / rate[:, POOLED, None]

    def _add(self, arms: Floats, failed: Floats, any_failed: bool) -> None:
        """Add one bucket's counts to the block and the window, and start what is used first."""
        self._block[:, :, FIRST_CLIENT:] += arms
        self._window.add(arms[:, RAW])
        if failed[RAW]:
            self._block[_NEW_FAILED, :, POOLED] += failed
            self._failed[:, FIRST_CLIENT:] += arms[_NEW_FAILED]
            self._failed[:, POOLED] += failed
        if any_failed:
            self._compare(arms, failed)
        used = (arms[_NEW, RAW] > 0) > self._processes.started[FIRST_CLIENT:]
        if used.any():
            pooled = not self._processes.started[POOLED]
            self._processes.start(np.concatenate([[pooled, False], used]))

    def _compare(self, arms: Floats, failed: Floats) -> None:
        """Add to the block how one bucket's failures are split between the new version and the old."""
        heeded = ~eprocess.storming(self._block[_OLD_FAILED, :, FIRST_CLIENT:])
        rate = self._laws[_RATE, :, FIRST_CLIENT:]
        old, old_failed = np.vecdot(arms[_OLD] * rate, heeded), np.vecdot(arms[_OLD_FAILED], heeded)
        self._control.add(arms[_NEW] * rate, arms[_NEW_FAILED], failed, old, old_failed)

    def _shared(self, arms: Floats) -> bool:
        """Whether a trouble of both versions together has passed with this bucket."""
        old_failed = arms[_OLD_FAILED]
        failed = (arms[_NEW_FAILED] + old_failed * ~eprocess.storming(old_failed))[RAW].sum()
        _, null, excess, cv2 = self._laws[:, RAW, POOLED]
        average = np.vecdot(arms[_NEW, RAW] + arms[_OLD, RAW], self._weight[RAW])
        ratio, log_ratio = self._ratio[RAW, POOLED], self._log_ratio[RAW, POOLED]
        log = eprocess.log_ratios(average, failed, null, excess, cv2, ratio, log_ratio)
        # A CUSUM that rules at h errs once in e^h looks or less (Lorden, Annals of Mathematical
        # Statistics 42, 1971): at alpha squared an outage of a day is still one hold.
        return self._trouble.add(log, -2.0 * math.log(self._alpha))

    def _look(self, bucket: Bucket, passed: bool) -> Finding | None:
        """Weigh the block so far, and close it where it ends."""
        _, null, excess, cv2 = self._laws
        new, new_failed = self._block[_NEW].copy(), self._block[_NEW_FAILED]
        # The pooled series is in units of the average client: who happens to have moved first may
        # well be one that always failed more than others.
        new[:, POOLED] = np.vecdot(new[:, FIRST_CLIENT:], self._weight)
        logs = eprocess.log_ratios(new, new_failed, null, excess, cv2, self._ratio, self._log_ratio)
        processes = eprocess.bounded_exp(logs)
        processes *= self._processes.evidence
        evidence = eprocess.mixture(processes)
        heard = self._failed >= _LEAST_FAILURES
        ungated = self._together(evidence * heard)
        limit = 1.0 / self._alpha
        self._calm = bool(ungated < limit and not self._ill and self._count % buckets_per_block(bucket))
        if self._calm:
            # The control can only take evidence away.
            return None
        informative = self._control.informative()
        controls = self._processes.control * np.where(informative[:, None, None], self._control.ratios(), 1.0)
        allowed = np.where(informative[:, None], eprocess.mean(controls), np.inf)
        gated = np.minimum(evidence, allowed)
        total = self._together(gated * heard)
        ill = ungated if ungated >= limit > total else 0.0
        shares = blame((evidence if ill else gated) * heard, self._processes.cut)
        # Without a control, failures of all alike are as little the new version's as with one.
        alike = total >= limit and not (informative[RAW] or confined(shares.values(), len(self._clients)))
        passed = passed and bool(ill or self._ill or alike)
        finding: Finding | None = None
        if total >= limit and not (alike and passed):
            finding = self._finding("roll_back", total, shares, bucket, control=bool(informative[RAW]))
        elif (ill or self._ill) and not passed:
            finding = self._finding("authority_ill", max(ill, self._ill), shares, bucket, control=True)
        ends, block_ends = self._turn(bucket, ill)
        # A block ends early when the authority is ill, and when it is well again: what the control
        # explains away must be gone before the control is.
        if block_ends or passed or (ends and ill):
            left = np.minimum(gated, STAKE) if alike and passed else gated
            self._processes.fold(processes, controls, evidence, left)
            self._block[:] = 0.0
            self._control.clear()
        if block_ends or passed:
            self._processes.stake(self._planned)
        if passed:
            self._ill, self._trouble = 0.0, Trouble.none(eprocess.ALTERNATIVES)
        return finding

    def _turn(self, bucket: Bucket, ill: float) -> tuple[bool, bool]:
        """Whether 300 s end with this bucket, and whether a block does."""
        per_block = buckets_per_block(bucket)
        if self._count % per_block:
            return False, False
        # Where too few come to tell that a trouble has passed, 300 s without it are enough.
        self._ill = ill
        self._window.turn(per_block)
        return True, self._count // per_block * BLOCK_SECONDS % self._baseline.block == 0

    def _together(self, evidence: Floats) -> float:
        """One e-value: the mean of all clients', all together, and all clients' deduplicated."""
        clients = max(1, len(self._clients))
        each = evidence[:, FIRST_CLIENT:].sum(axis=1) / clients
        return float((each[RAW] + evidence[RAW, POOLED] + each[DEDUPLICATED]) / 3)

    def _finding(
        self, verdict: Verdict, e_value: float, shares: Mapping[int, float], bucket: Bucket, *, control: bool
    ) -> Finding:
        old_successes, old_failures, new_successes, new_failures = self._window.totals()
        until = bucket.start + bucket.length
        return Finding(
            verdict=verdict,
            e_value=e_value,
            culprits=self._window.culprits(self._clients, shares, self._laws[_NULL, RAW, FIRST_CLIENT:]),
            control=control,
            baseline_rate=self.baseline_rate,
            old_successes=old_successes,
            old_failures=old_failures,
            new_successes=new_successes,
            new_failures=new_failures,
            since=until - sum(self._window.buckets) * bucket.length,
            until=until,
        )

    def state(self) -> dict[str, Any]:
        """Plain, JSON-serialisable data from which `from_state` goes on; bounded in size."""
        return {
            "format": _FORMAT,
            "alpha": self._alpha,
            "planned_blocks": self._planned,
            "baseline": self._baseline.state(),
            "clients": list(self._clients),
            "length": self._length,
            "anchor": self._anchor,
            "count": self._count,
            "ill": self._ill,
            "trouble": self._trouble.state(),
            "processes": self._processes.state(),
            "block": packed(self._block),
            "split": packed(self._control.split),
            "exposed": packed(self._control.exposed),
            "window": self._window.state(),
            "failed": packed(self._failed),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FailureDetector:
        """The detector that `state` was taken from.

        Raises `ValueError` when the state was written in a format that this version does not read.
        """
        if state.get("format") != _FORMAT:
            raise ValueError(f"detector state of format {state.get('format')!r}, not {_FORMAT}")
        baseline = Baseline.from_state(state["baseline"])
        detector = cls(baseline, planned_overlap=timedelta(seconds=1), alpha=state["alpha"])
        detector._planned = state["planned_blocks"]
        detector._admit({client: number for number, client in enumerate(state["clients"])})
        detector._length, detector._anchor = state["length"], state["anchor"]
        detector._count = state["count"]
        detector._ill, detector._trouble = state["ill"], Trouble.from_state(state["trouble"])
        detector._processes = Processes.from_state(state["processes"])
        detector._block = unpacked(state["block"])
        detector._control = Control(unpacked(state["split"]), unpacked(state["exposed"]))
        detector._window = Window.from_state(state["window"])
        detector._failed = unpacked(state["failed"])
        return detector
