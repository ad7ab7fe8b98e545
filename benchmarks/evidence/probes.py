"""What keyturn makes of a finding without a control: its own guard, given what probes would see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.evidence.streams import NAMES, OVERLAP, Outage, Stream, rng_for
from keyturn.domain.evidence import Finding
from keyturn.domain.guards import in_doubt, new_version_fails
from keyturn.domain.model import Rotation, Stamp, Version, VersionState
from keyturn.domain.observations import Acceptance, ClientSeen, Observations, UsageSeen, VerifierSeen
from keyturn.domain.phases import Phase
from keyturn.domain.policy import Policy
from keyturn.domain.situation import Situation
from keyturn.domain.verdicts import Ruling

OLD, NEW = 7, 8
VERIFIERS = 10
_START = datetime(2026, 1, 1, tzinfo=UTC)
_ROTATION = Rotation(
    id="r",
    credential="c",
    policy=Policy(minimum_overlap=OVERLAP),
    targets=("t",),
    versions={
        OLD: Version(serial=OLD, state=VersionState.PREVIOUS),
        NEW: Version(serial=NEW, state=VersionState.CURRENT),
    },
    outgoing=(OLD,),
    incoming=NEW,
    started_at=_START,
    started_by="benchmark",
    phase=Phase.MONITOR,
    entered=Stamp(at=_START, active=timedelta()),
    served=frozenset({OLD, NEW}),
)


class Probes:
    """Probes of both versions on every verifier during a stream, and what `new_version_fails` and `in_doubt` rule on them.

    In an outage of strength s either each probe goes unanswered with a chance of s, or a share s of the verifiers (one
    at least) has lost its key table and refuses both versions.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rng = rng_for(int(stream.new[0].sum()), "probes")
        self._clients = {name: ClientSeen(required_silence=timedelta(days=15)) for name in NAMES}
        self.held = 0

    def roll_back(self, finding: Finding, bucket: int) -> bool:
        """Whether the guard rolls back on the finding after this bucket; else it must hold."""
        now = _START + timedelta(seconds=finding.until)
        usage = UsageSeen(clients=self._clients, finding=finding)
        seen = Observations(targets={}, verifiers=self._verifiers(bucket), usage=usage)
        situation = Situation(rotation=_ROTATION, seen=seen, now=now)
        verdict = new_version_fails(situation) or in_doubt(situation)
        if verdict is None:
            raise AssertionError("a finding of a failing version must be ruled on")
        if verdict.ruling is Ruling.HOLD:
            self.held += 1
        return verdict.ruling is Ruling.ROLL_BACK

    def _verifiers(self, bucket: int) -> dict[str, VerifierSeen]:
        under_way = [one for one in self._stream.outages if one.buckets.start <= bucket < one.buckets.stop]
        bad = _bad(under_way[0], self._rng) if under_way else np.zeros((VERIFIERS, 2), dtype=np.bool_)
        failure = Acceptance.REFUSED if under_way and under_way[0].refuses else Acceptance.UNREACHABLE
        return {
            f"gateway-{number}": VerifierSeen(
                acceptance={
                    serial: failure if out else Acceptance.ACCEPTED for serial, out in zip((OLD, NEW), row, strict=True)
                }
            )
            for number, row in enumerate(bad.tolist())
        }


def _bad(outage: Outage, rng: np.random.Generator) -> np.typing.NDArray[np.bool_]:
    """Which verifier (row) answers for which version (column) as in an outage."""
    if not outage.refuses:
        return rng.random((VERIFIERS, 2)) < outage.strength
    lost = np.arange(VERIFIERS) < max(1, round(outage.strength * VERIFIERS))
    return np.repeat(lost[:, None], 2, axis=1)
