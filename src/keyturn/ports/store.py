"""The store: everything that outlives a tick. No secret value ever reaches it (promise P6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keyturn.domain.effects import Effect, EffectKind, Message
from keyturn.domain.errors import FailureKind
from keyturn.domain.model import Rotation, Version
from keyturn.domain.observations import Hole
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of the trail: what was ruled, why, and on what evidence (promise P9)."""

    at: datetime
    credential: str
    rotation: str
    phase: Phase
    """The phase that the rotation is in from then on."""
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
class Commit:
    """One decision, written as one transaction or not at all."""

    rotation: Rotation
    """As it is to be remembered; its `revision` is the one it was read at, and must still be the store's."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One client's presentations of one version in one bucket, from one source."""

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
class OutboxItem:
    """One message to one notifier, not yet delivered."""

    id: int
    message: Message
    notifier: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to act on something, until it expires."""

    name: str
    owner: str
    token: int
    """Grows with each holder: a later holder's is always higher (fencing)."""
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A bearer token, known by its digest."""

    name: str
    role: str
    """`operator`, `viewer` or `source`."""
    source: str | None
    digest: str
    """SHA-256 of the token, hexadecimal: tokens are 256 random bits, so no slow hash is needed."""


class Store(Protocol):
    """Durable state. Each method is one transaction; when it returns, its effect survives a crash of the machine.

    All datetimes are aware UTC and come back equal to the microsecond. Methods raise `Transient` when the database
    cannot be reached, `Invalid` for a value it cannot hold, another `KeyturnError` when it is damaged or closed, and
    nothing else but what they name.
    """

    # Credentials and versions

    def register(self, name: str, version: Version, *, due_at: datetime | None) -> None:
        """Remember a credential seen for the first time, with the version that its readers get now. A credential that
        is known already is left as it is."""

    def credential(self, name: str) -> Credential | None:
        """What is remembered of a credential."""

    def credentials(self) -> Mapping[str, Credential]:
        """Every credential that was ever registered."""

    def set_due(self, name: str, due_at: datetime | None) -> None:
        """When the credential's next scheduled rotation starts."""

    def set_check(self, name: str, check_at: datetime | None) -> None:
        """When it is next checked that the credential is as its last rotation left it."""

    def to_check(self, now: datetime) -> Sequence[str]:
        """Names of the credentials without a live rotation whose check is due, the longest due first."""

    def due(self, now: datetime) -> Sequence[str]:
        """Names of the credentials that are due; the cost follows what is due, not what exists."""

    def key_ids(self, key_ids: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """For each of these public key ids that is known: its credential and serial."""

    # Rotations

    def begin(self, rotation: Rotation, entry: HistoryEntry) -> None:
        """Start a rotation: at most one is live per credential (promise P7). Raises `Refused` when one is, naming it, and
        when the incoming version is not the credential's next, and when it would take away the mark of a compromised
        version (promise P8). Also takes that serial and the credential's dates, and writes the rotation's versions, with
        their marks, into the credential's."""

    def live(self) -> Sequence[Rotation]:
        """Every live rotation, oldest first."""

    def rotation(self, id: str) -> Rotation | None:
        """One rotation, live or ended."""

    def live_of(self, credential: str) -> Rotation | None:
        """The credential's live rotation."""

    def latest_of(self, credential: str) -> Rotation | None:
        """The credential's newest rotation, live or ended."""

    def commit(self, commit: Commit) -> Rotation:
        """Write a decision: the rotation (its revision one higher), its versions into the credential's, an intent for
        each effect (a known effect's attempt count grows and its outcome becomes open), the messages into the outbox
        (a message id that is known is left as it is), the history. At an end, the credential's `due_at`, `check_at` and
        `rolled_back` too, and then the successor as `begin` would. An ended rotation is kept as its end left it: a commit
        that leaves its phase moves `check_at` and no other date.

        Raises `StaleRevision` when the rotation has moved, would leave its end, or has ended and another has begun since;
        and `Refused` when a mark would be taken away or the successor cannot begin. Then nothing is written.
        """

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        """How an attempt went, also when the rotation has ended meanwhile. An outcome of an older attempt than the
        journal's newest is ignored."""

    def journal(self, rotation: str) -> Mapping[str, Intent]:
        """Every intent of a rotation, by effect id."""

    def open_intents(self, credential: str) -> Sequence[Intent]:
        """Intents of any rotation of the credential, ended ones too, whose outcome is not known."""

    def uncertain(self, credential: str) -> frozenset[tuple[EffectKind, int]]:
        """Calls of the credential's ended rotations, by kind and serial, that may still land or have landed unseen: the
        outcome is not known, was a transient failure, or followed an earlier attempt. One whose outcome is known counts
        for seven days from its newest attempt, by the store's clock: no call of ours is on its way for longer. One
        without an outcome counts until it has one."""

    def history(self, credential: str, *, limit: int = 1000) -> Sequence[HistoryEntry]:
        """The newest `limit` lines of a credential's trail, oldest first."""

    def bind(self, credential: str, target: str, backend_id: str, serial: int) -> None:
        """Remember that a backend's id at a target is a version of ours."""

    def bindings(self, credential: str) -> Mapping[tuple[str, str], int]:
        """(target, backend id) → serial, for all that is known."""

    # Usage

    def sources(self) -> Mapping[str, SourceState]:
        """Every usage source that ever reported."""

    def add_usage(
        self,
        source: str,
        rows: Sequence[UsageRow],
        *,
        watermark: datetime | None,
        cursor: str | None,
        batch: str | None = None,
        digest: str = "",
        complete_from: datetime | None = None,
        received_at: datetime,
    ) -> bool:
        """Add rows, move the source's watermark (never back) and cursor (None leaves either), all in one transaction.
        False, and nothing changed, when `batch` was seen from this source before; `Refused` when it was seen with
        another `digest`. Rows whose bucket the source had declared complete are late: they count as use at once, but
        stay out of `usage` (the detector's buckets) and are counted. With `complete_from`, what the source could have
        told between its watermark and then is lost: that hole is remembered."""

    def forget_batches(self, before: datetime) -> None:
        """Forget the ids of batches that were received before then."""

    def usage(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None = None
    ) -> Sequence[UsageRow]:
        """Rows with start ≤ bucket start < end, by start then client, summed over these sources (None: over all)."""

    def uses(self, credential: str) -> Mapping[tuple[str, int, str], Uses]:
        """(client, serial, source) → what is remembered of that use."""

    def pooled(self, credential: str) -> Mapping[tuple[int, str], Pooled]:
        """(serial, source) → the refusals that were pooled as unauthenticated."""

    def holes(self, source: str) -> Sequence[Hole]:
        """The holes in a source's data, oldest first."""

    def set_blind(self, source: str, since: datetime | None, trouble: str) -> None:
        """Remember since when a source is blind, and why; None: it sees again."""

    def dismiss(self, dismissal: Dismissal, entry: HistoryEntry) -> None:
        """Take an operator's word that a client of the entry's credential is gone, with a line in its trail."""

    def dismissals(self, credential: str) -> Mapping[str, Dismissal]:
        """By client: who was declared gone, the newest word each."""

    def use_starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        """Starts of the buckets before `end` in which the client used any version of the credential, ascending: the
        history that silence is judged by. At most the newest 10,000."""

    def detector(self, rotation: str) -> str | None:
        """The detector's saved state."""

    def save_detector(self, rotation: str, state: str) -> None:
        """Save the detector's state, beside the watermark that is part of it."""

    # Outbox

    def enqueue(self, messages: Sequence[Message], notifiers: Sequence[str], *, now: datetime) -> None:
        """Queue messages that belong to no decision (a tripwire, a source that fell silent); a known id is left as it
        is."""

    def outbox(self, now: datetime, *, limit: int = 100) -> Sequence[OutboxItem]:
        """What is to be delivered now, oldest first."""

    def delivered(self, item: int, *, at: datetime) -> None:
        """It has arrived."""

    def undelivered(self, item: int, *, retry_at: datetime | None, error: str) -> None:
        """It has not: try again then; None: never."""

    # Leases and access

    def acquire(self, name: str, owner: str, *, ttl: timedelta, now: datetime) -> Lease | None:
        """Take or renew a lease; None while another holds it. A lease that had lapsed has a new token, for its own last
        holder too."""

    def release(self, lease: Lease) -> None:
        """Give a lease back; one that is not ours any more is left alone."""

    def tokens(self) -> Sequence[AccessToken]:
        """Every access token's digest."""

    def add_token(self, token: AccessToken) -> None:
        """Add a token, or replace the one of the same name."""

    def close(self) -> None:
        """Give files, locks and connections back."""
