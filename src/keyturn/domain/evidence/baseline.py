"""What is normal before a rotation: failure rates and how much they vary.

A quiet or missing baseline is no special case: the prior is a pseudo-baseline of
`PRIOR_FAILURES` at `PRIOR_RATE`, which a day of real traffic outweighs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from keyturn.domain.evidence.buckets import BLOCK_SECONDS, Arm, Bucket, buckets_per_block
from keyturn.domain.evidence.series import DEDUPLICATED, RAW, Floats, enrol, packed, tally, unpacked
from keyturn.domain.evidence.variance import PRIOR_CV2, PRIOR_EXCESS, PRIOR_RATE, Stream

#: A history is bounded: older blocks are dropped (seven days).
_MOST_BLOCKS = 7 * 86400 // BLOCK_SECONDS
_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """What was learnt: per stream (row) and series (column), see the module's head.

    `laws` stacks four of them, unpacked as `rate, null, excess, cv2`: `rate` is the expected and
    `null` the still tolerated number of failures per trial; a block's count F with tolerated mean μ
    varies as Var F = μ + excess·μ + cv2·μ². `block` is the length in seconds over which counts may
    be taken as independent. `length` is the buckets' length in seconds, None when there were none.
    `shortfall` says what the baseline lacks, None if nothing.
    """

    clients: tuple[str, ...]
    length: float | None
    block: int
    laws: Floats
    shortfall: str | None

    def state(self) -> dict[str, Any]:
        """Plain, JSON-serialisable data from which `from_state` makes an equal baseline."""
        return {
            "clients": list(self.clients),
            "length": self.length,
            "block": self.block,
            "laws": packed(self.laws),
            "shortfall": self.shortfall,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Baseline:
        """The baseline that `state` was taken from."""
        return cls(
            clients=tuple(state["clients"]),
            length=state["length"],
            block=state["block"],
            laws=unpacked(state["laws"]),
            shortfall=state["shortfall"],
        )


def learn(buckets: Iterable[Bucket], *, planned_overlap: timedelta) -> Baseline:
    """Learn from the old version's traffic before a rotation.

    Buckets ascend and have one length; a hole in the data is allowed, and of a longer history the
    latest seven days count. With less than 24 h (3 days for an overlap of a week) the variance is
    at least the prior's and `shortfall` says so.

    Raises `ValueError`, naming the bucket, when one overlaps its predecessor, or when its length
    is not the first one's or does not divide 300 s.
    """
    clients, blocks, length, span = _collect(buckets)
    shortfall = _shortfall(span, float(sum(block[0, 0].sum() for block in blocks)), planned_overlap)
    cube = np.zeros((2, 2, len(clients), len(blocks)))
    for position, block in enumerate(blocks):
        cube[:, :, : block.shape[2], position] = block
    streams = [Stream(*cube[:, stream]) for stream in (RAW, DEDUPLICATED)]
    scale = max(stream.block_length() for stream in streams)
    laws = [
        stream.fit(scale, least=(0.0, 0.0) if shortfall is None else (excess, PRIOR_CV2))
        for stream, excess in zip(streams, PRIOR_EXCESS, strict=True)
    ]
    return Baseline(
        clients=tuple(clients),
        length=length,
        block=scale,
        laws=np.stack(laws, axis=1),
        shortfall=shortfall,
    )


def _collect(buckets: Iterable[Bucket]) -> tuple[dict[str, int], list[Floats], float | None, float]:
    """The clients, their counts per block of 300 s, the buckets' length and the span in seconds."""
    clients: dict[str, int] = {}
    blocks: deque[Floats] = deque(maxlen=_MOST_BLOCKS)
    first: Bucket | None = None
    end = 0.0
    position = 0
    arms: list[tuple[float, Arm]] = []
    for bucket in buckets:
        buckets_per_block(bucket)
        if first is None:
            first, end = bucket, bucket.start
        if bucket.length != first.length:
            raise ValueError(f"bucket at {bucket.start} s: its length is not {first.length} s")
        if bucket.start < end - 1e-3 * bucket.length:
            raise ValueError(f"bucket at {bucket.start} s: out of order, the last ended at {end} s")
        end = bucket.start + bucket.length
        block = int((bucket.start - first.start + bucket.length / 2) // BLOCK_SECONDS)
        if block > position:
            blocks.append(tally(arms, clients).sum(axis=0))
            arms = []
            # A hole keeps its place as empty blocks, or neighbours would be compared across it.
            blocks.extend(np.zeros((2, 2, len(clients))) for _ in range(min(block - position - 1, _MOST_BLOCKS)))
            position = block
        clients = enrol(clients, bucket.old)
        arms.append((bucket.start, bucket.old))
    if first is None:
        return clients, [], None, 0.0
    blocks.append(tally(arms, clients).sum(axis=0))
    return clients, list(blocks), first.length, end - first.start


def _shortfall(span: float, trials: float, planned_overlap: timedelta) -> str | None:
    """What the baseline lacks, for people to read; None when it is long enough."""
    need = min(max(_DAY, planned_overlap.total_seconds() * 3 / 7), 3 * _DAY)
    if trials == 0:
        return f"no baseline: a prior rate of {PRIOR_RATE:.1%}, widened, stands in for it"
    if span < 0.999 * need:
        return (
            f"the baseline covers {span / 3600:.1f} h of the {need / 3600:.0f} h needed: "
            "its variance is widened to the prior's"
        )
    return None
