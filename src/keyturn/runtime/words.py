"""What several usage sources say of the same clients, weighed by how directly each sees a use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from keyturn.domain.observations import SourceKind
from keyturn.ports.records import Uses

STRENGTH = {kind: strength for strength, kind in enumerate(reversed(SourceKind))}


class Words:
    """Any source can show a use; how it went is said by the strongest kind that knows the client (DESIGN §6)."""

    def __init__(self, kinds: Mapping[str, SourceKind], uses: Mapping[tuple[str, int, str], Uses]) -> None:
        self._kinds = kinds
        self._uses = uses
        self._told: dict[str, list[tuple[int, SourceKind, Uses]]] = defaultdict(list)
        self._strongest: dict[str, SourceKind] = {}
        self._by: dict[str, set[str]] = defaultdict(set)
        for (client, serial, source), use in uses.items():
            # One that is configured no more was believed when it spoke.
            kind = kinds.get(source, SourceKind.AUTHENTICATION)
            self._told[client].append((serial, kind, use))
            if STRENGTH[kind] >= STRENGTH[self._strongest.get(client, kind)]:
                self._strongest[client] = kind
            self._by[client].add(source)

    @property
    def clients(self) -> frozenset[str]:
        """Everyone who was ever seen."""
        return frozenset(self._told)

    def told_by(self, client: str) -> frozenset[str]:
        """Which sources have ever told of a client."""
        return frozenset(self._by.get(client, ()))

    def of(self, sources: Collection[str]) -> Words:
        """What these sources say alone."""
        uses = {key: use for key, use in self._uses.items() if key[2] in sources}
        if len(uses) == len(self._uses):
            return self
        return Words({name: kind for name, kind in self._kinds.items() if name in sources}, uses)

    def newest(self, client: str) -> tuple[dict[int, datetime], dict[int, datetime], dict[int, datetime]]:
        """By serial, the newest use of a client that any source tells of, and the newest success and refusal that the
        sources of the strongest kind do."""
        last_use: dict[int, datetime] = {}
        last_success: dict[int, datetime] = {}
        last_refusal: dict[int, datetime] = {}
        strongest = self._strongest.get(client)
        for serial, kind, use in self._told.get(client, ()):
            _keep(last_use, serial, use.last_use)
            if kind is strongest:
                _keep(last_success, serial, use.last_success)
                _keep(last_refusal, serial, use.last_refusal)
        return last_use, last_success, last_refusal

    def decides(self, kind: SourceKind, client: str) -> bool:
        """Whether sources of this kind have the word on a client: no stronger one knows it."""
        return self._strongest.get(client, kind) is kind


def _keep(newest: dict[int, datetime], serial: int, moment: datetime | None) -> None:
    if moment is not None and (serial not in newest or moment > newest[serial]):
        newest[serial] = moment
