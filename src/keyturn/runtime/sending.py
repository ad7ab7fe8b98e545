"""The last look before an outside call: is it still decided, and still ours to make? (promise P7)"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from keyturn.domain.errors import StaleRevision
from keyturn.domain.model import Rotation
from keyturn.ports.store import Store
from keyturn.runtime.claims import Claim

T = TypeVar("T")


class Sender:
    """Makes the outside calls of one attempt, in one thread."""

    def __init__(self, *, store: Store, rotation: Rotation, claim: Claim) -> None:
        self._store = store
        self._rotation = rotation
        self._claims = [claim]
        self.sent = False
        """Whether anything was sent yet: then the attempt is not one that never happened."""

    @contextmanager
    def under(self, claim: Claim) -> Iterator[None]:
        """What is sent meanwhile needs this claim too."""
        self._claims.append(claim)
        try:
            yield
        finally:
            self._claims.remove(claim)

    def renew(self) -> None:
        """Renew the claims, while what is to be sent is looked for. Raises `StaleRevision` when one is lost."""
        for claim in self._claims:
            claim.renew()

    def send(self, call: Callable[[], T], *, within: timedelta) -> T:
        """Make a call that takes no longer than `within`.

        Raises `StaleRevision`, and makes none, when a command has moved the rotation since it was decided, when another
        replica has taken a claim over, or when one could run out before the call has ended.
        """
        self.check(within)
        self.sent = True
        return call()

    def check(self, length: timedelta = timedelta(0)) -> None:
        """Raises `StaleRevision` when what was decided must not be sent any more."""
        for claim in self._claims:
            claim.keep(length)
        if self._store.revision(self._rotation.id) != self._rotation.revision:
            raise StaleRevision(f"{self._rotation.credential} has moved since this was decided")
        # The store may have taken its time to answer.
        if not all(claim.lasts(length) for claim in self._claims):
            raise StaleRevision(f"{self._rotation.credential}: the call might outlast its lease")
