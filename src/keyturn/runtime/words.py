"""What several usage sources say of the same clients, weighed by how directly each sees a use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
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
        self._by: dict[str, frozenset[str]] = {}
        for (client, serial, source), use in uses.items():
            # One that is configured no more was believed when it spoke.
            self._told[client].append((serial, kinds.get(source, SourceKind.AUTHENTICATION), use))
            self._by[client] = self._by.get(client, frozenset()) | {source}
        self._strongest = {
            client: max((kind for _, kind, _ in told), key=STRENGTH.__getitem__) for client, told in self._told.items()
        }

    @property
    def clients(self) -> frozenset[str]:
        """Everyone who was ever seen."""
        return frozenset(self._told)

    def told_by(self, client: str) -> frozenset[str]:
        """Which sources have ever told of a client."""
        return self._by.get(client, frozenset())

    def of(self, sources: Collection[str]) -> Words:
        """What these sources say alone."""
        uses = {key: use for key, use in self._uses.items() if key[2] in sources}
        return Words({name: kind for name, kind in self._kinds.items() if name in sources}, uses)

    def newest(self, client: str, when: Callable[[Uses], datetime | None]) -> dict[int, datetime]:
        """By serial, the newest time that any source tells of a client."""
        return _newest((serial, when(use)) for serial, _, use in self._told.get(client, ()))

    def decided(self, client: str, when: Callable[[Uses], datetime | None]) -> dict[int, datetime]:
        """By serial, the newest time that the sources of the strongest kind tell of a client."""
        strongest = self._strongest.get(client)
        return _newest((serial, when(use)) for serial, kind, use in self._told.get(client, ()) if kind is strongest)

    def decides(self, kind: SourceKind, client: str) -> bool:
        """Whether sources of this kind have the word on a client: no stronger one knows it."""
        return self._strongest.get(client, kind) is kind


def _newest(moments: Iterable[tuple[int, datetime | None]]) -> dict[int, datetime]:
    found: dict[int, datetime] = {}
    for serial, moment in moments:
        if moment is not None:
            found[serial] = max(moment, found.get(serial, moment))
    return found
