"""What the contract means where it leaves arithmetic to do: the same in every store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from keyturn.domain.errors import FailureKind, Refused, StaleRevision
from keyturn.domain.model import Rotation, Version
from keyturn.domain.observations import Hole
from keyturn.domain.phases import Phase
from keyturn.ports.records import Intent, IntentState, Lease, Pooled, SourceState, Told, UsageRow, Uses

EXACT = 2_000
"""So many of the newest used buckets are given back by their own starts, what came before by slots."""
SLOT = timedelta(minutes=5)
SLOTS_A_DAY = timedelta(days=1) // SLOT
LANDS_WITHIN = timedelta(days=7)
"""No call of ours is on its way for longer: each is bounded by its plugin's timeout, which is seconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = EPOCH
"""When a lease that was given back expires."""
NOBODY = ""
"""Who holds it then."""


def check_serial(rotation: Rotation, next_serial: int) -> None:
    """A serial names one version for ever: a rotation planned before another took the serial must be planned anew."""
    if rotation.incoming != next_serial:
        raise Refused(
            f"the next version of {rotation.credential} is v{next_serial}, not v{rotation.incoming}: read it again"
        )


def rolled_back(before: int, end: Phase) -> int:
    """How many rotations in a row ended as ROLLED_BACK, once one more has ended: a rotation that another took over from
    has not come to its end yet."""
    if end is Phase.SUPERSEDED:
        return before
    return before + 1 if end is Phase.ROLLED_BACK else 0


def check_marks(credential: str, known: Mapping[int, Version], coming: Mapping[int, Version]) -> None:
    """A version that was marked compromised stays so for ever (promise P8)."""
    for serial, version in coming.items():
        before = known.get(serial)
        if before is not None and before.compromised_at is not None and version.compromised_at is None:
            raise Refused(
                f"v{serial} of {credential} is marked compromised since {before.compromised_at:%Y-%m-%d %H:%M:%S} UTC, and "
                "no mark is taken away: read the credential again"
            )


def check_successor(ended: Rotation, successor: Rotation) -> None:
    """A successor takes over what its predecessor had to do, and from nobody else."""
    if ended.phase is not Phase.SUPERSEDED or successor.credential != ended.credential:
        raise Refused(
            f"{successor.id} of {successor.credential} cannot take over from {ended.id} of {ended.credential}, which is "
            f"{ended.phase}: it has to end as superseded"
        )


def may_land(intent: Intent, now: datetime) -> bool:
    """Whether a call of an ended rotation may still land, or have landed unseen."""
    outcome = intent.outcome
    if outcome is None or outcome.state is IntentState.OPEN:
        return True
    doubtful = intent.attempts > 1 or outcome.failure is FailureKind.TRANSIENT
    return doubtful and intent.opened_at > now - LANDS_WITHIN


def slot_of(start: datetime) -> tuple[int, int]:
    """The day since the epoch, and the five-minute slot of it, that a bucket starts in."""
    return divmod((start - EPOCH) // SLOT, SLOTS_A_DAY)


def slot_start(day: int, slot: int) -> datetime:
    """When a slot of a day begins."""
    return EPOCH + (day * SLOTS_A_DAY + slot) * SLOT


def thinned(starts: Sequence[datetime]) -> list[datetime]:
    """Ascending starts of used buckets as silence is judged by: the newest exactly, the others by their slots."""
    old, new = starts[:-EXACT], starts[-EXACT:]
    slots = dict.fromkeys(slot_start(*slot_of(start)) for start in old)
    return [*slots, *new]


def is_use(row: UsageRow) -> bool:
    """Whether the client is known to have presented the version: pooled refusals say nothing about who sent them."""
    return row.successes > 0 or row.failures > 0


def hole_of(state: SourceState, complete_from: datetime | None) -> Hole | None:
    """What a source that is complete from then on has lost since its watermark."""
    if complete_from is None or state.watermark is None or complete_from <= state.watermark:
        return None
    return Hole(start=state.watermark, end=complete_from)


def with_pooled(before: Pooled | None, count: int, end: datetime) -> Pooled:
    """The pool once so many refusals in a bucket that ends then are in it."""
    if before is None:
        return Pooled(count=count, last=end)
    return Pooled(count=before.count + count, last=max(before.last, end))


def reused(told: Told, known: str | None) -> Refused | None:
    """A batch's id names one content: a sender that uses it again for another would lose what it reports."""
    if known is None or known == told.digest:
        return None
    return Refused(
        f"{told.source} has sent a batch {told.batch!r} with another content before: give each batch an id of its own, and "
        "send it again unchanged"
    )


def is_late(row: UsageRow, watermark: datetime | None) -> bool:
    """Whether the source had declared the row's bucket complete."""
    return watermark is not None and row.start + row.length <= watermark


def with_use(before: Uses | None, start: datetime, end: datetime, *, successes: int, failures: int) -> Uses:
    """What is remembered of a use once this bucket of it is known too."""
    success, refusal = end if successes else None, end if failures else None
    if before is None:
        return Uses(first_use=start, last_use=end, last_success=success, last_refusal=refusal)
    first, last = min(before.first_use, start), max(before.last_use, end)
    success, refusal = _newer(before.last_success, success), _newer(before.last_refusal, refusal)
    if (first, last, success, refusal) == (before.first_use, before.last_use, before.last_success, before.last_refusal):
        # As mostly: a bucket is told of in several polls.
        return before
    return Uses(first_use=first, last_use=last, last_success=success, last_refusal=refusal)


def joined(one: Uses, other: Uses) -> Uses:
    """What is remembered of a use by two words on it."""
    return Uses(
        first_use=min(one.first_use, other.first_use),
        last_use=max(one.last_use, other.last_use),
        last_success=_newer(one.last_success, other.last_success),
        last_refusal=_newer(one.last_refusal, other.last_refusal),
    )


def moved(state: SourceState, told: Told, *, late: int) -> SourceState:
    """A source's state after what it told: the watermark never goes back, and what it does not say stays."""
    return SourceState(
        name=state.name,
        cursor=state.cursor if told.cursor is None else told.cursor,
        watermark=_newer(state.watermark, told.watermark),
        since=state.since if state.since is not None else told.watermark,
        late=state.late + late,
        blind_since=state.blind_since,
        trouble=state.trouble,
    )


def token_for(owner: str, held: Lease | None, now: datetime) -> int | None:
    """The token under which an owner then holds a lease; None while another does."""
    if held is None:
        return 1
    if held.owner == owner:
        return held.token
    return held.token + 1 if held.expires_at <= now else None


def lost(claim: Lease) -> StaleRevision:
    """What to raise for a write under a claim that has passed on."""
    return StaleRevision(f"{claim.name} is not {claim.owner}'s any more: another replica has taken it over")


def _newer(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
