"""The store: everything that outlives a tick. No secret value ever reaches it (promise P6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from keyturn.domain.effects import EffectKind, Message
from keyturn.domain.errors import Refused
from keyturn.domain.model import Rotation, Version
from keyturn.domain.observations import Hole
from keyturn.ports.records import (
    AccessToken,
    Acknowledgement,
    Commit,
    Credential,
    Dismissal,
    HistoryEntry,
    Intent,
    Lease,
    OutboxItem,
    Outcome,
    Pooled,
    SourceState,
    Told,
    UsageRow,
    Uses,
)


class Store(Protocol):
    """Durable state. Each method is one transaction; when it returns, its effect survives a crash of the machine.

    All datetimes are aware UTC and come back equal to the microsecond. Methods raise `Transient` when the database
    cannot be reached, `Invalid` for a value it cannot hold, another `KeyturnError` when it is damaged or closed, and
    nothing else but what they name. Several processes may use one store at once where the database can serve them; each
    claims what it works on, and a write that names a claim raises `StaleRevision`, and writes nothing, when the claim has
    passed on.
    """

    # Credentials and versions

    def register(
        self,
        name: str,
        version: Version,
        *,
        due_at: datetime | None,
        others: Sequence[Version] = (),
        history: Sequence[HistoryEntry] = (),
        apart_from: Collection[str] = (),
    ) -> None:
        """Remember a credential seen for the first time, with the version that its readers get now, and the others that
        are known of it. Its next serial is beyond them all. A credential that is known already is left as it is,
        and its trail without these lines. Raises `Refused`, and remembers nothing, when one of the credentials `apart_from`
        has that version's key and value already, also where both are registered at the same moment."""

    def restored(self, at: datetime) -> None:
        """The store is from a backup: no credential is what it remembers until that is confirmed."""

    def unconfirmed(self) -> Sequence[str]:
        """Names of the credentials that nobody has confirmed since the store was restored."""

    def found(self, name: str, versions: Sequence[Version]) -> None:
        """Remember versions of a credential that the world has shown and no rotation of this store has made. Its next serial
        is beyond them; a version that is known already is left as it is. Raises `Refused` when nobody registered it."""

    def confirm(self, name: str) -> None:
        """What is remembered of a credential, and what has changed since, is confirmed."""

    def credential(self, name: str) -> Credential | None:
        """What is remembered of a credential."""

    def credentials(self) -> Mapping[str, Credential]:
        """Every credential that was ever registered, with every version: slow where there were many rotations."""

    def due_dates(self) -> Mapping[str, datetime]:
        """By name of the credentials that have one: when the next scheduled rotation starts."""

    def current(self) -> Mapping[str, int]:
        """By name of the credentials that have one: the newest version that readers get. The cost follows how many
        credentials there are, not how many versions there ever were."""

    def set_due(self, name: str, due_at: datetime | None) -> None:
        """When the credential's next scheduled rotation starts."""

    def set_check(self, name: str, check_at: datetime | None) -> None:
        """When it is next checked that the credential is as its last rotation left it."""

    def to_check(self, now: datetime) -> Sequence[str]:
        """Names of the credentials without a live rotation whose check is due, the longest due first."""

    def due(self, now: datetime) -> Sequence[str]:
        """Names of the credentials that are due; the cost follows what is due, not what exists."""

    def key_ids(self, key_ids: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        """For each of these public key ids that is known: every credential and serial that has it, in order. A credential
        that was renamed has the keys of the one that it was, which stays known."""

    # Rotations

    def begin(self, rotation: Rotation, entry: HistoryEntry, *, claim: Lease | None = None) -> None:
        """Start a rotation: at most one is live per credential (promise P7). Raises `Refused` when one is, naming it, and
        when the incoming version is not the credential's next, and when it would take away the mark of a compromised
        version (promise P8). Also takes that serial and the credential's dates, and writes the rotation's versions, with
        their marks, into the credential's."""

    def live(self) -> Sequence[Rotation]:
        """Every live rotation, oldest first."""

    def rotating(self) -> Sequence[str]:
        """Names of the credentials with a live rotation, the oldest rotation's first."""

    def rotation(self, id: str) -> Rotation | None:
        """One rotation, live or ended."""

    def revision(self, id: str) -> int | None:
        """That rotation's revision alone, which is looked at before each outside call."""

    def live_of(self, credential: str) -> Rotation | None:
        """The credential's live rotation."""

    def latest_of(self, credential: str) -> Rotation | None:
        """The credential's newest rotation, live or ended."""

    def commit(self, commit: Commit) -> Rotation:
        """Write a decision: the rotation (its revision one higher), its versions into the credential's, an intent for
        each effect (a known effect's attempt count grows and its outcome becomes open), the messages into the outbox
        (as `enqueue` does), the history. At an end, the credential's `due_at`, `check_at` and
        `rolled_back` too, and then the successor as `begin` would. An ended rotation is kept as its end left it: a commit
        that leaves its phase moves `check_at` and no other date.

        Raises `StaleRevision` when the rotation has moved, would leave its end, or has ended and another has begun since,
        or when the claim has passed on; and `Refused` when a mark would be taken away or the successor cannot begin. Then
        nothing is written.
        """

    def record(self, effect_id: str, attempt: int, outcome: Outcome) -> None:
        """How an attempt went, also when the rotation has ended meanwhile or another replica has taken it over: the call
        was made, and what is known of it is kept. An outcome of an older attempt than the journal's newest is ignored."""

    def journal(self, rotation: str) -> Mapping[str, Intent]:
        """Every intent of a rotation, by effect id."""

    def open_intents(self, credential: str) -> Sequence[Intent]:
        """Intents of any rotation of the credential, ended ones too, whose outcome is not known."""

    def mints(self) -> Sequence[Intent]:
        """Every intent to mint, of every rotation of every credential that ever was: what tells an orphan from a
        stranger's key. Slow where there were many rotations, and asked only when there is something to be told."""

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
        self, told: Sequence[Told], *, received_at: datetime, claim: Lease | None = None
    ) -> Sequence[bool | Refused]:
        """Add what sources tell, in this order, in one transaction: rows, each watermark (never back), cursor and alerts.
        For each: whether it was added. False, and nothing of it changed, when its batch was seen from its source before;
        `Refused` in its place when that was with another `digest`. Rows whose bucket the source had declared complete are
        late: they count as use at once, but stay out of `usage` (the detector's buckets) and are counted. Raises
        `StaleRevision`, and adds nothing, when `claim` is not held any more."""

    def forget_batches(self, before: datetime) -> None:
        """Forget the ids of batches that were received before then."""

    def usage(
        self, credential: str, *, start: datetime, end: datetime, sources: Collection[str] | None = None
    ) -> Sequence[UsageRow]:
        """Rows with start ≤ bucket start < end, by start then client, summed over these sources (None: over all)."""

    def uses(self, credential: str) -> Mapping[tuple[str, int, str], Uses]:
        """(client, serial, source) → what is remembered of that use."""

    def forget_uses(self, credential: str, before: datetime) -> None:
        """Forget uses of destroyed versions that ended before then, where the same client was seen by the same source to
        use a later version no earlier. So who ever used the credential, who has told of it, and the newest use that it
        has told of stay known."""

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

    def acknowledge(self, acknowledgement: Acknowledgement, entry: HistoryEntry) -> None:
        """Take an owner's word that a client of the entry's credential has moved to a version, with a line in its
        trail."""

    def acknowledgements(self, credential: str) -> Mapping[tuple[str, int], Acknowledgement]:
        """By client and serial: whose clients have moved to which version by their owners' word, the newest word each."""

    def with_usage(self) -> Sequence[str]:
        """Names of the credentials of which any usage is kept, in buckets or rolled up."""

    def roll_up(self, credential: str, before: datetime) -> bool:
        """Take the oldest buckets that start before then out of `usage`: those of one day, or no more of them than one
        transaction bears; of each client only the five-minute slots that it used the credential in are kept. Whether there
        was anything to do."""

    def forget_slots(self, credential: str, before: datetime) -> None:
        """Forget the slots of the days that end before then."""

    def use_starts(self, credential: str, client: str, *, end: datetime) -> Sequence[datetime]:
        """When the client used any version of the credential before `end`, ascending: the history that silence is judged
        by. The newest 2,000 buckets by their starts, what came before them by five-minute slots, as what was rolled up
        is."""

    def detector(self, rotation: str) -> str | None:
        """The saved state of a live rotation's detector. It is forgotten in the transaction that ends the rotation."""

    def save_detector(self, rotation: str, state: str) -> None:
        """Save the detector's state, beside the watermark that is part of it."""

    def forget_detectors(self) -> None:
        """Forget those of rotations that are not live: what was saved late, by a replica that had not seen the end."""

    # Outbox

    def enqueue(self, messages: Sequence[Message], notifiers: Sequence[str], *, now: datetime) -> None:
        """Queue messages that belong to no decision (a tripwire, a source that fell silent). A message whose id is known
        stays as it was said first, and goes to those notifiers alone that it was never queued for: who is named while
        something lasts is told of it too."""

    def outbox(self, now: datetime, *, limit: int = 100, without: frozenset[str] = frozenset()) -> Sequence[OutboxItem]:
        """What is to be delivered now: what was never tried, in the order in which it was queued, and then what has waited
        longest for another try. `without`: notifiers whose items are left out."""

    def delivered(self, item: int, *, at: datetime) -> None:
        """It has arrived."""

    def undelivered(self, item: int, *, retry_at: datetime | None, error: str) -> None:
        """It has not: try again then; None: never."""

    def forget_messages(self, before: datetime) -> bool:
        """Forget the oldest of the messages that are settled since before then, delivered or given up at each notifier, and
        that nobody has said again since, to a day: some hundreds at a time. One that waits is never forgotten, and one that
        is said again and again stays known, so that it is sent once. Whether there may be more."""

    # Leases and access

    def claim(self, names: Sequence[str], owner: str, *, ttl: timedelta) -> Sequence[Lease]:
        """Take or renew the leases of these names, by name, for `ttl` from now by the store's own clock: all that nobody
        else holds. What another is claiming at this moment is left out, and not waited for; what the owner holds and another
        thread of its own writes under at this moment is. A new holder's token is higher than that of the one before it; a
        holder that renews keeps its token, also when the lease had run out and nobody had taken it."""

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still its holder's: not given back, and not taken by another. It may have run out."""

    def release(self, lease: Lease) -> None:
        """Give a lease back; one that is not its holder's any more is left alone."""

    def resign(self, owner: str) -> None:
        """Give back every lease that the owner holds: others need not wait for them to run out."""

    def tokens(self) -> Sequence[AccessToken]:
        """Every access token's digest."""

    def add_token(self, token: AccessToken) -> None:
        """Add a token, or replace the one of the same name."""

    def pin(self, name: str, digest: str) -> str:
        """What all processes agree on: the digest that was pinned first under this name, this one if none was."""

    def close(self) -> None:
        """Give files, locks and connections back."""
