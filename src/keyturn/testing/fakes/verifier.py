"""One verifier in memory: a key table, what it serves of it by now, and the connections that clients hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key in a verifier's table; a tombstone keeps no value."""

    entry: Entry
    value: SecretValue | None


class Table(dict[str, Row]):
    """A key table by key id; what it lists and accepts is asked for far more often than it is written."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        super().__init__(rows)
        self.entries = {key: row.entry for key, row in rows.items()}
        self.accepted = {
            row.value.reveal() for row in rows.values() if row.entry is Entry.ACTIVE and row.value is not None
        }


class FakeVerifier:
    """Checks presentations by the table that it serves, which follows the newest one after a lag."""

    def __init__(self, name: str, clock: Clock, *, lag: timedelta, held_lag: timedelta) -> None:
        self.name = name
        self.away = False
        self._hangs = False
        self._clock = clock
        self._lag = lag.total_seconds()
        self._held_lag = held_lag.total_seconds()
        self._tables: list[tuple[float, Table]] = [(float("-inf"), Table({}))]
        """Each table with when it was loaded, newest last."""

    def leave(self) -> None:
        """Go off the network; changes do not reach it."""
        self.away = True

    def come_back(self, *, forgetting: int = 0) -> None:
        """Answer again, with the table it left with; `forgetting`: without its last so many changes, as a node does that
        is restored from an older image."""
        for _ in range(min(forgetting, len(self._tables) - 1)):
            self._tables.pop()
        self.away = False

    def hang(self) -> None:
        """Take changes in, and go on serving what it serves now."""
        self._hangs = True

    def go_on(self) -> None:
        """Serve what it has taken in meanwhile."""
        self._hangs = False
        now = self._clock.monotonic()
        self._tables = [(min(loaded, now), table) for loaded, table in self._tables]

    def lose(self, key_id: str) -> None:
        """Another's hand: delete a key's row."""
        self.load(Table({key: row for key, row in self.newest.items() if key != key_id}))

    def put(self, key_id: str, entry: Entry, value: SecretValue | None) -> None:
        """Another's hand: write a row, past every rule."""
        self.load(Table({**self.newest, key_id: Row(entry=entry, value=value)}))

    def change(self, key_id: str, change: Callable[[Row | None], Row]) -> None:
        """Replace one row by what `change` makes of it; a row that stays as it is loads nothing."""
        row = self.newest.get(key_id)
        changed = change(row)
        if row is None or row.entry is not changed.entry:
            self.load(Table({**self.newest, key_id: changed}))

    def entries(self) -> Mapping[str, Entry]:
        return self.newest.entries

    def accepts(self, value: str, *, opened: float | None = None) -> bool:
        """Whether a client gets in now, on a new connection or on one held since `opened` (monotonic)."""
        return not self.away and value in self._served(opened).accepted

    def knows(self, key_id: str, value: str) -> bool:
        """Whether the whole value matches an entry of the newest table, active or disabled."""
        row = self.newest.get(key_id)
        return row is not None and row.value is not None and row.value.reveal() == value

    def probe(self, key_id: str, value: str) -> Acceptance:
        """The newest table's verdict, and `UNSETTLED` while an older one that differs may still be served."""
        over = self._clock.monotonic() - self._lag - self._held_lag
        loaded, table = self._tables[-1]
        if loaded <= over:
            return verdict(table, key_id, value)
        newest = None
        for loaded, table in reversed(self._tables):
            said = verdict(table, key_id, value)
            if newest not in (None, said):
                return Acceptance.UNSETTLED
            if loaded <= over:
                return said
            newest = said
        raise AssertionError("the first table has always been there")

    @property
    def newest(self) -> Table:
        """The table as it was last written."""
        return self._tables[-1][1]

    def load(self, table: Table) -> None:
        """Write the whole table."""
        self._tables.append((float("inf") if self._hangs else self._clock.monotonic(), table))

    def _served(self, opened: float | None) -> Table:
        """The table that answers: for a held connection an older one, for as long as its worker may live."""
        latest = self._clock.monotonic() - self._lag
        if opened is not None:
            latest = max(opened - self._lag, latest - self._held_lag)
        for loaded, table in reversed(self._tables):
            if loaded <= latest:
                return table
        raise AssertionError("the first table has always been there")


def verdict(table: Table, key_id: str, value: str) -> Acceptance:
    """What a table says of a presentation: it is the whole value that counts."""
    row = table.get(key_id)
    if row is None or row.value is None or row.value.reveal() != value:
        return Acceptance.REFUSED
    return Acceptance.ACCEPTED if row.entry is Entry.ACTIVE else Acceptance.DISABLED
