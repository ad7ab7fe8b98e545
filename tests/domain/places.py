"""The places of the simulated world: targets, verifiers, clients and usage sources, each with its ways to go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.domain.observations import Acceptance, Entry, SourceKind

ZERO = timedelta(0)


def seconds(count: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=count)


@dataclass(slots=True, kw_only=True)
class Target:
    """A place that readers get the credential from; ids are the backend's and never come back."""

    name: str
    id: str | None
    serials: dict[str, int] = field(default_factory=dict)
    """Which version of ours an id is; one that is missing here is another's."""
    copies: set[int] = field(default_factory=set)
    marks: set[int] = field(default_factory=set)
    away: bool = False
    tokens: dict[str, str] = field(default_factory=dict)
    """Promote token → the id that it installed."""
    taken_by_hand: str | None = None
    """What readers got before somebody overwrote it."""
    put_by_hand: str | None = None
    """What they put in its place; None: nothing."""

    @property
    def serial(self) -> int | None:
        """The version of ours that readers get."""
        return self.serials.get(self.id) if self.id is not None else None

    def fork(self) -> Target:
        """A copy that goes its own way."""
        return Target(
            name=self.name,
            id=self.id,
            serials=dict(self.serials),
            copies=set(self.copies),
            marks=set(self.marks),
            away=self.away,
            tokens=dict(self.tokens),
            taken_by_hand=self.taken_by_hand,
            put_by_hand=self.put_by_hand,
        )


@dataclass(slots=True, kw_only=True)
class Verifier:
    """A node that checks what clients present. New rules reach new connections at once and held ones after a lag."""

    name: str
    table: dict[int, Entry] = field(default_factory=dict)
    older: list[tuple[datetime, Mapping[int, Entry]]] = field(default_factory=list)
    """Rules that connections from before a change still meet, until when."""
    lag: timedelta = ZERO
    away: bool = False
    seen_away: bool = False
    """Whether a tick has found it away."""
    unlisted: bool = False
    """Whether the authority's listing of it cannot be had, though it answers whoever presents something."""
    backup: dict[int, Entry] = field(default_factory=dict)
    """The table it comes back with when it is rebuilt."""
    lost: dict[int, Entry] = field(default_factory=dict)
    """Entries that somebody took out by hand."""
    excused: set[int] = field(default_factory=set)
    """Versions that it may refuse through no fault of ours, until it is seen to accept them."""
    risen: set[int] = field(default_factory=set)
    """Versions that earlier rotations destroyed, and that it accepts again since it came back with an older table."""

    def change(self, serial: int, entry: Entry, now: datetime) -> None:
        """New rules, while older connections meet what was."""
        if self.table.get(serial, Entry.ABSENT) is entry:
            return
        if self.lag:
            self.older.append((now + self.lag, dict(self.table)))
        self.table[serial] = entry

    def rules(self, now: datetime) -> list[Mapping[int, Entry]]:
        """Every set of rules that some connection meets now, oldest first."""
        return [rules for until, rules in self.older if until > now] + [self.table]

    def alive(self) -> set[int]:
        """Versions in its table that are not dead."""
        return {serial for serial, entry in self.table.items() if entry in (Entry.ACTIVE, Entry.DISABLED)}

    def always_accepts(self, serial: int, now: datetime) -> bool:
        """Whether every connection, held ones too, is accepted."""
        return all(rules.get(serial) is Entry.ACTIVE for rules in self.rules(now))

    def ever_accepts(self, serial: int, now: datetime) -> bool:
        """Whether some connection is accepted."""
        return any(rules.get(serial) is Entry.ACTIVE for rules in self.rules(now))

    def probe(self, serial: int, now: datetime) -> Acceptance:
        """What our own presentation, on new and held connections, shows."""
        if self.away:
            return Acceptance.UNREACHABLE
        if self.always_accepts(serial, now) != self.ever_accepts(serial, now):
            return Acceptance.UNSETTLED
        kinds = {Entry.ACTIVE: Acceptance.ACCEPTED, Entry.DISABLED: Acceptance.DISABLED}
        return kinds.get(self.table.get(serial, Entry.ABSENT), Acceptance.REFUSED)

    def fork(self) -> Verifier:
        """A copy that goes its own way."""
        return Verifier(
            name=self.name,
            table=dict(self.table),
            older=list(self.older),
            lag=self.lag,
            away=self.away,
            seen_away=self.seen_away,
            unlisted=self.unlisted,
            backup=dict(self.backup),
            lost=dict(self.lost),
            excused=set(self.excused),
            risen=set(self.risen),
        )


@dataclass(slots=True, kw_only=True)
class Client:
    """Whoever presents the credential: fetches it now and then or only at boot, and uses what it last fetched."""

    name: str
    target: str
    every: timedelta
    """Between two uses."""
    refresh: timedelta | None
    """Between two fetches; None: at boot alone."""
    held: bool
    """Uses a connection held open, which meets the oldest rules."""
    silence: timedelta
    holds: int | None = None
    next_use: datetime
    next_fetch: datetime
    turn: int = 0
    acknowledged: bool = False
    dismissed: bool = False
    last_use: dict[int, datetime] = field(default_factory=dict)
    last_success: dict[int, datetime] = field(default_factory=dict)
    last_refusal: dict[int, datetime] = field(default_factory=dict)

    @property
    def sleeper(self) -> bool:
        """Whether it comes back after a longer silence than is required of it."""
        return self.every >= self.silence

    def fork(self) -> Client:
        """A copy that goes its own way."""
        return Client(
            name=self.name,
            target=self.target,
            every=self.every,
            refresh=self.refresh,
            held=self.held,
            silence=self.silence,
            holds=self.holds,
            next_use=self.next_use,
            next_fetch=self.next_fetch,
            turn=self.turn,
            acknowledged=self.acknowledged,
            dismissed=self.dismissed,
            last_use=dict(self.last_use),
            last_success=dict(self.last_success),
            last_refusal=dict(self.last_refusal),
        )


@dataclass(slots=True, kw_only=True)
class Source:
    """Tells of uses, late, and says up to when it has told all; down, it stands still or says nothing at all."""

    kind: SourceKind
    sees_failures: bool
    lag: timedelta
    down: bool = False
    mute: bool = False
    watermark: datetime | None = None

    def told(self) -> datetime | None:
        """Its watermark, as far as it is known."""
        return None if self.mute else self.watermark

    def fork(self) -> Source:
        """A copy that goes its own way."""
        return Source(
            kind=self.kind,
            sees_failures=self.sees_failures,
            lag=self.lag,
            down=self.down,
            mute=self.mute,
            watermark=self.watermark,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One presentation, as it really happened."""

    at: datetime
    client: str
    serial: int
    verifier: str
    accepted: bool
    excused: bool
    """The verifier's refusal is no fault of ours."""
