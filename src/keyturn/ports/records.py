"""What the store keeps, as values. No secret is among them (promise P6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from keyturn.domain.effects import Effect, Message
from keyturn.domain.errors import FailureKind
from keyturn.domain.model import Rotation, Version
from keyturn.domain.phases import Phase
from keyturn.domain.verdicts import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What is remembered of one credential between rotations."""

    name: str
    versions: Mapping[int, Version]
    """Every version ever issued, by serial; destroyed ones too: any later use of one raises an alert."""
    next_serial: int
    due_at: datetime | None = None
    """When its next scheduled rotation starts; None: only on command."""
    rolled_back: int = 0
    """How many of its rotations in a row ended as ROLLED_BACK; SUPERSEDED is no end of the kind that counts."""
    check_at: datetime | None = None
    """When it is next checked that everything is still as the last rotation left it; None: not until somebody says."""
    restored_at: datetime | None = None
    """When the store was restored from a backup, and nobody has confirmed since what became of this credential in the
    meantime: nothing is done for it. None otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of the trail: what was ruled, why, and on what evidence (promise P9)."""

    at: datetime
    credential: str
    rotation: str
    """Empty for what comes before a credential's first rotation."""
    phase: Phase
    """The phase that the rotation is in from then on; before any, as at rest after one."""
    kind: str
    """`started`, `transition`, `hold`, `released`, `command`, …"""
    reason: str
    detail: str
    evidence: Evidence = field(default_factory=dict)
    by: str = "keyturn"
    digest: str = ""
    """SHA-256 over the previous line's digest and this line's content; the store fills it in."""


class IntentState(StrEnum):
    """How far an outside call has come."""

    OPEN = "open"
    """The intent is committed, and no outcome is known: it may have been sent, or not."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_SENT = "not_sent"
    """Closed before it was sent: the rotation or the lease had moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt went, recorded by effect id."""

    state: IntentState
    at: datetime
    failure: FailureKind | None = None
    message: str = ""
    retry_at: datetime | None = None
    key_id: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One effect in the journal."""

    effect: Effect
    rotation: str
    credential: str
    attempts: int
    opened_at: datetime
    """When the newest attempt was committed, by the store's clock."""
    outcome: Outcome | None
    """Of the newest attempt; None while it is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to act on something, until it expires. Work on a credential or a source is claimed by one."""

    name: str
    owner: str
    token: int
    """Grows with each holder: a later holder's is always higher (fencing)."""
    expires_at: datetime
    """By the store's clock, from then on anybody may take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One decision, written as one transaction or not at all."""

    rotation: Rotation
    """As it is to be remembered; its `revision` is the one it was read at, and must still be the store's."""
    claim: Lease | None = None
    """The claim that it was decided under, which must still be held. None for what an operator asks: that may reach any
    replica."""
    intents: Sequence[Effect] = ()
    messages: Sequence[Message] = ()
    notifiers: Sequence[str] = ()
    """To whom each of the messages goes."""
    history: Sequence[HistoryEntry] = ()
    due_at: datetime | None = None
    """At an end: when the next scheduled rotation starts."""
    check_at: datetime | None = None
    """At an end: when it is first checked that everything is as the rotation left it."""
    successor: Rotation | None = None
    """With the end SUPERSEDED: the rotation that takes over, begun in the same transaction, so that at no moment the
    credential is without a live rotation that knows what is left to do."""
    successor_entry: HistoryEntry | None = None
    """The first line of its trail."""


class UsageRow(NamedTuple):
    """One client's presentations of one version in one bucket, from one source. A tuple, which is made in a quarter of the
    time: each report that comes is one."""

    credential: str
    serial: int
    client: str
    start: datetime
    length: timedelta
    successes: int
    failures: int
    """Refusals that are the client's beyond doubt; others are pooled (see `unauthenticated`)."""
    unauthenticated: int = 0
    """Refused presentations that prove nothing about who sent them."""


class Alert(NamedTuple):
    """A message, and by whom it is to be delivered."""

    message: Message
    notifiers: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a source tells at one time: taken whole or not at all."""

    source: str
    rows: Sequence[UsageRow]
    watermark: datetime | None
    """Up to when its data is complete from now on; None says nothing."""
    cursor: str | None = None
    """Where a polled source goes on; None leaves it."""
    batch: str | None = None
    """The id of a batch that may be sent again."""
    digest: str = ""
    """What the batch with this id holds."""
    complete_from: datetime | None = None
    """With it, what the source could have told between its watermark and then is lost: that hole is remembered."""
    alerts: Sequence[Alert] = ()
    """What the rows give cause to tell people: queued with them, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What is remembered of one client's use of one version: ends of the newest buckets. Successes and failures are
    use; pooled refusals are not, they say nothing about who sent them."""

    first_use: datetime
    """The start of the oldest bucket."""
    last_use: datetime
    last_success: datetime | None
    last_refusal: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How far a usage source has come."""

    name: str
    cursor: str | None = None
    watermark: datetime | None = None
    since: datetime | None = None
    """Its first watermark: before that, nothing is known."""
    late: int = 0
    """Reports that came after their bucket was declared complete."""
    blind_since: datetime | None = None
    """Since when it has stopped, lags or answers nonsense; None while all is well."""
    trouble: str = ""
    """What is wrong with it, and the mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Refused presentations of one version that prove nothing about who sent them."""

    count: int
    last: datetime
    """End of the newest bucket with any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissal:
    """An operator's word that a client is gone. A later use of the client's proves it wrong."""

    client: str
    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """An owner's word that all instances of a client have moved to a version. A later use of the client's of a version that
    it was to leave proves it wrong."""

    client: str
    serial: int
    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """One message to one notifier, not yet delivered."""

    id: int
    message: Message
    notifier: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A bearer token, known by its digest."""

    name: str
    role: str
    """`operator`, `viewer` or `source`."""
    source: str | None
    digest: str
    """SHA-256 of the token, hexadecimal: tokens are 256 random bits, so no slow hash is needed."""
