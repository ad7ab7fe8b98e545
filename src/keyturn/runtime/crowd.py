"""Bounds how many clients a credential has: whoever can make up names must not make what is kept, and read at each tick,
grow without end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from keyturn.domain.evidence.series import MOST_CLIENTS
from keyturn.domain.observations import UNMAPPED
from keyturn.ports.store import Store
from keyturn.runtime.registry import WiredCredential

MOST_STRANGERS = 100
"""So many names of those that proved no use are told, a credential: enough to name a thief."""


class Crowd:
    """The clients of each credential that are known by name. Beyond `MOST_CLIENTS` a new one is `unmapped`: its use counts,
    and nobody's silence is assumed for it. Who proves no use is no client, and is named while there are few of that kind."""

    def __init__(self, store: Store, credentials: Mapping[str, WiredCredential]) -> None:
        self._store = store
        self._credentials = credentials
        self._known: dict[str, set[str]] = {}
        self._strangers: defaultdict[str, set[str]] = defaultdict(set)

    def name(self, credential: str, client: str, *, used: bool) -> str:
        """What a client counts as."""
        known = self._known.get(credential)
        if known is None:
            wired = self._credentials.get(credential)
            declared = frozenset[str]() if wired is None else wired.clients
            seen = {client for client, _, _ in self._store.uses(credential)}
            known = self._known[credential] = {UNMAPPED, *declared, *seen}
        if client in known:
            return client
        names, most = (known, MOST_CLIENTS + 1) if used else (self._strangers[credential], MOST_STRANGERS)
        if client not in names and len(names) >= most:
            return UNMAPPED
        names.add(client)
        return client
