"""What the detector reads (buckets of attributed authentications) and what it says (findings)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: Client -> (successes, failures) within one bucket; an idle client is absent.
Arm: TypeAlias = Mapping[str, tuple[int, int]]

Verdict: TypeAlias = Literal["roll_back", "authority_ill"]

#: Seconds. Evidence is learnt and restarted on blocks of this length, so a bucket must divide it.
BLOCK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bucket:
    """Authentications of one rotation within one span of time, by client and version.

    `start` is in seconds since the rotation's start (negative before it), `length` in seconds;
    `old` and `new` map each client to its (successes, failures) on the old and the new version.
    Failures that name no version belong in neither arm, and neither do keyturn's own probes.
    """

    start: float
    length: float
    old: Arm
    new: Arm

    def without_old(self) -> Bucket:
        """This bucket with an empty old arm, for when keyturn itself disabled the old version.

        Refusals that keyturn caused say nothing of the authority's health; left in, a handful of
        laggards would look like an outage and hide a client that fails on the new version.
        """
        return Bucket(self.start, self.length, {}, self.new)


@dataclass(frozen=True, slots=True)
class Culprit:
    """One client's part in a finding.

    `successes` and `failures` are its counts on the new version within the finding's window;
    `share` (0 to 1) is its part of the evidence, compared with a trouble of all clients alike.
    """

    client: str
    successes: int
    failures: int
    share: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What the detector says after a bucket, with the numbers it rests on.

    * `verdict`: `roll_back` (the new version fails and the old one does not), or `authority_ill`
      (old and new fail alike, so that nothing can be said of the new version: hold and page; it is
      about the present, and ends when enough good requests make the trouble's end 1/alpha² times
      likelier than its going on, or after a whole block of 300 s without it);
    * `e_value`: the evidence against "the new version is as good as the baseline"; by Ville's
      inequality it ever reaches x in a healthy rotation with probability at most 1/x. With
      `authority_ill` it is the evidence before the old version's traffic took it back;
    * `culprits`: the clients that stand out by their own failures on the new version, largest
      share first; where none does, those that fail more than they may, with a share of 0;
    * `control`: whether the old version's traffic was informative. If not, an outage looks like a
      failing version, and the finding must be confirmed by probes; such a one ends as
      `authority_ill` does, unless its failures are confined to its culprits;
    * `baseline_rate`: failures per authentication, all clients, as learnt before the rotation;
    * `old_successes` … `new_failures`: all clients' counts from `since` to `until`, which are
      seconds since the rotation's start; the window covers the latest 30 to 60 minutes.
    """

    verdict: Verdict
    e_value: float
    culprits: tuple[Culprit, ...]
    control: bool
    baseline_rate: float
    old_successes: int
    old_failures: int
    new_successes: int
    new_failures: int
    since: float
    until: float


def buckets_per_block(bucket: Bucket) -> int:
    """How many buckets of this length make a block of 300 s.

    Raises `ValueError`, naming the bucket, when its length does not divide 300 s.
    """
    count = BLOCK_SECONDS / bucket.length if 0 < bucket.length <= BLOCK_SECONDS else 0.0
    if count == 0.0 or abs(count - round(count)) > 1e-9 * count:
        raise ValueError(f"bucket at {bucket.start} s: {bucket.length} s does not divide 300 s")
    return round(count)
